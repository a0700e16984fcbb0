"""quantize_model of random models: in fp32 with their own normalizations they are what they were, and 16 bits come near."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from same_model import differing  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from etasim.training import load_scheme, quantize_model  # noqa: E402

EXACT = load_scheme("fp32", {"normalization.kind": "own"})
CLASSES = ("activation", "weight", "error", "weight_gradient", "sum", "master_weight", "momentum")
FINE = load_scheme("fp32", {"normalization.kind": "own"} | {f"{name}.format": "bfp16" for name in CLASSES})


def convolution(draw, channels: int, out: int) -> nn.Module:
    kernel, dilation = draw(st.tuples(*[st.sampled_from((1, 3))] * 2)), draw(st.integers(1, 2))
    mode = draw(st.sampled_from(("zeros", "reflect", "replicate", "circular")))
    padding = draw(st.sampled_from(("same", tuple(dilation * (size // 2) for size in kernel))))
    stride = 1 if padding == "same" else draw(st.integers(1, 2))
    return nn.Conv2d(channels, out, kernel, stride, padding, dilation, draw(st.sampled_from((1, 2))), draw(st.booleans()), mode)


def normalization(draw, channels: int) -> nn.Module:
    kind = draw(st.sampled_from((nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm)))
    eps, affine = draw(st.floats(1e-5, 1e-1)), draw(st.booleans())
    if kind is nn.GroupNorm:
        return nn.GroupNorm(draw(st.sampled_from((1, 2, channels))), channels, eps, affine)
    momentum = draw(st.floats(0.01, 1) if kind is nn.InstanceNorm2d else st.one_of(st.none(), st.floats(0.01, 1)))
    return kind(channels, eps, momentum, affine, draw(st.booleans()))


class Activated(nn.Module):
    """What follows a convolution: an activation as module or function, in place or not, and a dropout as module or function."""

    def __init__(self, activation: str, dropout: str, p: float):
        super().__init__()
        self.act = {"relu": nn.ReLU(), "inplace": nn.ReLU(inplace=True), "silu": nn.SiLU(), "leaky": nn.LeakyReLU(0.2)}.get(activation)
        self.drop, self.p = nn.Dropout(p) if dropout == "module" else None, p if dropout == "function" else 0.0

    def forward(self, x):
        x = functional.relu(x) if self.act is None else self.act(x)
        if self.drop is not None:
            return self.drop(x)
        return functional.dropout(x, self.p, training=self.training) if self.p else x


@st.composite
def random_models(draw) -> nn.Module:
    torch.manual_seed(draw(st.integers(0, 2**31)))
    channels, layers = 2, []
    for _ in range(draw(st.integers(1, 3))):
        out = draw(st.sampled_from((4, 6)))
        layers.append(convolution(draw, channels, out))
        channels = out
        if draw(st.booleans()):
            layers.append(normalization(draw, channels))
        activation = draw(st.sampled_from(("relu", "inplace", "function", "silu", "leaky")))
        layers.append(Activated(activation, draw(st.sampled_from(("none", "module", "function"))), draw(st.floats(0.1, 0.6))))
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 5, bias=draw(st.booleans())))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
        parameter.requires_grad_(draw(st.sampled_from((True, True, True, False))))
    model[-1].weight.requires_grad_(True)
    for module in model:
        module.train(draw(st.sampled_from((True, True, True, False))))
    return model


@given(model=random_models(), double=st.booleans())
@settings(max_examples=60)
def test_in_fp32_a_model_is_what_it_was(model, double):
    x = torch.randn(3, 2, 16, 18)
    if double:
        model, x = model.double(), x.double()
    assert differing(model, quantize_model(model, EXACT), x) == []


@given(model=random_models())
@settings(max_examples=30)
def test_in_16_bits_every_attribute_still_counts(model):
    """What is dropped on the way to rounded layers, a padding mode or an eps, changes the result by more than 16 bits do."""
    x = torch.randn(3, 2, 16, 18)
    quantized = quantize_model(model.eval(), FINE)
    expected = model(x).detach()
    assert not quantized.training
    torch.testing.assert_close(quantized(x).detach(), expected, rtol=0, atol=0.01 * max(float(expected.abs().max()), 1.0))
