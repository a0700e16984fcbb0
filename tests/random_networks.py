"""Strategies: random small convolutions and directed acyclic graphs of layers."""

from typing import NamedTuple

from hypothesis import assume
from hypothesis import strategies as st
from small_networks import conv, layer, network

from etasim.config import InputError


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


def sides(most):
    """Padding before and after the rows, or the columns: mostly alike."""
    alike = st.integers(0, most).map(lambda pad: [pad, pad])
    return alike | alike | st.lists(st.integers(0, most + 1), min_size=2, max_size=2)


@st.composite
def convolution_entries(draw, name, in_channels, height, width, kernels=5):
    """Entry of a random convolution that fits maps of ``height x width``: rectangular kernel of up to ``kernels`` rows and columns,
    stride, padding on each side, dilation, groups."""
    kernel = [draw(st.integers(1, kernels)), draw(st.integers(1, kernels))]
    padding = [draw(sides(kernels // 2)), draw(sides(kernels // 2))]
    dilation = [draw(st.integers(1, 2)), draw(st.integers(1, 2))]
    assume(all(d * (k - 1) + 1 <= size + sum(p) for d, k, size, p in zip(dilation, kernel, (height, width), padding, strict=True)))
    groups = draw(st.sampled_from([g for g in range(1, in_channels + 1) if in_channels % g == 0]))
    return {
        "name": name, "op": "conv", "kernel": kernel, "padding": padding, "dilation": dilation, "groups": groups,
        "stride": [draw(st.integers(1, 3)), draw(st.integers(1, 3))], "out_channels": groups * draw(st.integers(1, 4)),
    }  # fmt: skip


@st.composite
def single_layers(draw, kernels=5):
    """A network around one random convolution that trains in all phases."""
    channels, height, width = draw(st.integers(1, 8)), draw(st.integers(2, 8)), draw(st.integers(2, 8))
    entry = draw(convolution_entries("target", channels, height, width, kernels))
    stem = conv("stem", channels)
    return Sketch((draw(st.integers(1, 3)), height, width), [stem, entry], draw(st.integers(1, 5)))


@st.composite
def graphs(draw):
    """A small graph: a stem, then blocks that normalise, pool, add, concatenate or shorten; some do not chain."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(4, 8)), draw(st.integers(4, 8)))
    entries = [{"name": "stem", "op": "conv", "out_channels": draw(st.integers(1, 6)), "kernel": 3, "padding": 1}]
    before = "stem"
    for i in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["plain", "residual", "strided", "concat", "maxpool", "avgpool", "shortcut", "grouped"]))
        entries += _block(draw, kind, str(i), before, entries)
        before = entries[-1]["name"]
    return Sketch(shape, entries, draw(st.integers(1, 4)))


def _block(draw, kind, i, before, entries):
    channels = draw(st.integers(1, 6))
    norm = [layer(f"n{i}", "norm"), layer(f"r{i}", "relu")][: draw(st.integers(0, 2))]
    if kind in ("plain", "strided", "grouped"):
        stride = 2 if kind == "strided" else 1
        kernel = draw(st.sampled_from([1, 3]))
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
            {"name": f"p{i}", "op": "conv", "out_channels": 2 * draw(st.integers(1, 2)), "kernel": 3, "padding": 1, "from": before},
            layer(f"j{i}", "concat", f"p{i}", norm[-1]["name"] if norm else f"c{i}"),
        ]  # fmt: skip
    if kind in ("maxpool", "avgpool"):
        kernel, stride = draw(st.sampled_from([(2, 2), (3, 2), (3, 1)]))
        before, after = draw(st.integers(0, 1)), draw(st.integers(0, 1))
        return [layer(f"m{i}", kind, kernel=kernel, stride=stride, padding=[[before, after], [before, before]])]
    width = _channels(entries, before) + draw(st.integers(0, 3))
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
