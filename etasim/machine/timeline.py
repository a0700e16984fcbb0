"""When every command ran, as a Chrome trace (open it in chrome://tracing or Perfetto)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from etasim.machine.elaborate import Machine
from etasim.mapping import Mapping
from etasim.program.commands import engine_names, engines_of


def events(machine: Machine, mapping: Mapping) -> Iterator[dict[str, Any]]:
    """One event per command: engine, operation, issue and completion in microseconds of simulated time."""
    program = machine.program
    names = engine_names(engines_of(program))
    engine_of = np.repeat(np.arange(len(names)), np.diff(program.engine_start))
    us_per_cycle = float(machine.clocks.core_ticks * machine.clocks.tick_seconds * 10**6)
    for e, name in enumerate(names):
        yield {"name": "thread_name", "ph": "M", "pid": 0, "tid": e, "args": {"name": name}}
    for index, (issued, completed) in enumerate(machine.states.controller.times.tolist()):
        operation = mapping.operations[program.commands[index]["operation"]]
        yield {
            "name": f"{operation.layer}.{operation.phase}",
            "ph": "X",
            "pid": 0,
            "tid": int(engine_of[index]),
            "ts": issued * us_per_cycle,
            "dur": (completed - issued) * us_per_cycle,
            "args": {"order": int(program.commands[index]["order"]), "issued_at_cycles": issued, "completed_at_cycles": completed},
        }


def write_timeline(machine: Machine, mapping: Mapping, path: Path) -> None:
    """Write the trace to ``path``."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{"traceEvents": [\n')
        file.write(",\n".join(json.dumps(event) for event in events(machine, mapping)))
        file.write("\n]}\n")
