"""The rows of layers.csv for a page: their columns, and what follows from them."""

from collections.abc import Iterable, Mapping
from typing import Any

from etasim.machine.result import LayerRow, Value
from etasim.pe.causes import CAUSE_COLUMNS
from etasim.report.metrics import OCCUPIED_COLUMNS, rounded
from etasim.report.reading import StoredResult, is_figure
from etasim.report.tables import by_layer, dram_bytes, forward_order, stall_label
from etasim.workload import Network
from etasim.workload.lowering import PHASES

DERIVED = ("layer_index", "phase_index", "begin_ms", "end_ms", "share", "dram_mb", "intensity", "gops", "loss")
"""What `page_rows` adds to the columns of layers.csv: the places of layer and phase in the forward pass and the
iteration; the stretch of the iteration that is the row's
share, and that share; DRAM traffic; operations per DRAM byte and GOPS over the row's span; where most cluster cycles were lost."""


def page_rows(result: StoredResult, network: Network) -> list[dict[str, Value]]:
    """Each row of layers.csv with what `DERIVED` names; None where it is not known."""
    places = {layer: i for i, layer in enumerate(forward_order(by_layer(result.layers), network))}
    ms_per_cycle = result.summary.number("time_ms") / result.summary.number("total_cycles")
    rows, begin = [], 0
    for row in result.layers:
        end = begin + row.cycles
        rows.append(dict(row) | _derived(result, row) | {
            "layer_index": places[row.layer], "phase_index": PHASES.index(row.phase),
            "begin_ms": rounded(begin * ms_per_cycle), "end_ms": rounded(end * ms_per_cycle),
        })  # fmt: skip
        begin = end
    return rows


def _derived(result: StoredResult, row: LayerRow) -> dict[str, Value]:
    moved, span, clock_hz = dram_bytes([row]), row.figure("span_cycles"), result.summary.number("core_clock_hz")
    return {
        "share": rounded(row.cycles / result.summary.number("total_cycles")),
        "dram_mb": None if moved is None else rounded(moved / 1e6),
        "intensity": rounded(2 * row.macs / moved) if moved and row.macs else None,
        "gops": rounded(2e-9 * row.macs * clock_hz / span) if span and row.macs else None,
        "loss": largest_loss(row),
    }


def counted(instances: Iterable[Mapping[str, Any]], name: str) -> list[float]:
    """The counter ``name`` of all ``instances`` of a part; nothing if one does not have it, or not as a number."""
    values = [instance.get(name) for instance in instances]
    return values if values and all(is_figure(value) for value in values) else []  # type: ignore[return-value]


def largest_loss(row: Mapping[str, Any]) -> str | None:
    """The cause that took most of the clusters' cycles besides work; None if nothing was lost, or it is not known."""
    lost = {name: row.get(name) or 0 for name in OCCUPIED_COLUMNS if name != CAUSE_COLUMNS[0]}
    name = max(lost, key=lambda each: lost[each])
    return stall_label(name) if lost[name] else None
