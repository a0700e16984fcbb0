"""Random small convolutions and directed acyclic graphs of layers, for any source of choices, and as strategies of hypothesis."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from hypothesis import assume
from hypothesis import strategies as st
from small_networks import conv, layer, network

from etasim.config import InputError


class Choices(Protocol):
    """Where a recipe takes its choices from: hypothesis, or a seeded generator (`fuzz.choices`)."""

    def whole(self, least: int, most: int) -> int:
        """A whole number, both ends included."""

    def one_of(self, values: Sequence[Any]) -> Any:
        """One of ``values``."""

    def only_if(self, condition: bool) -> None:
        """Give this example up unless ``condition`` holds."""


class Drawn:
    """Choices that hypothesis makes, and shrinks."""

    def __init__(self, draw):
        self._draw = draw

    def whole(self, least, most):
        return self._draw(st.integers(least, most))

    def one_of(self, values):
        return self._draw(st.sampled_from(values))

    def only_if(self, condition):
        assume(condition)


class Sketch(NamedTuple):
    """A network before it is built: short to print when an example fails."""

    shape: tuple[int, int, int]
    entries: list[dict]
    classes: int

    def build(self):
        """The network; a graph whose shapes do not chain is no example."""
        try:
            return network(self.shape, *self.entries, classes=self.classes)
        except InputError:
            assume(False)


def _sides(choices: Choices, most):
    """Padding before and after the rows, or the columns: mostly alike."""
    before = choices.whole(0, most)
    return [before, choices.one_of([before, before, choices.whole(0, most + 1)])]


def convolution_entry(choices: Choices, name, in_channels, height, width, kernels=5):
    """Entry of a random convolution that fits maps of ``height x width``: rectangular kernel of up to ``kernels`` rows and columns,
    stride, padding on each side, dilation, groups."""
    kernel = [choices.whole(1, kernels), choices.whole(1, kernels)]
    padding = [_sides(choices, kernels // 2), _sides(choices, kernels // 2)]
    dilation = [choices.whole(1, 2), choices.whole(1, 2)]
    sizes = zip(dilation, kernel, (height, width), padding, strict=True)
    choices.only_if(all(d * (k - 1) + 1 <= size + sum(p) for d, k, size, p in sizes))
    groups = choices.one_of([g for g in range(1, in_channels + 1) if in_channels % g == 0])
    return {
        "name": name, "op": "conv", "kernel": kernel, "padding": padding, "dilation": dilation, "groups": groups,
        "stride": [choices.whole(1, 3), choices.whole(1, 3)], "out_channels": groups * choices.whole(1, 4),
    }  # fmt: skip


def single_layer(choices: Choices, kernels=5):
    """A network around one random convolution that trains in all phases."""
    channels, height, width = choices.whole(1, 8), choices.whole(2, 8), choices.whole(2, 8)
    entry = convolution_entry(choices, "target", channels, height, width, kernels)
    stem = conv("stem", channels)
    return Sketch((choices.whole(1, 3), height, width), [stem, entry], choices.whole(1, 5))


def graph(choices: Choices):
    """A small graph: a stem, then blocks that normalise, pool, add, concatenate or shorten; some do not chain."""
    shape = (choices.whole(1, 3), choices.whole(4, 8), choices.whole(4, 8))
    entries = [{"name": "stem", "op": "conv", "out_channels": choices.whole(1, 6), "kernel": 3, "padding": 1}]
    before = "stem"
    for i in range(choices.whole(1, 4)):
        kind = choices.one_of(["plain", "residual", "strided", "concat", "maxpool", "avgpool", "shortcut", "grouped"])
        entries += _block(choices, kind, str(i), before, entries)
        before = entries[-1]["name"]
    return Sketch(shape, entries, choices.whole(1, 4))


@st.composite
def convolution_entries(draw, name, in_channels, height, width, kernels=5):
    """`convolution_entry` as a strategy."""
    return convolution_entry(Drawn(draw), name, in_channels, height, width, kernels)


@st.composite
def single_layers(draw, kernels=5):
    """`single_layer` as a strategy."""
    return single_layer(Drawn(draw), kernels)


@st.composite
def graphs(draw):
    """`graph` as a strategy."""
    return graph(Drawn(draw))


def _block(choices, kind, i, before, entries):
    channels = choices.whole(1, 6)
    norm = [layer(f"n{i}", "norm"), layer(f"r{i}", "relu")][: choices.whole(0, 2)]
    if kind in ("plain", "strided", "grouped"):
        stride = 2 if kind == "strided" else 1
        kernel = choices.one_of([1, 3])
        return [
            {"name": f"c{i}", "op": "conv", "out_channels": channels, "kernel": kernel, "stride": stride, "padding": kernel // 2},
            *norm,
        ]
    if kind == "residual":
        width = _channels(entries, before)
        return [
            {"name": f"c{i}", "op": "conv", "out_channels": width, "kernel": 3, "padding": 1, "from": before}, *norm,
            {"name": f"p{i}", "op": "conv", "out_channels": width, "kernel": 1, "from": before},
            layer(f"a{i}", "add", norm[-1]["name"] if norm else f"c{i}", f"p{i}"),
        ]  # fmt: skip
    if kind == "concat":
        return [
            {"name": f"c{i}", "op": "conv", "out_channels": channels, "kernel": 1, "from": before}, *norm,
            {"name": f"p{i}", "op": "conv", "out_channels": 2 * choices.whole(1, 2), "kernel": 3, "padding": 1, "from": before},
            layer(f"j{i}", "concat", f"p{i}", norm[-1]["name"] if norm else f"c{i}"),
        ]  # fmt: skip
    if kind in ("maxpool", "avgpool"):
        kernel, stride = choices.one_of([(2, 2), (3, 2), (3, 1)])
        before, after = choices.whole(0, 1), choices.whole(0, 1)
        return [layer(f"m{i}", kind, kernel=kernel, stride=stride, padding=[[before, after], [before, before]])]
    width = _channels(entries, before) + choices.whole(0, 3)
    return [
        {"name": f"c{i}", "op": "conv", "out_channels": width, "kernel": 3, "stride": 2, "padding": 1, "from": before}, *norm,
        layer(f"s{i}", "shortcut", before, out_channels=width, stride=2),
        layer(f"a{i}", "add", norm[-1]["name"] if norm else f"c{i}", f"s{i}"),
    ]  # fmt: skip


def _channels(entries, name):
    """Output channels of an entry, by following its inputs."""
    by_name = {entry["name"]: entry for entry in entries}
    before = dict(zip([e["name"] for e in entries[1:]], [e["name"] for e in entries], strict=False))
    entry = by_name[name]
    if "out_channels" in entry:
        return entry["out_channels"]
    sources = entry.get("from") or [before[name]]
    widths = [_channels(entries, source) for source in sources]
    return sum(widths) if entry["op"] == "concat" else widths[0]
