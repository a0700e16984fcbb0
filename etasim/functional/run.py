"""A functional run: loads values, executes the machine's events, compares what is left with the reference, and goes on from there."""

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np

from etasim.config import Architecture
from etasim.core.trees import Arrays, arrays_of, fill
from etasim.functional.alignment import check_squares
from etasim.functional.build import SURVIVING, TableBuilder
from etasim.functional.compare import PHASE_OF_ROLE, DramValues, Mismatch, tensor_names
from etasim.functional.execute import Functional, execute
from etasim.functional.exponents import exponent_owner
from etasim.functional.memories import Memories
from etasim.functional.packing import Key
from etasim.functional.samples import samples_of, state_arrays, state_from
from etasim.functional.saving import exponent_array, exponents_from, state_arrays_of, state_from_arrays
from etasim.functional.schemes import scheme_of
from etasim.functional.tables import UNSEEN, CoreValues
from etasim.mapping import Mapping as TileMapping
from etasim.numerics.errors import all_of
from etasim.numerics.reference import (
    IterationValues,
    State,
    Value,
    calibrated,
    check_accumulators,
    loss_and_accuracy,
    next_exponents,
    quantized,
    run_iteration,
)
from etasim.program.events import EventLog
from etasim.program.roles import tensor_number
from etasim.workload import INPUT, Network
from etasim.workload.lowering import PHASES

EVENTS_AT_ONCE = 200_000
INTEGER_BITS = 64
"""Of the sums that values are computed with, whatever the accumulators hold."""


class Changing(NamedTuple):
    """What events change."""

    memories: Memories
    core: CoreValues


@dataclass(frozen=True)
class Step:
    """One iteration: loss (mean cross-entropy, nats) and accuracy of its samples, from the machine's logits and the reference's."""

    loss: float
    accuracy: float
    reference_loss: float
    reference_accuracy: float


@dataclass(frozen=True, eq=False)
class Values(Mapping[str, Any]):
    """What a functional run left in DRAM: a mapping from names (``conv1.ofmap``, ``conv1.weight_gradient``) to tensors with
    ``.integers``, ``.exponent``, ``.format``, ``.codes()`` and ``.real()``.

    ``state``: what survives, as floats by the names that `etasim.simulate` takes as ``tensors``. ``n_tensors`` and ``n_bytes`` were
    compared in the last iteration; ``mismatch``: the first difference, None if all are exact; ``steps``: the iterations.
    """

    tensors: dict[str, Value]
    state: dict[str, np.ndarray]
    n_tensors: int
    n_bytes: int
    mismatch: Mismatch | None
    steps: tuple[Step, ...]

    def __getitem__(self, name: str) -> Value:
        if name not in self.tensors:
            close = get_close_matches(name, self.tensors, n=3)
            hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "list(...) names all"
            raise KeyError(f"no tensor {name!r}; {hint}")
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


class FunctionalRun:
    """Values of ``network`` on ``architecture`` over one or more iterations of the same program.

    ``arrays``: ``inputs``, ``labels`` and values to start from (`etasim.functional.samples`); what is missing is drawn with ``seed``.
    Raises InfeasibleError and NumericsError, with all problems, before anything runs.
    """

    def __init__(
        self, architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...], mapping: TileMapping,
        arrays: Mapping[str, np.ndarray], seed: int,
    ) -> None:  # fmt: skip
        self.architecture, self.network, self.batch, self.phases, self.mapping = architecture, network, batch, phases, mapping
        self.scheme = scheme_of(architecture)
        arrays = {name: np.asarray(arrays[name]) for name in arrays}
        _, self._samples, self._state = all_of(
            lambda: check_accumulators(network, self.scheme, batch, min(architecture.array.accumulator_width_bits, INTEGER_BITS)),
            lambda: samples_of(network, arrays, batch, seed),
            lambda: state_from(network, self.scheme, arrays, seed),
        )
        self._builder = TableBuilder(architecture, network, mapping, self.scheme)
        check_squares(self._builder)
        self._exponents: dict[tuple[str, str], int] = {}
        self._expected: IterationValues | None = None
        self._found: State = self._state
        self._image: np.ndarray | None = None
        self._steps: list[Step] = []

    # One iteration -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Put the next samples into DRAM, and the values to start from if it is the first iteration."""
        inputs, self._labels = self._samples.batch(len(self._steps), self.batch)
        self._inputs = quantized(inputs, self.scheme.activation)
        self._expected = None
        if not self._exponents:
            arguments = (self.network, self.scheme, self._state, self._inputs, self._labels, self.phases)
            self._exponents, self._expected = calibrated(*arguments)
        self.machine: Functional = self._builder.machine(self._found_exponents(), self._written_exponents())
        if self._image is not None:
            self.machine.memories.image[:] = self._image
        self._dram = DramValues(self._builder.packing, self.machine.memories.image)
        self._load()

    def observe(self, log: EventLog) -> None:
        """Execute what the machine did since the last call."""
        execute(self.machine, log.rows[: log.count[0]])
        log.count[0] = 0

    def end(self) -> Mismatch | None:
        """Compare with the reference; returns the first difference. The next iteration begins with what the machine left."""
        expected = self._expected or run_iteration(
            self.network, self.scheme, self._state, self._inputs, self._labels, self._exponents, self.phases
        )
        self._expected = expected
        self._mismatch = self._first_mismatch(expected)
        self._steps.append(self._step(expected))
        self._image = self.machine.memories.image
        self._found, self._state = self._left(), expected.state
        self._exponents = next_exponents(self._exponents, self._seen(), self.scheme.exponent_margin)
        return self._mismatch

    def values(self) -> Values:
        """What the last iteration left in DRAM, by public name."""
        assert self._expected is not None, "an iteration has ended"
        named = {"input.ofmap": self._inputs}
        for name, (key, row) in tensor_names(self._builder.units).items():
            if key in self._dram.tensors and self._name(key) in self._expected.tensors:
                value = self._read(key)
                named[name] = value if row is None else Value(value.integers[row], value.exponent, value.format)
        compared = [self._dram.tensors[key] for key in self._compared()]
        state = state_arrays(self.network, self._found)
        return Values(named, state, len(compared), sum(t.n_bytes for t in compared), self._mismatch, tuple(self._steps))

    # Checkpoints ---------------------------------------------------------------------------------------------------

    def saved(self) -> Arrays:
        """What a run in the midst of an iteration is made of, besides its inputs."""
        found = {"values.steps": np.array([astuple(step) for step in self._steps])}
        if self._steps:
            found |= state_arrays_of(self._state, "values.state") | state_arrays_of(self._found, "values.found")
            found["values.exponents"] = exponent_array(self._exponents)
        return found | arrays_of(self._changing(), "values")

    def resume(self, arrays: Arrays) -> int:
        """Begin again in the midst of the iteration in which ``arrays`` were saved; returns its number, from 0 on."""
        self._steps = [Step(*row) for row in arrays["values.steps"].tolist()]
        if self._steps:
            start = self._state
            self._state, self._found = (state_from_arrays(arrays, f"values.{name}", start) for name in ("state", "found"))
            self._exponents, self._image = exponents_from(arrays["values.exponents"]), arrays["values.memories.image"]
        self.begin()
        fill(self._changing(), "values", arrays)
        return len(self._steps)

    def _changing(self) -> Changing:
        return Changing(self.machine.memories, self.machine.core)

    # Exponents -----------------------------------------------------------------------------------------------------

    def _name(self, key: Key) -> tuple[str, str]:
        return self._builder.units[key[0]].name if key[0] >= 0 else INPUT, key[1]

    def _owner(self, key: Key) -> tuple[str, str]:
        """Name of the tensor whose exponent tensor ``key`` has."""
        return self._name(exponent_owner(self._builder.units, key))

    def _found_exponents(self) -> dict[Key, int]:
        """Exponents of what the iteration finds: what survived the one before, and the input."""
        names = {key: self._name(key) for key in self._builder.possible_keys}
        found = {key: self._found.tensors[name].exponent for key, name in names.items() if name in self._found.tensors}
        shared = {key for key in names if self._owner(key) == self._name((-1, "output"))}
        return found | dict.fromkeys(shared, self._inputs.exponent)

    def _written_exponents(self) -> dict[Key, int]:
        """Exponents of what the iteration writes."""
        owners = {key: self._owner(key) for key in self._builder.possible_keys}
        return {key: self._exponents[owner] for key, owner in owners.items() if owner in self._exponents}

    def _seen(self) -> dict[tuple[str, str], int | None]:
        """Greatest exponents that the machine saw, by owner; None for zeros alone."""
        seen: dict[tuple[str, str], int | None] = dict.fromkeys(self._exponents)
        for key in self._builder.possible_keys:
            exponent, owner = int(self.machine.core.tensors.seen[tensor_number(*key)]), self._owner(key)
            if exponent != UNSEEN and owner in seen:
                before = seen[owner]
                seen[owner] = exponent if before is None else max(before, exponent)
        return seen

    # Values --------------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Values that the host brings: samples always, unless its engine is to write them into DRAM; everything that survives only once."""
        incoming = self._dram if self.architecture.host is None else DramValues(self._builder.packing, self.machine.memories.host)
        incoming.write((-1, "output"), self._inputs)
        loss = self._builder.units[-1]
        if (loss.index, "label") in self._dram.tensors:
            incoming.write((loss.index, "label"), Value(self._labels.astype(np.int64), 0, 32))
        if self._image is None:
            for key in self._dram.tensors:
                if key[1] in SURVIVING:
                    self._dram.write(key, self._found.tensors[self._name(key)])

    def _compared(self) -> list[Key]:
        """Tensors in DRAM that the phases of this run leave with a final value, in the order of the network."""
        return sorted(key for key in self._dram.tensors if key[0] >= 0 and PHASE_OF_ROLE.get(key[1]) in self.phases)

    def _first_mismatch(self, expected: IterationValues) -> Mismatch | None:
        names = {key: name for name, (key, _) in tensor_names(self._builder.units).items()}
        for key in sorted(self._compared(), key=_causes_first):
            name = self._name(key)
            found = self._dram.mismatch(key, expected.tensors[name], names.get(key, ".".join(name)))
            if found is not None:
                return found
        return None

    def _read(self, key: Key) -> Value:
        assert self._expected is not None, "an iteration has ended"
        return self._dram.read(key, self._expected.tensors[self._name(key)])

    def _left(self) -> State:
        """What survives, as the machine left it."""
        keys = {self._name(key): key for key in self._dram.tensors if key[1] in SURVIVING}
        return State({name: self._read(keys[name]) if name in keys else value for name, value in self._found.tensors.items()})

    def _step(self, expected: IterationValues) -> Step:
        logits = self._read((self._builder.units[-1].inputs[0], "output"))
        machine = loss_and_accuracy(logits.integers.reshape(self.batch, -1), logits.unit, self._labels)
        return Step(*machine, *expected.loss_and_accuracy())


def _causes_first(key: Key) -> tuple[int, int, int]:
    """Place of a tensor in an iteration: its phase, its unit (from the last to the first in BP), its role."""
    phase = PHASE_OF_ROLE[key[1]]
    return PHASES.index(phase), -key[0] if phase == "bp" else key[0], list(PHASE_OF_ROLE).index(key[1])
