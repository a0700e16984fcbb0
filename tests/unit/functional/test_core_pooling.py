"""Pooling and shortcuts, forward and backward, against the specification in exact fractions."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from core_bench import Bench, Stored, seen_of
from exact_arithmetic import contribution, floor_log2
from test_core_forward import FORMATS


@dataclass(frozen=True)
class Window:
    """A pooling unit's shape; (height, width) throughout."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int] = (0, 0)

    @property
    def out(self):
        return tuple((s + 2 * p - k) // t + 1 for s, k, t, p in zip(self.size, self.kernel, self.stride, self.pad, strict=True))

    def fields(self):
        """Fields of the unit."""
        shapes = {"in": self.size, "out": self.out}
        fields = {f"{name}_{axis}": shape[k] for name, shape in shapes.items() for k, axis in enumerate(("height", "width"))}
        named = {"kernel": self.kernel, "stride": self.stride, "pad": self.pad}
        return fields | {f"{name}_{axis}": pair[k] for name, pair in named.items() for k, axis in enumerate(("height", "width"))}

    def pixels(self, y, x):
        """(position, pixel of the input) of a window, in row order, without the padding."""
        for r in range(self.kernel[0]):
            for t in range(self.kernel[1]):
                in_y, in_x = y * self.stride[0] - self.pad[0] + r, x * self.stride[1] - self.pad[1] + t
                if 0 <= in_y < self.size[0] and 0 <= in_x < self.size[1]:
                    yield r * self.kernel[1] + t, in_y * self.size[1] + in_x

    def windows(self):
        """(pixel of the output, position, pixel of the input) of all windows."""
        for y, x in np.ndindex(*self.out):
            for position, pixel in self.pixels(y, x):
                yield y * self.out[1] + x, position, pixel


WINDOWS = [
    Window((4, 6), (2, 2), (2, 2)),
    Window((7, 5), (3, 3), (2, 2), (1, 1)),
    Window((4, 5), (3, 2), (1, 3), (1, 0)),
    Window((3, 3), (3, 3), (1, 1)),
]
SHORTCUTS = [Window((5, 4), (1, 1), (2, 2)), Window((3, 3), (1, 1), (1, 1))]


def bench_of(window, form, channels=(5, 5)):
    """Unit 0, and unit 1 that pools it."""
    size = {"in_height": window.size[0], "in_width": window.size[1], "out_height": window.size[0], "out_width": window.size[1]}
    units = [{"channels": channels[0], "n_contributions": 2, **size}, {"channels": channels[1], **window.fields()}]
    return Bench(units, **{**form, "piece_elements": 64})


def by_pixel(bench, data):
    """[block, sample, pixel, lane]"""
    return data.reshape(*data.shape[:2], -1, bench.lanes)


def integers(bench, unit, role, codes):
    form = bench.format(unit, role)
    return np.vectorize(lambda c: form.integer(int(c)))(codes).astype(object), form.unit


def map_to_pool(window, form):
    """A bench, the codes of a random map of unit 0, and their integers by pixel with their unit."""
    bench = bench_of(window, form)
    codes = bench.random_map(0, "output", np.prod(window.size))
    values, unit = integers(bench, 0, "output", codes)
    return bench, codes, by_pixel(bench, values), unit


def average_factor(window):
    n_pixels = window.kernel[0] * window.kernel[1]
    shift = 16 + floor_log2(n_pixels)
    return round(Fraction(2**shift, n_pixels)), shift


def check_output(bench, codes, sums, unit):
    form = bench.format(1, "output")
    assert np.array_equal(by_pixel(bench, codes), np.vectorize(lambda v: form.convert(v, unit))(sums))
    assert bench.seen(1, "output") == seen_of((v, unit) for v in sums.flat)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("window", WINDOWS)
def test_maxpool_takes_the_first_of_the_greatest(form, window):
    bench, codes, values, unit = map_to_pool(window, form)
    shape = (*values.shape[:2], np.prod(window.out), bench.lanes)
    greatest, chosen = np.full(shape, -(10**9), object), np.zeros(shape, int)
    for out, position, pixel in window.windows():
        chosen[:, :, out] = np.where(values[:, :, pixel] > greatest[:, :, out], position, chosen[:, :, out])
        greatest[:, :, out] = np.maximum(values[:, :, pixel], greatest[:, :, out])
    for b, lane in np.ndindex(shape[0], shape[3]):
        if not bench.exists(1, b, lane):
            chosen[b, :, :, lane] = 0
    flat = chosen.reshape(*shape[:2], -1)
    results = bench.run("maxpool", 1, [Stored(0, "output", codes)], [Stored(1, "output", flat), Stored(1, "window", flat)])
    check_output(bench, results[0], greatest, unit)
    assert np.array_equal(results[1], flat)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("window", WINDOWS)
def test_avgpool_counts_the_padding_as_zeros(form, window):
    bench, codes, values, unit = map_to_pool(window, form)
    sums = np.zeros((*values.shape[:2], np.prod(window.out), bench.lanes), object)
    for out, _, pixel in window.windows():
        sums[:, :, out] += values[:, :, pixel]
    factor, shift = average_factor(window)
    target = Stored(1, "output", np.zeros((*sums.shape[:2], sums[0, 0].size), int))
    check_output(bench, bench.run("avgpool", 1, [Stored(0, "output", codes)], [target])[0], sums * factor, unit - shift)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("window", SHORTCUTS)
def test_a_shortcut_takes_every_stride_th_pixel(form, window):
    """The command covers the blocks that both maps have; in the last of them the input lacks channels."""
    bench = bench_of(window, form, channels=(5, 12))
    codes = bench.random_map(0, "output", np.prod(window.size))
    values, unit = integers(bench, 0, "output", codes)
    pixels = [pixel for _, _, pixel in window.windows()]
    taken = by_pixel(bench, values)[:, :, pixels]
    target = Stored(1, "output", np.zeros((*taken.shape[:2], taken[0, 0].size), int))
    check_output(bench, bench.run("shortcut", 1, [Stored(0, "output", codes)], [target], blocks=(0, len(codes)))[0], taken, unit)


def check_contributions(bench, stored, sums, unit):
    """Contributions to the error of unit 0, which has two, in lanes that exist in its map."""
    form = bench.format(0, "partial")
    for b, lane in np.ndindex(sums.shape[0], bench.lanes):
        if not bench.exists(0, b, lane):
            sums[b, :, :, lane] = 0
    assert np.array_equal(by_pixel(bench, stored), np.vectorize(lambda v: contribution(v, unit, form.unit, 2))(sums))
    assert bench.seen(0, "partial") == seen_of((2 * v, unit) for v in sums.flat)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("kind", "window"), [(kind, w) for kind in ("maxpool", "avgpool", "shortcut") for w in (SHORTCUTS if kind == "shortcut" else WINDOWS)]
)
@pytest.mark.parametrize("band", [False, True])
def test_errors_go_back_to_the_pixels_they_come_from(form, kind, window, band):
    """All rows at once, or row after row with the rows of windows that it needs."""
    bench = bench_of(window, form, channels=(5, 12) if kind == "shortcut" else (5, 5))
    for role, owner in (("error", 1), ("partial", 0)):
        bench.set_unit(owner, role, -12)
    codes = bench.random_map(1, "error", np.prod(window.out))[: bench.n_blocks(0)]
    positions = bench.rng.integers(0, window.kernel[0] * window.kernel[1], codes.shape)
    values, unit = integers(bench, 1, "error", codes)
    sums = np.zeros((*codes.shape[:2], np.prod(window.size), bench.lanes), object)
    for out, position, pixel in window.windows():
        chosen = by_pixel(bench, positions)[:, :, out] == position if kind == "maxpool" else 1
        sums[:, :, pixel] += by_pixel(bench, values)[:, :, out] * chosen
    factor, shift = average_factor(window) if kind == "avgpool" else (1, 0)
    stored = np.zeros((*sums.shape[:2], sums[0, 0].size), int)
    row, out_row = window.size[1] * bench.lanes, window.out[1] * bench.lanes
    for first in range(0, stored.shape[-1], row) if band else [0]:
        end, y = (first + row, first // row) if band else (stored.shape[-1], 0)
        rows = [r for r in range(window.out[0]) if not band or 0 <= y + window.pad[0] - r * window.stride[0] < window.kernel[0]] or [0]
        needed = np.s_[:, :, rows[0] * out_row : (rows[-1] + 1) * out_row]
        reads = [Stored(1, "error", codes[needed], rows[0] * out_row)]
        reads += [Stored(1, "window", positions[needed], rows[0] * out_row)] if kind == "maxpool" else []
        writes = [Stored(0, "partial", stored[:, :, first:end], first)]
        stored[:, :, first:end] = bench.run(f"{kind}_error", 1, reads, writes, blocks=(0, len(codes)))[0]
    check_contributions(bench, stored, sums * factor, unit - shift)


@pytest.mark.parametrize("kind", ["maxpool", "avgpool"])
def test_rows_of_the_output_may_come_one_by_one(kind):
    window = WINDOWS[1]
    bench = bench_of(window, {})
    codes = bench.random_map(0, "output", np.prod(window.size))
    row, in_row = window.out[1] * bench.lanes, window.size[1] * bench.lanes
    whole = np.zeros((*codes.shape[:2], window.out[0] * row), int)
    results = bench.run(kind, 1, [Stored(0, "output", codes)], [Stored(1, "output", whole)])[0]
    for y in range(window.out[0]):
        first, end = max(2 * y - 1, 0) * in_row, min(2 * y + 2, window.size[0]) * in_row
        reads, write = [Stored(0, "output", codes[:, :, first:end], first)], Stored(1, "output", whole[:, :, :row], y * row)
        assert np.array_equal(bench.run(kind, 1, reads, [write])[0], results[:, :, y * row : (y + 1) * row])
