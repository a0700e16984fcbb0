"""Hardware written from the documents beside the simulator: iterations are recorded, and every block is played its part of them.

A row is what a block does in one operation: how many things (a sweep begun, a word asked for, a value) the simulator says that it does, in
which cycle and with which values, and how many of them the hardware does exactly so.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etasim.config import Architecture, InputError, Problem, load_architecture
from etasim.rtl import bench, cluster, crossing, memory, router, unified
from etasim.rtl.record import Recording, record
from etasim.workload import load_network

CASES = Path(__file__).parent / "cases"
BATCH = 2


@dataclass(frozen=True)
class RecordedMachine:
    """A machine that is recorded: what it changes of `eta_small`, with the network CASES/``network``; ``routers`` that are compared."""

    name: str
    network: str
    changes: tuple[tuple[str, Any], ...]
    routers: tuple[int, ...] = ()

    @property
    def architecture(self) -> Architecture:
        """The architecture."""
        return load_architecture("eta_small", dict(self.changes))


MACHINES = (
    RecordedMachine("small", "strides", (), (1,)),
    RecordedMachine("more PEs than lanes, 10 : 3 clocks", "windows", (
        ("array.pes_per_cluster", 4), ("core.clock", "240 MHz"), ("array.deinterleave_stride", False),
        ("numerics.reciprocal", "shift"),
    )),
    RecordedMachine("narrow links, few banks, short queues", "windows", (
        ("noc.link_width", "32 bit"), ("noc.router.speculative", False), ("buffers.error.banks", 2), ("buffers.activation.ports", "1RW"),
        ("controller.queue_depth", 1), ("unified_core.lanes", 16),
    ), (4,)),
    RecordedMachine("wide", "strides", (
        ("array.lanes", 4), ("array.columns", 8), ("array.pes_per_cluster", 4), ("buffers.word_size", "32 B"),
        ("noc.link_width", "128 bit"), ("array.deinterleave_stride", False),
        *((f"numerics.{name}_segments", 1) for name in ("activation", "weight", "error")),
        ("unified_core.pipeline_depth", 8), ("buffers.error.read_latency", 3),
    )),
)  # fmt: skip
"""Back-pressure is in all of them: narrow links fill the queues of feeders and drains, few banks those of the buffer's ports."""

UNCHARGED: dict[str, str] = {
    "stream_writes": "further writes of a received word into a bank of the stream scratchpad",
    "stationary_writes": "further writes of a received word into a bank of the stationary scratchpad",
    "drain_reads": "further reads of a column's psum memory for one packet of results",
    "second_requests": "second requests of a DMA port in one cycle",
    "early_operands": "elements that a window reads before their word has come",
    "early_results": "elements that are computed after their word was written",
}
"""Work that the hardware counts and the model does not charge (docs/deviations.md)."""

Blocks = Callable[[Recording, RecordedMachine], Iterator[tuple[str, bench.Bench]]]


def blocks(recording: Recording, machine: RecordedMachine) -> Iterator[tuple[str, bench.Bench]]:
    """Every block of a recorded machine, by name."""
    for c in range(len(recording.machine.specs.clusters.node)):
        yield f"cluster {c}", cluster.bench(recording, c)
    for f, name in enumerate(("activation", "weight")):
        yield f"{name} buffer and feeder", memory.feeder_bench(recording, f)
    yield "error buffer and collectors", memory.collector_bench(recording)
    yield "unified core", unified.bench(recording)
    for number in machine.routers:
        yield f"router {number}", router.bench(recording, number)
    for bank in (crossing.REQUESTS, crossing.RESPONSES):
        yield "clock crossing", crossing.bench(recording, bank)


@dataclass
class Comparison:
    """``rows`` as `etasim validate` prints them; ``gaps``: first differences, and what the model does not charge."""

    rows: list[dict[str, Any]]
    gaps: list[str]


def compare(machines: tuple[RecordedMachine, ...] = MACHINES, sources: Path = bench.SOURCES, of: Blocks = blocks) -> Comparison:
    """All blocks of ``machines`` beside the Verilog in ``sources``. Raises InputError where the tool is absent or fails."""
    found = Comparison([], [])
    try:
        bench.require(bench.COMPILER, "iverilog")
        for machine in machines:
            recording = record(machine.architecture, load_network(CASES / f"{machine.network}.yaml"), BATCH)
            counts = dict.fromkeys(UNCHARGED, 0)
            for name, testbench in of(recording, machine):
                printed, counted = bench.run(testbench, sources)
                for outcome in bench.compare(testbench.expected, printed):
                    _note(found, f"{machine.name}: {name}, {outcome.case}", outcome)
                for what, count in counted.items():
                    if what in counts:
                        counts[what] += count
            found.gaps += [f"{machine.name}: not charged: {count:,} {UNCHARGED[what]}" for what, count in counts.items() if count]
    except bench.ToolError as error:
        raise InputError([Problem("etasim validate rtl", None, "", str(error))]) from None
    return found


def _note(found: Comparison, name: str, outcome: bench.CaseOutcome) -> None:
    equal = outcome.n_observations - outcome.n_different
    found.rows.append({
        "name": name, "ours": outcome.n_observations, "reference": equal,
        "error_percent": 100.0 * outcome.n_different / outcome.n_observations, "bar_percent": 0.0, "pass": outcome.n_different == 0,
    })  # fmt: skip
    if outcome.first_difference:
        found.gaps.append(f"{name}: {outcome.first_difference}")


_LAST: list[Comparison] = []


def rows(_: Path | None = None) -> list[dict[str, Any]]:
    """The rows of ``etasim validate rtl``; there are no reference runs, the hardware is simulated."""
    _LAST[:] = [compare()]
    return _LAST[0].rows


def remarks() -> list[str]:
    """Of the last `rows`: first differences, and work that the model does not charge."""
    return _LAST[0].gaps if _LAST else []
