"""What a simulation hands to the report: integers only, named with their units."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etasim.config import Architecture
from etasim.workload import Network

if TYPE_CHECKING:
    from etasim.functional import Values


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
    ``analytical`` marks a closed-form estimate instead of a simulation. ``values``: what a functional run computed.
    """

    architecture: Architecture
    network: Network
    batch: int
    phases: tuple[str, ...]
    total_cycles: int
    layers: tuple[dict, ...]
    components: dict[str, list[dict]] = field(default_factory=dict)
    analytical: bool = False
    values: "Values | None" = None

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
