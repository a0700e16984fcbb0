"""An iteration with other plans of its operations pinned: its cycles, simulated once and kept."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etasim.config import Architecture, Pins
from etasim.core.json_reading import read_value
from etasim.explore.design_space import code_version, digest_of
from etasim.explore.evaluate import Evaluation, evaluate
from etasim.explore.workers import Outcome, run_jobs
from etasim.machine.errors import ConservationError
from etasim.machine.inputs import Inputs
from etasim.workload import dump_network


class _Kept:
    """Cycles by a digest of what they depend on, a line each, on disk as soon as they are known; a last line that was cut short is left
    out."""

    def __init__(self, path: Path | None):
        self._path = path
        self.cycles: dict[str, int | None] = {}
        text = path.read_text(encoding="utf-8") if path is not None and path.exists() else ""
        self._ends_line = text[-1:] in ("", "\n")
        for line in text.splitlines():
            try:
                entry = read_value(line)
                self.cycles[entry["key"]] = entry["cycles"]
            except (ValueError, KeyError, TypeError):
                continue

    def add(self, key: str, cycles: int | None) -> None:
        self.cycles[key] = cycles
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(("" if self._ends_line else "\n") + json.dumps({"key": key, "cycles": cycles}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._ends_line = True


class PinnedIterations:
    """Simulates an iteration with other pins; ``n_simulated`` now, and not known from before. What was simulated is kept in ``path``, if it
    is one."""

    def __init__(self, inputs: Inputs, workers: int, path: Path | None):
        self._inputs, self._workers, self._kept = inputs._replace(functional=None), workers, _Kept(path)
        resolved = inputs.architecture.resolved()
        resolved.pop("mapping", None)
        rest = [resolved, dump_network(inputs.network), inputs.batch, inputs.phases, inputs.fidelity]
        self._identity, self.n_simulated = digest_of([code_version(), *rest]), 0

    def cycles(self, machines: Sequence[Architecture]) -> list[int | None]:
        """Cycles of an iteration on each of ``machines``; None where it cannot run."""
        keys = [digest_of([self._identity, machine.resolved().get("mapping", {})]) for machine in machines]
        unknown = [i for i, key in enumerate(keys) if key not in self._kept.cycles]

        def ended(number: int, outcome: Outcome) -> None:
            found = Evaluation("failed", outcome.error) if outcome.error else outcome.value
            if found.status == "failed":
                raise ConservationError(found.reason)
            self._kept.add(keys[unknown[number]], found.figures.count("total_cycles") if found.status == "ok" else None)

        run_jobs(evaluate, [self._inputs._replace(architecture=machines[i]) for i in unknown], self._workers, finished=ended)
        self.n_simulated += len(unknown)
        return [self._kept.cycles[key] for key in keys]


def with_plan(machine: Architecture, names: Sequence[str], pins: Mapping[str, Any]) -> Architecture:
    """``machine`` with the plan of ``names`` pinned, before what it pins by patterns."""
    own = dict.fromkeys(names, Pins.model_validate(pins))
    rest = {pattern: each for pattern, each in machine.mapping.pins.items() if pattern not in own}
    return machine.model_copy(update={"mapping": machine.mapping.with_pins(own | rest)})
