"""Blocks that share a scale: numpy, and torch if it is there, beside the reference written from the specifications."""

import math

import numpy as np
import pytest

from etasim.numerics import Blocks, encode_blocks, pack, unpack
from etasim.numerics.codec import encode, encode_integers, to_real
from etasim.numerics.format import BLOCK_FORMATS, data_format
from etasim.numerics.products import multiply
from etasim.numerics.quantization import quantize, representable
from etasim.numerics.reference.blocks import BlockReference, element_value

NAMES = {
    "mxint8": "INT8", "mxfp8_e4m3": "E4M3", "mxfp8_e5m2": "E5M2", "mxfp6_e3m2": "E3M2", "mxfp6_e2m3": "E2M3", "mxfp4": "E2M1",
    "fp8_e4m3": "E4M3", "fp8_e5m2": "E5M2",
}  # fmt: skip
MX = [name for name in NAMES if name.startswith("mx")]


def in_torch(values, data, axis):
    """Codes, scales and values by torch; None without it."""
    try:
        import torch
    except ImportError:
        return None
    from etasim.training import blocks

    tensor = torch.from_numpy(values)
    codes, scales = blocks.encode_blocks(tensor, data, axis)
    return codes.numpy(), scales.numpy(), blocks.represent_blocks(tensor, data, axis).numpy()


def values(n, seed=0):
    """float32 of all binades, subnormal ones too, beside each other and apart; ties, zeros of both signs, runs of zeros."""
    random = np.random.default_rng(seed)
    x = random.standard_normal(n) * 2.0 ** random.integers(-6, 7, n) * 2.0 ** np.repeat(random.integers(-120, 118, -(-n // 64)), 64)[:n]
    x[::11] = np.round(x[::11] * 16) / 16
    x[::29], x[7::31] = 0.0, -0.0
    with np.errstate(under="ignore"):
        x = x.astype(np.float32)
    x[64:128] = 0
    x[128:192] = np.ldexp(random.integers(-99, 99, 64), -149).astype(np.float32)
    x[192:200] = np.finfo(np.float32).max * np.array([1, -1, 0.5, 0.25, 0.9, 0.97, 0.99, 0.3], np.float32)
    return x


def test_every_name_has_a_reference():
    assert NAMES.keys() == BLOCK_FORMATS.keys()
    assert {name: data.element.bits for name, data in BLOCK_FORMATS.items()} == {
        "mxint8": 8, "mxfp8_e4m3": 8, "mxfp8_e5m2": 8, "mxfp6_e3m2": 6, "mxfp6_e2m3": 6, "mxfp4": 4, "fp8_e4m3": 8, "fp8_e5m2": 8,
    }  # fmt: skip
    assert (BLOCK_FORMATS["mxfp4"].bits_each, BLOCK_FORMATS["mxint8"].bits_each, BLOCK_FORMATS["fp8_e4m3"].bits_each) == (4.25, 8.25, 8)


@pytest.mark.parametrize("name", NAMES)
def test_every_code_means_what_the_specification_says(name):
    element = BLOCK_FORMATS[name].element
    for code, value in enumerate(element.table):
        expected = element_value(NAMES[name], code)
        assert float(expected) == value or (math.isnan(float(expected)) and math.isnan(value)), code
        assert math.copysign(1, value) == (-1 if code >> element.bits - 1 else 1) or math.isnan(value)
    greatest = {"INT8": 127 / 64, "E4M3": 448, "E5M2": 57344, "E3M2": 28, "E2M3": 7.5, "E2M1": 6}[NAMES[name]]
    assert element.greatest == greatest
    assert element.greatest_exponent == math.floor(math.log2(greatest))


@pytest.mark.parametrize("name", MX)
def test_all_codes_under_all_scales_are_found_again(name):
    """A code whose block holds its greatest element keeps it; the reference, numpy and torch decode all alike."""
    data = BLOCK_FORMATS[name]
    table, bits = data.element.table, data.element.bits
    finite = np.flatnonzero(np.isfinite(table))
    finite = finite[finite != 128] if name == "mxint8" else finite
    top = int(np.argmax(np.where(np.isfinite(table), table, -1)))
    reference = BlockReference(NAMES[name])
    for scale in range(255):
        codes = np.full((len(finite), 2), top, np.uint8)
        codes[:, 0] = finite
        blocks = Blocks(codes, np.full((len(finite), 1), scale, np.uint8), data, 1)
        real = blocks.real()
        with np.errstate(over="ignore"):
            assert real[:, 0].tolist() == [np.float32(value) for value in reference.decode(scale, finite.tolist())]
        if not np.isfinite(real).all():
            assert scale - 127 + data.element.greatest_exponent > 127
            continue
        again = encode_blocks(real, data, 1)
        assert np.array_equal(again.codes, codes)
        assert np.array_equal(again.scales, blocks.scales)
        if scale in (0, 1, 2, 126, 127, 128, 253, 254) and (found := in_torch(real, data, 1)):
            assert np.array_equal(found[0], codes)
            assert np.array_equal(found[1], blocks.scales)
            assert np.array_equal(found[2], real)
    nothing = Blocks(np.arange(2**bits, dtype=np.uint8), np.full(-(-(2**bits) // 32), 255, np.uint8), data, 0)
    assert np.isnan(nothing.real()).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_million_values_are_those_of_the_reference(name):
    data, reference = BLOCK_FORMATS[name], BlockReference(NAMES[name])
    x = values(10**6)
    if data.block is None:
        x = np.where(np.abs(x) > 2.0**-100, np.ldexp(np.frexp(x)[0], np.frexp(x)[1] // 4), x).astype(np.float32)
    found = encode_blocks(x, data)
    size = data.block or len(x)
    for block, start in enumerate(range(0, len(x), size)):
        scale, codes = reference.encode(x[start : start + size].tolist())
        assert found.scales.reshape(-1)[block] == scale, block
        assert found.codes[start : start + size].tolist() == codes, block
    torch_found = in_torch(x, data, 0)
    if torch_found:
        assert np.array_equal(torch_found[0], found.codes)
        assert np.array_equal(torch_found[1], found.scales)
        assert np.array_equal(torch_found[2], found.real())
    assert np.array_equal(representable(x, data_format(name)), found.real())


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("name", ["mxint8", "mxfp8_e5m2"])
def test_blocks_run_along_an_axis_and_the_last_may_be_shorter(name, axis):
    data, x = BLOCK_FORMATS[name], values(40 * 70 * 33).reshape(40, 70, 33)
    found = encode_blocks(x, data, axis)
    assert found.scales.shape[axis] == -(-x.shape[axis] // 32)
    moved, scales = np.moveaxis(x, axis, -1), np.moveaxis(found.scales, axis, -1)
    for i, j, block in ((0, 0, 0), (3, 5, 1), (2, 20, 0)):
        line = moved[i, j, 32 * block : 32 * block + 32]
        if len(line):
            alone = encode_blocks(line, data)
            assert alone.scales[0] == scales[i, j, block]
            assert np.array_equal(alone.codes, np.moveaxis(found.codes, axis, -1)[i, j, 32 * block : 32 * block + 32])
    torch_found = in_torch(x, data, axis)
    if torch_found:
        for own, other in zip((found.codes, found.scales, found.real()), torch_found, strict=True):
            assert np.array_equal(own, other)


@pytest.mark.parametrize("name", NAMES)
def test_the_error_is_at_most_half_a_step(name):
    """Of the element's precision for values in its normal range; a block's greatest value may saturate, by less than a quarter of it."""
    data = BLOCK_FORMATS[name]
    x = np.random.default_rng(1).uniform(-1, 1, 4096).astype(np.float32)
    found = encode_blocks(x, data)
    error = np.abs(found.real() - x)
    greatest = np.abs(x).reshape(-1, 32).max(1).repeat(32) if data.block else np.abs(x).max()
    mantissa = getattr(data.element, "mantissa_bits", None)
    if mantissa is None:
        assert (error <= greatest * 2.0**-7).all()
    else:
        scale = 2.0 ** (np.floor(np.log2(greatest)) - data.element.greatest_exponent)
        step = np.maximum(2.0 ** (np.floor(np.log2(np.abs(x))) - mantissa), scale * 2.0 ** (data.element.least_exponent - mantissa))
        saturates = np.abs(x) > scale * data.element.greatest
        assert (error[~saturates] <= step[~saturates] / 2).all()
        assert (error[saturates] < np.abs(x)[saturates] / 4).all()


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_codes_of_few_bits_are_packed_and_found_again(bits):
    codes = np.random.default_rng(0).integers(0, 2**bits, (7, 11)).astype(np.uint8)
    packed = pack(codes, bits)
    assert len(packed) == -(-77 * bits // 8)
    assert np.array_equal(unpack(packed, bits, (7, 11)), codes)
    assert packed[0] & (2**bits - 1) == codes[0, 0]
    with pytest.raises(ValueError, match="hold less than 77 codes"):
        unpack(packed[:-1], bits, (7, 11))


def test_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match=r"inf at \[3\] has no code"):
        encode_blocks(np.array([1, 2, 3, np.inf]), BLOCK_FORMATS["mxint8"])
    assert encode_blocks(np.zeros((0,), np.float32), BLOCK_FORMATS["mxint8"]).codes.shape == (0,)
    zeros = encode_blocks(np.zeros(3, np.float32), BLOCK_FORMATS["fp8_e4m3"])
    assert (zeros.scales.tolist(), zeros.real().tolist()) == (0, [0, 0, 0])


@pytest.mark.parametrize("name", ["fp8_e4m3", "fp8_e5m2"])
def test_the_machine_has_the_codes_of_floats_with_the_exponents_of_its_own(name):
    """Integers in units of the least magnitude. A tensor whose greatest value is a power of two saturates there, no other does; numpy,
    torch and integers agree on a million values, and the reference on their codes."""
    code, data, reference = data_format(name).code, BLOCK_FORMATS[name], BlockReference(NAMES[name])
    finite = data.element.table[np.isfinite(data.element.table)]
    assert np.array_equal(np.unique(code.table), np.unique(finite / data.element.table[1]))
    assert (code.bits, code.magnitudes[-1]) == (8, int(data.element.greatest / data.element.table[1]))
    x = values(10**6)
    x = np.where(np.abs(x) > 2.0**-100, np.ldexp(np.frexp(x)[0], np.frexp(x)[1] // 4), x).astype(np.float32)
    exponent = int(np.frexp(np.abs(x).max())[1])
    codes = encode(x, code, exponent)
    scale, expected = reference.encode(x.tolist())
    assert scale - 127 == exponent - 1 - data.element.greatest_exponent
    assert np.array_equal(codes, np.where(np.array(expected) == 128, 0, expected))  # -0 is 0
    assert np.array_equal(to_real(codes, code, exponent), encode_blocks(x, data).real())
    integers = np.round(np.ldexp(x.astype(np.float64), 20)).astype(np.int64)
    of_integers = encode_integers(integers, -20, code, exponent)
    assert np.array_equal(of_integers, encode(np.ldexp(integers.astype(np.float64), -20), code, exponent))
    every = np.flatnonzero(code.exists(np.arange(256, dtype=np.uint8))).astype(np.uint8)
    again = encode(to_real(every, code, 5), code, 5)
    assert np.array_equal(again, np.where(every == 128, 0, every))
    power = quantize(np.float32([1.0, 0.5]), code).real()
    assert power.tolist() == [2 * data.element.greatest / 2.0 ** (2 + data.element.greatest_exponent), 0.5]
    torch = pytest.importorskip("torch")
    from etasim.training import quantizer

    assert np.array_equal(quantizer.encode(torch.from_numpy(x), code, exponent).numpy(), codes)
    assert np.array_equal(quantizer.represent(torch.from_numpy(x), code, exponent).numpy(), to_real(codes, code, exponent))


def test_products_that_leave_64_bits_are_refused():
    e5m2 = data_format("fp8_e5m2").code
    with pytest.raises(ValueError, match="more than 63 bits"):
        multiply(np.zeros(1, np.uint8), np.zeros(1, np.uint8), e5m2, e5m2)
