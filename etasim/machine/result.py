"""What a simulation hands to the report: integers only, named with their units."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from etasim.config import Architecture
from etasim.core.registry import UnknownNameError
from etasim.workload import Network

if TYPE_CHECKING:
    from etasim.functional import Values
    from etasim.machine.series import Series

Value = int | float | str | None
"""A count, a figure or a text; None if it is not known."""


class TypedRow(dict[str, Value]):
    """Values by the names of the glossary (`etasim.report.glossary`), with their types."""

    def __missing__(self, name: object) -> Value:
        """Raises UnknownNameError with the closest of the names that are there."""
        raise UnknownNameError("figure", name, self)

    def __or__(self, others: Any) -> Any:
        """The row with other values, a row of the same kind."""
        return type(self)(super().__or__(others))

    def text(self, name: str) -> str:
        """A text. Raises TypeError for anything else."""
        value = self[name]
        if not isinstance(value, str):
            raise TypeError(f"{name} is no text: {value!r}")
        return value

    def figure(self, name: str) -> float | None:
        """A count or a figure, None if it is not known or not there. Raises TypeError for a text."""
        value = self.get(name)
        if isinstance(value, str):
            raise TypeError(f"{name} is a text: {value!r}")
        return value

    def number(self, name: str) -> float:
        """A count or a figure that is known. Raises TypeError for anything else."""
        value = self.figure(name)
        if value is None:
            raise TypeError(f"{name} is not known")
        return value

    def count(self, name: str) -> int:
        """A whole number. Raises TypeError for anything else."""
        value = self[name]
        if not isinstance(value, int):
            raise TypeError(f"{name} is no whole number: {value!r}")
        return value


class LayerRow(TypedRow):
    """A row of layers.csv: an operation of a layer in a phase. The attributes are always known."""

    @property
    def layer(self) -> str:
        """Name of the layer."""
        return self.text("layer")

    @property
    def phase(self) -> str:
        """ff, bp, wg or wu."""
        return self.text("phase")

    @property
    def macs(self) -> int:
        """Useful MACs."""
        return self.count("macs")

    @property
    def cycles(self) -> int:
        """The row's share of the iteration."""
        return self.count("cycles")



SCRATCHPADS = ("stream", "stationary")
"""Columns ``<scratchpad>_scratchpad_writes``: buffer words that arrive at clusters, a multicast word once for each."""

FLIT_CLASSES = ("stream", "stationary", "psum")
"""Columns ``<class>_flits``: flits injected; ``flit_hops``: link traversals."""


@dataclass(frozen=True)
class RunResult:
    """Counters of one simulated iteration.

    ``layers`` has one row per layer and phase in program order: ``layer``, ``phase`` (ff, bp, wg, wu), ``kind``, ``macs``,
    ``zero_insertion_macs``, ``cycles`` (the share of ``total_cycles`` that is this row's: the time from the
    retirement of the row before to its own, so that the column sums to ``total_cycles``), ``span_cycles`` (first command
    issued to last completed; spans of rows overlap), ``cluster_busy_cycles`` and the stall columns, summed over clusters,
    ``unified_core_busy_cycles``, and the byte, flit and access columns named above.

    ``components`` maps a component (``cluster``, ``noc``, ``activation_buffer``, ``dram``, ``unified_core``, ``dma``, ...) to
    one dictionary of counters per instance; ``dram`` has figures too (floats, their unit in the name; None if not known).
    ``analytical`` marks a closed-form estimate instead of a simulation. ``values``: what a functional run computed; ``series``: what
    happened when, if that was asked for.
    """

    architecture: Architecture
    network: Network
    batch: int
    phases: tuple[str, ...]
    total_cycles: int
    layers: tuple[LayerRow, ...]
    components: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    analytical: bool = False
    values: "Values | None" = None
    series: "Series | None" = None

    @property
    def fidelity(self) -> str:
        """What ``fidelity`` asked for: ``cycle`` or ``analytical``."""
        return "analytical" if self.analytical else "cycle"

    @property
    def tensors(self) -> "Values":
        """What a functional run left in DRAM, by name (``conv1.ofmap``). Raises ValueError for a run without values."""
        if self.values is None:
            raise ValueError("this run has no values: simulate(..., functional=True)")
        return self.values
