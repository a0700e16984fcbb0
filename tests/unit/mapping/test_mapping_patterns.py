"""The three computation patterns cover exactly the products of a convolution."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etasim.schedule.patterns import PixelTile, as_own_map, backward, coordinates, forward, gather_cycles
from etasim.workload import Layer, NetworkError


def convolution(height, width, kernel, stride, pad, dilation):
    """A convolution of one channel."""
    return Layer(
        "conv",
        "conv",
        ("input",),
        1,
        1,
        height,
        width,
        kernel[0],
        kernel[1],
        stride[0],
        stride[1],
        pad[0],
        pad[1],
        dilation[0],
        dilation[1],
    )


pairs = {
    name: st.tuples(*[st.integers(low, high)] * 2)
    for name, low, high in (("kernel", 1, 5), ("stride", 1, 3), ("pad", 0, 3), ("dilation", 1, 3))
}


@st.composite
def convolutions(draw):
    """A random rectangular convolution whose kernel fits."""
    while True:
        sizes = {name: draw(pair) for name, pair in pairs.items()}
        try:
            return convolution(draw(st.integers(1, 12)), draw(st.integers(1, 12)), **sizes)
        except NetworkError:
            continue


def triples(pattern, operand_first):
    """(input pixel, output pixel, kernel position) of every product of a pattern with an operand inside its map."""
    for i in range(pattern.rows):
        for j in range(pattern.cols):
            result = (pattern.origin_y + i * pattern.out_step_y, pattern.origin_x + j * pattern.out_step_x)
            for tap in pattern.taps:
                operand = (i * pattern.in_step_y + tap.dy, j * pattern.in_step_x + tap.dx)
                if 0 <= operand[0] < pattern.in_height and 0 <= operand[1] < pattern.in_width:
                    yield (operand, result, tap.index) if operand_first else (result, operand, tap.index)


def definition(layer):
    """The same triples from O[p, q] = sum I[p s + r d - pad, q s + t d - pad] W[r, t], pixel by pixel."""
    for p in range(layer.out_height):
        for q in range(layer.out_width):
            for r in range(layer.kernel_height):
                for t in range(layer.kernel_width):
                    y = p * layer.stride_height + r * layer.dilation_height - layer.pad_height
                    x = q * layer.stride_width + t * layer.dilation_width - layer.pad_width
                    if 0 <= y < layer.in_height and 0 <= x < layer.in_width:
                        yield (y, x), (p, q), r * layer.kernel_width + t


@settings(max_examples=150)
@given(convolutions())
def test_forward_and_backward_visit_every_product_exactly_once(layer):
    expected = Counter(definition(layer))
    assert set(expected.values()) <= {1}
    assert Counter(triples(forward(layer), operand_first=True)) == expected
    assert Counter(triple for pattern in backward(layer) for triple in triples(pattern, operand_first=False)) == expected


@settings(max_examples=60)
@given(convolutions())
def test_backward_patterns_write_every_input_pixel_exactly_once(layer):
    pixels = Counter(
        (p.origin_y + i * p.out_step_y, p.origin_x + j * p.out_step_x)
        for p in backward(layer)
        for i in range(p.rows)
        for j in range(p.cols)
    )
    assert pixels == Counter((y, x) for y in range(layer.in_height) for x in range(layer.in_width))


def test_backward_kernels_have_the_sizes_of_the_parity_decomposition():
    """ceil((R - a) / s) x ceil((S - b) / s) positions for kernel residue (a, b); padding only shifts which class has which."""
    layer = convolution(9, 9, kernel=(3, 3), stride=(2, 2), pad=(1, 1), dilation=(1, 1))
    assert sorted(len(pattern.taps) for pattern in backward(layer)) == [1, 2, 2, 4]
    layer = convolution(9, 9, kernel=(1, 1), stride=(2, 2), pad=(0, 0), dilation=(1, 1))
    assert sorted(len(pattern.taps) for pattern in backward(layer)) == [0, 0, 0, 1]


@settings(max_examples=100)
@given(convolutions(), st.integers(0, 8), st.integers(1, 9))
def test_operand_rows_are_those_that_the_products_of_a_row_range_read(layer, first, n_rows):
    for pattern in (forward(layer), *backward(layer)):
        if not pattern.taps or first >= pattern.rows:
            continue
        end = min(first + n_rows, pattern.rows)
        needed = {i * pattern.in_step_y + tap.dy for i in range(first, end) for tap in pattern.taps} & set(range(pattern.in_height))
        start, stop, step = pattern.operand_rows(first, end)
        assert needed <= set(range(start, stop, step))
        assert set(range(start, stop, step)) <= set(range(pattern.in_height))
        assert pattern.operand_row_count(first, end) == len(range(start, stop, step))


def banks_brute_force(pattern, tile, width):
    """Fullest bank of each (tap, group) if pixels lie in the scratchpad as in the map, one bank after the other."""
    sample, row, column = coordinates(pattern, tile)
    result = np.ones((len(pattern.taps), -(-len(row) // width)), int)
    for t, tap in enumerate(pattern.taps):
        for g in range(result.shape[1]):
            pixels = range(g * width, min((g + 1) * width, len(row)))
            places = [
                (int(sample[p]), int(row[p]) * pattern.in_step_y + tap.dy, int(column[p]) * pattern.in_step_x + tap.dx) for p in pixels
            ]
            inside = [(n, y, x) for n, y, x in places if 0 <= y < pattern.in_height and 0 <= x < pattern.in_width]
            banks = Counter((n * pattern.in_height * pattern.in_width + y * pattern.in_width + x) % width for n, y, x in inside)
            result[t, g] = max(banks.values(), default=1)
    return result


@settings(max_examples=80)
@given(convolutions(), st.sampled_from([2, 4, 8]), st.integers(1, 3))
def test_gather_without_deinterleaving_takes_as_long_as_the_fullest_bank(layer, width, samples):
    for pattern in (forward(layer), *backward(layer)):
        tile = PixelTile(0, samples, 0, pattern.rows * pattern.cols)
        measured = gather_cycles(pattern, samples, tile.n_pixels, 0, width, False)
        assert (measured == banks_brute_force(pattern, tile, width)).all()


@settings(max_examples=80)
@given(convolutions(), st.sampled_from([2, 4, 8]), st.integers(1, 3), st.data())
def test_gather_with_deinterleaving_never_conflicts(layer, width, samples, data):
    for pattern in (forward(layer), *backward(layer)):
        plane = pattern.rows * pattern.cols
        first = data.draw(st.integers(0, plane - 1)) if samples == 1 else 0
        n_pixels = samples * (plane - first)
        assert (gather_cycles(pattern, samples, n_pixels, first, width, True) == 1).all()


def test_a_stride_of_two_conflicts_unless_pixels_are_deinterleaved():
    pattern = forward(convolution(8, 16, kernel=(1, 1), stride=(2, 2), pad=(0, 0), dilation=(1, 1)))
    assert (gather_cycles(pattern, 1, 32, 0, 8, False) == 2).all()
    assert (gather_cycles(pattern, 1, 32, 0, 8, True) == 1).all()


@pytest.mark.parametrize("first_sample", [0, 2])
def test_coordinates_list_samples_then_rows_then_columns(first_sample):
    pattern = forward(convolution(2, 3, kernel=(1, 1), stride=(1, 1), pad=(0, 0), dilation=(1, 1)))
    sample, row, column = coordinates(pattern, PixelTile(first_sample, 2, 1, 5))
    assert sample.tolist() == [first_sample] * 4 + [first_sample + 1] * 4
    assert row.tolist() == [0, 0, 1, 1] * 2
    assert column.tolist() == [1, 2, 0, 1] * 2


@settings(max_examples=80)
@given(convolutions(), st.data())
def test_a_part_of_a_row_meets_what_it_would_meet_in_the_whole_map(layer, data):
    for pattern in (forward(layer), *backward(layer)):
        row, first = data.draw(st.integers(0, pattern.rows - 1)), data.draw(st.integers(0, pattern.cols - 1))
        end = data.draw(st.integers(first + 1, pattern.cols))
        tile = PixelTile(0, 1, row * pattern.cols + first, row * pattern.cols + end, by_row=True)
        (left, right), (own, narrow) = pattern.operand_columns(tile), as_own_map(pattern, tile)

        def met(seen, place, moved):
            """Operand pixels of each pixel and tap, those in the padding left out."""
            _, rows, columns = coordinates(seen, place)
            at = [(n, tap.index, y * seen.in_step_y + tap.dy, x * seen.in_step_x + tap.dx)
                  for tap in seen.taps for n, (y, x) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True))]  # fmt: skip
            return [(n, tap, y, x + moved) for n, tap, y, x in at if 0 <= y < seen.in_height and 0 <= x < seen.in_width]

        read = met(pattern, tile, 0)
        assert met(own, narrow, left if pattern.taps else 0) == read
        columns = [j * pattern.in_step_x + tap.dx for j in range(first, end) for tap in pattern.taps]
        between = range(min(columns), max(columns) + 1) if columns else range(pattern.in_width)
        assert list(range(left, right)) == [x for x in between if 0 <= x < pattern.in_width]
