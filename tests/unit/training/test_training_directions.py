"""Two sets of blocks of an operand, beside the codec of the numerics: values, and the three products of a layer."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from etasim.mapping.scales import SQUARE  # noqa: E402
from etasim.numerics import encode_blocks  # noqa: E402
from etasim.numerics.codec import encode, to_real  # noqa: E402
from etasim.numerics.format import BLOCK_FORMATS, SquareFormat  # noqa: E402
from etasim.training import load_scheme, quantize_model  # noqa: E402
from etasim.training.directions import represent_in  # noqa: E402

FORMATS = [name for name, data in BLOCK_FORMATS.items() if data.block]
SHAPES = [(3, 40, 5, 7), (2, 9, 8, 8), (70, 33), (1, 1, 1, 1)]
PLAIN = {f"{name}.format": "fp32" for name in ("sum", "weight_gradient", "master_weight", "momentum")} | {"normalization.kind": "own"}


def blocks_along(values, data, axis):
    return encode_blocks(values, data, axis).real()


def over_pixels(values, data):
    """Blocks of each channel's pixels, sample after sample."""
    rows = np.moveaxis(values, 1, 0)
    return np.moveaxis(blocks_along(rows.reshape(rows.shape[0], -1), data, 1).reshape(rows.shape), 0, 1)


def in_squares(rows, data):
    """Squares of 8 x 8, one by one."""
    result = np.empty_like(rows)
    for i in range(0, rows.shape[0], 8):
        for j in range(0, rows.shape[1], 8):
            square = rows[i : i + 8, j : j + 8]
            result[i : i + 8, j : j + 8] = blocks_along(square.reshape(1, -1), data._replace(block=64), 1).reshape(square.shape)
    return result


def maps_in_squares(values, data):
    rows = np.moveaxis(values, 1, 0)
    return np.moveaxis(in_squares(rows.reshape(rows.shape[0], -1), data).reshape(rows.shape), 0, 1)


def weights_in_squares(values, data):
    flat = values.reshape(*values.shape[:2], -1)
    return np.stack([in_squares(flat[..., k], data) for k in range(flat.shape[2])], -1).reshape(values.shape)


def random_values(shape, seed=0):
    random = np.random.default_rng(seed)
    return (random.standard_normal(shape) * 2.0 ** random.integers(-9, 9, shape)).astype(np.float32)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_are_those_of_the_codec_along_each_axis(name, shape):
    data, values = BLOCK_FORMATS[name], random_values(shape)
    expected = {
        ("activation", "first"): blocks_along(values, data, 1),
        ("error", "second"): over_pixels(values, data),
        ("activation", "square"): maps_in_squares(values, data),
        ("weight", "first"): blocks_along(values, data, 1),
        ("weight", "second"): blocks_along(values, data, 0),
        ("weight", "square"): weights_in_squares(values, data),
    }
    for (tensor_class, blocks), found in expected.items():
        rounded = represent_in(torch.from_numpy(values), data, 1, tensor_class, blocks).numpy()
        assert np.array_equal(rounded, found), (tensor_class, blocks)


class Two(nn.Module):
    """What comes before a layer and the layer."""

    def __init__(self, layer, pools=False):
        super().__init__()
        self.first, self.pool, self.second = nn.Conv2d(3, 40, 3, padding=1, bias=False), nn.MaxPool2d(2) if pools else None, layer
        self.flatten = nn.Flatten() if isinstance(layer, nn.Linear) else nn.Identity()

    def forward(self, x):
        x = self.first(x)
        return self.second(self.flatten(x if self.pool is None else self.pool(x)))


LAYERS = {
    "conv": lambda: nn.Conv2d(40, 36, 3, stride=2, padding=1, bias=False),
    "grouped": lambda: nn.Conv2d(40, 20, 3, groups=4, padding="same"),
    "reflected": lambda: nn.Conv2d(40, 8, 3, padding=1, padding_mode="reflect", dilation=2),
    "linear": lambda: nn.Linear(40 * 36, 10),
}


@pytest.mark.parametrize("direction", ["copy", "requantise", "square"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_reads_the_set_of_each_direction(kind, direction):
    """FF, BP and WG of the second layer, by PyTorch's own products of operands that the codec has rounded."""
    torch.manual_seed(1)
    plain = Two(LAYERS[kind]())
    model = quantize_model(plain, load_scheme("mxint8", PLAIN | {"second_direction": direction})).train()
    data, seen = BLOCK_FORMATS["mxint8"], {}
    layer = model.body.get_submodule("second")
    layer.register_forward_pre_hook(lambda module, arguments: seen.update(x=arguments[0]))
    first = model.body.get_submodule("first")
    first.register_forward_hook(lambda module, arguments, output: seen.update(raw=output))
    y = model(torch.from_numpy(random_values((5, 3, 6, 6))))
    seen["x"].retain_grad()
    errors = torch.from_numpy(random_values(y.shape, 2))
    y.backward(errors)

    def sets(values, tensor_class):
        values = values.detach().numpy()
        if direction == "square":
            one = (weights_in_squares if tensor_class == "weight" else maps_in_squares)(values, data)
            return torch.from_numpy(one), torch.from_numpy(one)
        one = blocks_along(values, data, 1)
        source = values if direction == "copy" else one
        other = blocks_along(source, data, 0) if tensor_class == "weight" else over_pixels(source, data)
        return torch.from_numpy(one), torch.from_numpy(other)

    raw, is_linear = seen["raw"], kind == "linear"
    x1, x2 = sets(raw, "activation")
    if is_linear:  # flattened between: a square of maps stays one, a second set is of each feature's samples
        x1, made_of = x1.flatten(1), (raw if direction == "copy" else x1).detach().flatten(1).numpy()
        x2 = x1 if direction == "square" else torch.from_numpy(over_pixels(made_of, data))
    w1, w2 = sets(plain.second.weight, "weight")
    e1, e2 = sets(errors, "error")
    layer_of = LAYERS[kind]()

    def product(x, w):
        layer_of.weight = nn.Parameter(w.clone())
        x = x.clone().requires_grad_()
        bias = None if is_linear else plain.second.bias
        return x, functional.linear(x, layer_of.weight) if is_linear else layer_of._conv_forward(x, layer_of.weight, bias)

    expected = product(x1, w1)[1] + (plain.second.bias if is_linear else 0)
    assert torch.equal(seen["x"].detach(), x1)
    assert torch.allclose(y, sets(expected, "activation")[0], rtol=2e-2, atol=1e-2)
    x, sums = product(x1, w2)
    (to_input,) = torch.autograd.grad(sums, x, e1)
    assert torch.allclose(seen["x"].grad, to_input, rtol=1e-5, atol=1e-4)
    x, sums = product(x2, w1)
    (to_weight,) = torch.autograd.grad(sums, layer_of.weight, e2)
    assert torch.allclose(layer.weight.grad, to_weight, rtol=1e-5, atol=1e-3)


def test_behind_a_pooling_the_second_set_is_made_of_what_was_pooled():
    model = quantize_model(Two(LAYERS["conv"](), pools=True), load_scheme("mxint8", PLAIN)).train()
    seen = {}
    model.body.get_submodule("second").register_forward_pre_hook(lambda module, arguments: seen.update(x=arguments))
    model(torch.from_numpy(random_values((2, 3, 8, 8))))
    x, second = seen["x"]
    assert np.array_equal(second.numpy(), over_pixels(x.detach().numpy(), BLOCK_FORMATS["mxint8"]))


def test_evaluation_reads_the_first_set_only():
    torch.manual_seed(0)
    model = quantize_model(Two(LAYERS["conv"]()), load_scheme("mxint8", PLAIN))
    x = torch.from_numpy(random_values((2, 3, 8, 8)))
    trained = model.train()(x)
    assert torch.equal(model.eval()(x), trained)


def test_formats_without_blocks_have_one_set():
    for scheme in ("pint8", "fp8", "int8"):
        model = quantize_model(Two(LAYERS["conv"]()), load_scheme(scheme, {"normalization.kind": "own"}))
        assert model.body.get_submodule("second").directions is None


@pytest.mark.parametrize(("shape", "axes", "tensor_class"), [((16, 60, 33, 32), (1, 3), "activation"), ((20, 11, 3, 3), (0, 1), "weight")])
def test_squares_are_those_of_the_machine(shape, axes, tensor_class):
    """Where rows have multiples of 8 pixels, and values the 16 bits in which they wait for their scale there."""
    random, code = np.random.default_rng(0), SquareFormat(axes)
    waiting = random.integers(-(2**15) + 1, 2**15, shape) >> random.integers(0, 16, shape[:1] + (1,) * 3)
    x = np.ldexp(waiting.astype(np.float32), code.unit(2))
    of_torch = represent_in(torch.from_numpy(x), BLOCK_FORMATS["mxint8"], 1, tensor_class, SQUARE).numpy()
    assert np.array_equal(of_torch, to_real(encode(x, code, 2), code, 2))
    assert not np.array_equal(of_torch, x)
