"""What became of the operations of a model: modelled, approximated, ignored."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table

from etasim.workload.network import Network

MODELLED, APPROXIMATED, IGNORED = STATUSES = "modelled", "approximated", "ignored"


class Record(NamedTuple):
    """What became of one operation of the model: ``status``, its ``kind``, how it differs in the trace (``note``), its ``layer`` there."""

    status: str
    kind: str
    note: str
    layer: str


class ReportLine(NamedTuple):
    """What became of the operations of one ``kind`` of the model: ``status``, why (``note``), how many, and their forward MACs a sample."""

    status: str
    kind: str
    note: str
    n_operations: int
    macs: int


@dataclass(frozen=True)
class ImportedModel:
    """A network and what its trace leaves out or changes; ``own_macs``: forward MACs of a sample that the model counts for itself;
    ``notes``: what its user should know."""

    network: Network
    report: tuple[ReportLine, ...]
    own_macs: int
    notes: tuple[str, ...] = ()

    @property
    def mac_share(self) -> dict[str, float]:
        """Share of the model's forward MACs by status."""
        return {s: sum(line.macs for line in self.report if line.status == s) / (self.own_macs or 1) for s in STATUSES}

    def table(self) -> RenderableType:
        """The report for a terminal."""
        table = Table(title=f"{self.network.name}: {len(self.network.layers)} layers", title_justify="left")
        for heading in ("status", "operation", "count", "MACs a sample", "why"):
            table.add_column(heading, justify="right" if heading in ("count", "MACs a sample") else "left")
        for line in self.report:
            table.add_row(line.status, line.kind, str(line.n_operations), f"{line.macs:,}", line.note)
        return Group(table, *self._summary())

    def _summary(self) -> Iterable[str]:
        """Counts that were compared with the model's own, and how many operations are in the trace as they are in the model."""
        counts = {s: sum(line.n_operations for line in self.report if line.status == s) for s in STATUSES}
        yield f"MACs a sample: {self.own_macs:,}, parameters: {self.network.parameters:,}; the model counts as many"
        yield "operations: " + ", ".join(f"{n} {status}" for status, n in counts.items())
        yield from self.notes


def report_of(records: Iterable[Record], network: Network) -> tuple[ReportLine, ...]:
    """One line for each kind of operation and what became of it."""
    macs = {layer.name: layer.macs_per_sample for layer in network.layers if layer.weights}
    lines: dict[tuple[str, str, str], list[int]] = {}
    for status, kind, note, layer in records:
        counted = lines.setdefault((status, kind, note), [0, 0])
        counted[0] += 1
        counted[1] += macs.get(layer, 0)
    found = [ReportLine(*key, *counted) for key, counted in lines.items()]
    return tuple(sorted(found, key=lambda line: (STATUSES.index(line.status), line.kind)))
