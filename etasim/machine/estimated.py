"""An estimate as a result: the columns of a simulation, None where only a simulation knows.

Words, flits and bytes are those that the plan moves.
"""

from typing import Any

import numpy as np

from etasim.config import Architecture
from etasim.estimate.amounts import Amounts
from etasim.estimate.pipeline import Estimate, estimate
from etasim.estimate.traffic import N_CLASSES, ways_of
from etasim.machine.elaborate import instant_engines
from etasim.machine.result import FLIT_CLASSES, SCRATCHPADS, LayerRow, RunResult
from etasim.machine.rows import retirement_cycles, word_columns, words_by_part
from etasim.pe.causes import STALL_CAUSES
from etasim.program.commands import TENSOR_CLASSES, numbered_engines
from etasim.schedule.array import PSUM, present_of
from etasim.workload import Network

DRAM_COLUMNS = {
    (name, is_written): f"dram_{'write' if is_written else 'read'}_{name}_bytes" for is_written in (False, True) for name in TENSOR_CLASSES
}
"""By tensor class, and whether it is written."""
DRAM_PLACES = {moved: place for place, moved in enumerate(DRAM_COLUMNS)}
OF_THE_OPERATION = ("layer", "phase", "kind", "macs", "zero_insertion_macs")
STALL_COLUMNS = tuple(f"{cause}_cycles" for cause in STALL_CAUSES)


def estimated(architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...]) -> RunResult:
    """The iteration's result in closed form. Raises InfeasibleError."""
    guess = estimate(architecture, network, batch, phases)
    cycles = retirement_cycles(guess.completed, guess.total_cycles)
    parts = {"dram": guess.dram_channels} if guess.dram_channels else {}
    rows = _rows(architecture, guess, cycles)
    return RunResult(architecture, network, batch, phases, guess.total_cycles, rows, parts, analytical=True)


def _rows(architecture: Architecture, guess: Estimate, cycles: np.ndarray) -> tuple[LayerRow, ...]:
    """One row per operation with the columns that `etasim.machine.result` names; those that only a simulation knows are None."""
    columns = _columns(architecture, guess, cycles)
    return tuple(LayerRow(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def _columns(architecture: Architecture, guess: Estimate, cycles: np.ndarray) -> dict[str, list[Any]]:
    """The columns of the rows, by name."""
    operations, amounts, n = guess.outline.operations, guess.outline.amounts, len(guess.outline.operations)

    def of_operations(values: dict[int, int]) -> list[int]:
        return [values.get(i, 0) for i in range(n)]

    word_flits = np.array(ways_of(architecture.noc, architecture.buffers.word_size_bytes).word_flits)
    flits, hops = (_table(amounts_of, n, N_CLASSES) * word_flits for amounts_of in (amounts.sent, amounts.hops))
    moved_bytes = {(i, DRAM_PLACES[name, stored]): n_bytes for (i, name, stored), n_bytes in amounts.dram_bytes.items()}
    unknown: list[None] = [None] * n
    columns: dict[str, list[Any]] = {name: [getattr(operation, name) for operation in operations] for name in OF_THE_OPERATION}
    columns |= {"cycles": cycles.astype(int).tolist(), "span_cycles": guess.span_cycles.tolist()}
    columns["cluster_busy_cycles"] = of_operations(amounts.cluster_cycles)
    columns |= dict.fromkeys(STALL_COLUMNS, unknown)
    columns["unified_core_busy_cycles"] = of_operations(amounts.vector_groups)
    columns |= zip(DRAM_COLUMNS.values(), _table(moved_bytes, n, len(DRAM_COLUMNS)).T.tolist(), strict=True)
    columns |= {f"{name}_flits": of_class for name, of_class in zip(FLIT_CLASSES, flits.T.tolist(), strict=False)}
    if architecture.noc.networks is not None:
        columns |= {f"{name}_flit_hops": of_class for name, of_class in zip(FLIT_CLASSES, hops.T.tolist(), strict=False)}
    columns["flit_hops"] = hops.sum(axis=1).tolist()
    columns |= {name: unknown if words is None else words.tolist() for name, words in _words(architecture, amounts, n).items()}
    columns |= {} if architecture.buffers.second is None else {"second_served_bytes": of_operations(amounts.served_bytes)}
    columns |= {"forwarded_bytes": of_operations(amounts.forwarded_bytes)} if architecture.mapping.forwarding else {}
    columns |= {} if architecture.host is None else {"host_bytes": of_operations(amounts.host_bytes)}
    return columns


def _table(values: dict[tuple[int, int], int], n_rows: int, n_columns: int) -> np.ndarray:
    """``values`` by (row, column) as an array."""
    table = [0] * (n_rows * n_columns)
    for (row, column), value in values.items():
        table[row * n_columns + column] = value
    return np.array(table, np.int64).reshape(n_rows, n_columns)


def _words(architecture: Architecture, amounts: Amounts, n: int) -> dict[str, np.ndarray | None]:
    """Words through buffers and into scratchpads; None where a simulation moves nothing through a port either."""
    arrived = _table(amounts.arrived, n, N_CLASSES)
    engines = numbered_engines(architecture.unified_core.n_cores, architecture.array.clusters, present_of(architecture))
    fed, unified = (_table(values, n, N_CLASSES) for values in (amounts.sent, amounts.unified_words))
    dma, moved = _table(amounts.dma_words, n, len(engines.dma)), _table(amounts.moved_words, n, len(engines.moves))
    words = word_columns(words_by_part(fed, dma, unified, arrived[:, PSUM], moved), arrived[:, : len(SCRATCHPADS)])
    is_instant = instant_engines(architecture, engines).any()
    return dict.fromkeys(words) if is_instant else words
