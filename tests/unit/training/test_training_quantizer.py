"""The quantiser in torch is that of the numerics, bit for bit."""

import numpy as np
import pytest

from etasim import numerics
from etasim.numerics.format import CodeFormat, TableFormat

torch = pytest.importorskip("torch")

from etasim.training import encode, represent, to_real  # noqa: E402
from etasim.training.quantizer import (  # noqa: E402
    NotFiniteError,
    exponent_of,
    exponent_of_greatest,
    greatest_there,
    power_of_two,
    represent_uniform,
)
from etasim.training.random_words import random_words  # noqa: E402

FORMATS = [CodeFormat(8, 2), CodeFormat(8, 1), CodeFormat(6, 2), CodeFormat(10, 2), CodeFormat(8, 3), CodeFormat(16, 1)]


def values(n: int, dtype=np.float32) -> np.ndarray:
    """Normal values over many binades, with zeros, ties and values past the range."""
    random = np.random.default_rng(5)
    x = random.standard_normal(n) * 2.0 ** random.integers(-20, 4, n)
    x[::17] = np.round(x[::17] * 2**12 * 2) / 2 / 2**12
    x[::101] = 0
    return x.astype(dtype)


@pytest.mark.parametrize("code", FORMATS, ids=str)
@pytest.mark.parametrize("exponent", [-64, -3, 0, 63])
def test_every_code_stands_for_the_same_value_and_is_found_again(code, exponent):
    codes = np.flatnonzero([code.fields(c)[1] < code.segments for c in range(2**code.bits)]).astype(code.dtype)
    real = to_real(torch.from_numpy(codes), code, exponent)
    assert np.array_equal(real.numpy(), numerics.to_real(codes, code, exponent))
    assert np.array_equal(encode(real, code, exponent).numpy(), numerics.encode(real.numpy(), code, exponent))


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_million_values_have_the_same_codes(rounding, dtype):
    x, code = values(10**6, dtype), CodeFormat(8, 2)
    codes = encode(torch.from_numpy(x), code, 1, rounding, seed=7, first_index=123)
    assert np.array_equal(codes.numpy(), numerics.encode(x, code, 1, rounding, 7, 123))


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("code", FORMATS, ids=str)
def test_what_is_represented_is_what_the_codes_stand_for(code, rounding):
    x = values(20_000)
    expected = numerics.to_real(numerics.encode(x, code, 0, rounding, seed=3), code, 0)
    assert np.array_equal(represent(torch.from_numpy(x), code, 0, rounding, seed=3).numpy(), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_of_a_table_are_those_of_the_numerics(dtype):
    code = TableFormat(5, (0, 1, 2, 3, 4, 6, 8, 12, 16, 24))
    x = np.concatenate([values(20_000), np.arange(-60, 60) / 16]).astype(dtype)
    expected = numerics.encode(x, code, 1)
    assert len(set(expected.tolist())) == 19
    assert np.array_equal(encode(torch.from_numpy(x), code, 1).numpy(), expected)
    assert np.array_equal(represent(torch.from_numpy(x), code, 1).numpy(), numerics.to_real(expected, code, 1))
    with pytest.raises(ValueError, match="codes of a table are rounded to nearest"):
        represent(torch.from_numpy(x), code, 1, "stochastic")


def test_exponents_may_differ_between_channels():
    x, code = values(600).reshape(4, 5, 30), CodeFormat(8, 2)
    exponents = np.arange(-2, 3).reshape(5, 1)
    codes = encode(torch.from_numpy(x), code, torch.from_numpy(exponents))
    assert np.array_equal(codes.numpy(), numerics.encode(x, code, exponents))
    assert np.array_equal(to_real(codes, code, torch.from_numpy(exponents)).numpy(), numerics.to_real(codes.numpy(), code, exponents))


def test_the_exponent_is_that_of_the_numerics():
    for x in (values(1000), np.array([0.5]), np.array([-1.0, 1.0]), np.array([1.0000001]), np.zeros(3)):
        assert exponent_of(torch.from_numpy(np.asarray(x))) == numerics.exponent_of(x)


def test_random_words_do_not_depend_on_where_they_start():
    whole = random_words(9, 0, 70_000)
    assert torch.equal(whole[65_000:], random_words(9, 65_000, 5_000))
    assert len(set(whole[:1000].tolist())) > 990


def test_uniform_integers_keep_the_greatest_value_and_round_by_half_a_step():
    x = torch.from_numpy(values(5000, np.float64))
    y = represent_uniform(x, 8)
    step = x.abs().max() / 127
    assert y.abs().max() == x.abs().max()
    assert (y - x).abs().max() <= step / 2 * (1 + 1e-12)
    stochastic = represent_uniform(torch.full((100_000,), 0.3) * torch.tensor([1.0] * 99_999 + [127 / 0.3]), 8, "stochastic", 1)
    assert abs(float(stochastic[:-1].mean()) - 0.3) < 0.01


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(bad):
    x = torch.tensor([1.0, bad])
    with pytest.raises(NotFiniteError):
        encode(x, CodeFormat(), 0)
    with pytest.raises(NotFiniteError):
        exponent_of(x)
    with pytest.raises(ValueError, match="unknown rounding 'up'"):
        encode(x, CodeFormat(), 0, "up")
    with pytest.raises(ValueError, match=r"exponents 64"):
        encode(x, CodeFormat(), 64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("code", FORMATS, ids=str)
def test_an_exponent_on_the_device_gives_the_same_bits(code, rounding, dtype):
    """In tensors without axes: powers of two are made from their bits, and a number is never read."""
    x = torch.from_numpy(values(3000)).to(dtype)
    for scale in (0, -60, 60):
        scaled = torch.ldexp(x, torch.tensor(scale))
        greatest = greatest_there(scaled)
        exponent = exponent_of_greatest(greatest)
        assert int(exponent) == exponent_of(scaled)
        assert torch.equal(represent(scaled, code, exponent, rounding, 3, 17), represent(scaled, code, int(exponent), rounding, 3, 17))
    assert int(exponent_of_greatest(torch.zeros((), dtype=dtype))) == -64
    for power in range(-149, 128):
        for value in (2.0**power, 2.0**power * (1 + 2.0**-20)):
            tensor = torch.tensor(value, dtype=dtype)
            assert int(exponent_of_greatest(tensor)) == exponent_of_greatest(float(tensor))
    assert power_of_two(torch.arange(-126, 128), dtype).tolist() == [2.0**e for e in range(-126, 128)]
