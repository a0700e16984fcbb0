"""Traces from models of other programs: layers as they are found, and a report of what is modelled, approximated and ignored."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table

from etasim.config.errors import InputError, Problem
from etasim.config.reading import Document, SourceMap
from etasim.workload.layer import MAC_KINDS, Shape
from etasim.workload.network import Network
from etasim.workload.trace import build_network

MODELLED, APPROXIMATED, IGNORED = "modelled", "approximated", "ignored"


class ReportLine(NamedTuple):
    """What became of the operations of one ``kind`` of the model: ``status``, why (``note``), how many, and their forward MACs a sample."""

    status: str
    kind: str
    note: str
    n_operations: int
    macs: int


@dataclass(frozen=True)
class ImportedModel:
    """A network and what its trace leaves out or changes."""

    network: Network
    report: tuple[ReportLine, ...]

    @property
    def mac_share(self) -> dict[str, float]:
        """Share of the model's forward MACs by status."""
        total = sum(line.macs for line in self.report) or 1
        return {s: sum(line.macs for line in self.report if line.status == s) / total for s in (MODELLED, APPROXIMATED, IGNORED)}

    def table(self) -> RenderableType:
        """The report for a terminal."""
        table = Table(title=f"{self.network.name}: {len(self.network.layers)} layers", title_justify="left")
        for heading in ("status", "operation", "count", "MACs a sample", "why"):
            table.add_column(heading, justify="right" if heading in ("count", "MACs a sample") else "left")
        for line in self.report:
            table.add_row(line.status, line.kind, str(line.n_operations), f"{line.macs:,}", line.note)
        return Group(table, "MACs: " + ", ".join(f"{share:.1%} {status}" for status, share in self.mac_share.items()))


@dataclass
class TraceBuilder:
    """Collects layers in the order of computation, under the names of the tensors that they write."""

    name: str
    input_shape: Shape
    _entries: list[dict[str, Any]] = field(default_factory=list)
    _alias: dict[str, str] = field(default_factory=dict)
    _found: list[tuple[str, str, str, str]] = field(default_factory=list)
    _problems: list[Problem] = field(default_factory=list)

    def start(self, tensor: str) -> None:
        """``tensor`` is the network's input."""
        self._alias[tensor] = "input"

    def add(self, tensor: str, layer: str, op: str, inputs: Sequence[str], kind: str, note: str = "", **keys: Any) -> None:
        """A layer that writes ``tensor``; ``keys`` as in a trace, None left out; ``kind``: the operation's name in the model; ``note``: how
        the trace differs from the model."""
        sources = [self._alias[source] for source in inputs]
        keys = {key: value for key, value in keys.items() if value is not None}
        self._entries.append({"name": layer, "op": op, "from": sources if len(sources) > 1 else sources[0], **keys})
        self._alias[tensor] = layer
        self._found.append((APPROXIMATED if note else MODELLED, kind, note, layer))

    def skip(self, tensor: str, source: str, kind: str, note: str) -> None:
        """An operation that the trace leaves out: readers of ``tensor`` read ``source``."""
        self._alias[tensor] = self._alias[source]
        self._found.append((IGNORED, kind, note, ""))

    def refuse(self, place: str, message: str) -> None:
        """An operation that cannot be in a trace."""
        self._problems.append(Problem(self.name, 1, place, message))

    def knows(self, tensor: str) -> bool:
        """Whether ``tensor`` depends on the network's input."""
        return tensor in self._alias

    def build(self, output: str, classes: int) -> ImportedModel:
        """The network that writes ``output``. Raises InputError with all problems."""
        if self._problems:
            raise InputError(self._problems)
        entries = _needed(self._entries, self._alias[output])
        head = {"name": self.name, "input": self.input_shape._asdict(), "classes": classes}
        network = build_network(Document(head | {"layers": entries}, SourceMap()))
        macs = {layer.name: layer.macs_per_sample for layer in network.layers if layer.kind in MAC_KINDS}
        lines: dict[tuple[str, str, str], list[int]] = {}
        for status, kind, note, layer in self._found:
            counted = lines.setdefault((status, kind, note), [0, 0])
            counted[0] += 1
            counted[1] += macs.get(layer, 0)
        order = (MODELLED, APPROXIMATED, IGNORED)
        report = sorted((ReportLine(*key, *counted) for key, counted in lines.items()), key=lambda line: (order.index(line[0]), line.kind))
        return ImportedModel(network, tuple(report))


def whole_map(shape: Sequence[int], out_size: Sequence[int]) -> tuple[int, int] | None:
    """Kernel of a pooling from maps of ``shape`` [..., H, W] to ``out_size``, which is its stride too; None if it does not divide."""
    height, width = shape[-2:]
    if height % out_size[0] or width % out_size[1]:
        return None
    return height // out_size[0], width // out_size[1]


def _needed(entries: list[dict[str, Any]], output: str) -> list[dict[str, Any]]:
    """Entries that the layer ``output`` depends on, in order; a trace has one output."""
    wanted, kept = {output}, []
    for entry in reversed(entries):
        if entry["name"] in wanted:
            kept.append(entry)
            wanted.update([entry["from"]] if isinstance(entry["from"], str) else entry["from"])
    return kept[::-1]


def n_classes(shape: Sequence[int]) -> int:
    """Values of an output [N, ...] of one sample."""
    return prod(shape[1:])
