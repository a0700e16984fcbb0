"""The quantized model, its normalizations, the optimizer, and what each network does in a step."""

import numpy as np
import pytest

from etasim.config.errors import InputError

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from etasim.numerics.arithmetic import DEVIATION_RATIO  # noqa: E402
from etasim.training import SGD, Normalization, build_model, load_scheme, parameter_groups, quantize_model  # noqa: E402
from etasim.training.layers import Add  # noqa: E402
from etasim.training.normalization import EPSILON, NORMALIZATIONS  # noqa: E402
from etasim.training.quantizer import NotFiniteError  # noqa: E402


def deviation(kind: str, x):
    """Standard deviation of rows as `docs/models/arithmetic.md` has it, by plain autograd."""
    centred = x - x.mean(1, keepdim=True)
    if kind == "l1_group":
        return DEVIATION_RATIO * centred.abs().mean(1, keepdim=True)
    if kind == "l2_group":
        return (centred**2).mean(1, keepdim=True).sqrt()
    return (x.amax(1, keepdim=True) - x.amin(1, keepdim=True)) / np.sqrt(2 * np.log(x.shape[1]))


@pytest.mark.parametrize("kind", sorted(NORMALIZATIONS))
@pytest.mark.parametrize(("channels", "group", "segments"), [(8, 4, None), (6, 4, None), (7, 2, (3, 4))])
def test_values_and_gradients_are_those_of_the_formula(kind, channels, group, segments):
    torch.manual_seed(1)
    norm = Normalization(channels, kind, group, segments).double()
    x = torch.randn(3, channels, 4, 5, dtype=torch.float64, requires_grad=True)
    dy = torch.randn_like(x)
    norm.weight.data.normal_()
    got = torch.autograd.grad((norm(x) * dy).sum(), [x, norm.weight, norm.bias])
    parts = []
    first = 0
    for segment in segments or (channels,):
        for start in range(first, first + segment, group):
            part = x[:, start : min(start + group, first + segment)]
            rows = part.reshape(len(part), -1)
            spread = deviation(kind, rows) + EPSILON * (kind != "l2_group")
            parts.append(((rows - rows.mean(1, keepdim=True)) / spread).reshape(part.shape))
        first += segment
    y = norm.weight[:, None, None] * torch.cat(parts, 1) + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), y, rtol=1e-6, atol=1e-6)
    for a, b in zip(got, torch.autograd.grad((y * dy).sum(), [x, norm.weight, norm.bias]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_constant_group_gives_the_bias_and_finite_gradients():
    for kind in NORMALIZATIONS:
        x = torch.ones(2, 4, 3, 3, requires_grad=True)
        y = Normalization(4, kind, 2)(x)
        y.sum().backward()
        assert torch.equal(y, torch.zeros_like(y))
        assert torch.isfinite(x.grad).all()


class Small(nn.Module):
    """A residual block with everything that a unit may have."""

    def __init__(self):
        super().__init__()
        self.conv1, self.norm1, self.relu1 = nn.Conv2d(3, 8, 3, padding=1, bias=True), nn.BatchNorm2d(8), nn.ReLU()
        self.conv2, self.norm2, self.add, self.relu2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), Add(), nn.ReLU()
        self.pool, self.flatten, self.fc = nn.AvgPool2d(4), nn.Flatten(), nn.Linear(32, 5)

    def forward(self, x):
        x = self.relu1(self.norm1(self.conv1(x)))
        x = self.relu2(self.add(self.norm2(self.conv2(x)), x))
        return self.fc(self.flatten(self.pool(x)))


def test_every_tensor_of_the_scheme_is_rounded_and_gradients_pass():
    torch.manual_seed(0)
    model = Small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    quantized = quantize_model(model, load_scheme("pint8"))
    seen = {}
    for rounding in quantized.roundings():
        rounding.observe = lambda name, values, rounded, exponent: seen.update({name: (rounded, exponent)})
    functional.cross_entropy(quantized(torch.randn(2, 3, 8, 8)), torch.tensor([1, 4])).backward()
    assert {name.split(".")[1] for name in seen} == {
        "output", "pre_normalization", "partial", "error", "weight", "weight_gradient", "parameter_gradient",
    }  # fmt: skip
    assert len([name for name in seen if name.endswith(".error")]) == 5
    for name, (rounded, exponent) in seen.items():
        if name.split(".")[1] in ("output", "weight", "error"):
            assert len(np.unique(np.abs(rounded.detach().numpy()) * 2.0 ** (12 - exponent))) <= 128, name
    assert quantized.body.conv1.bias is None
    assert all(torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for p in quantized.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not list(quantize_model(model, load_scheme("fp32")).roundings())


def test_fp32_with_batch_normalization_is_the_model_itself():
    torch.manual_seed(0)
    model, x = Small(), torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        model.conv1.bias.zero_()
    quantized = quantize_model(model, load_scheme("fp32", {"normalization.kind": "batch"}))
    torch.testing.assert_close(quantized(x), model(x))
    torch.testing.assert_close(quantized.eval()(x), model.eval()(x))


@pytest.mark.parametrize(
    ("network", "size"),
    [("vgg16_cifar", 32), ("resnet20_cifar", 16), ("inceptionv3_cifar", 20), ("resnet18_imagenet", 32), ("resnet50_imagenet", 32)],
)
def test_every_network_does_a_step_at_batch_2(network, size):
    torch.manual_seed(0)
    model = quantize_model(build_model(network, classes=10), load_scheme("pint8"))
    optimizer = SGD(parameter_groups(model, 1e-4), model.scheme, lr=0.01)
    before = model.body.fc.weight.detach().clone()
    loss = functional.cross_entropy(model(torch.randn(2, 3, size, size)), torch.tensor([3, 7]))
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert not torch.equal(model.body.fc.weight, before)


@pytest.mark.parametrize("scheme", ["bfp8", "dfx8", "int8", "pint8"])
@pytest.mark.parametrize("exponents", ["own", "previous"])
def test_every_scheme_trains_and_its_state_can_be_restored(scheme, exponents):
    def trained(model, optimizer, steps):
        generator = torch.Generator().manual_seed(steps)
        for _ in range(steps):
            optimizer.zero_grad()
            x = torch.randn(4, 3, 8, 8, generator=generator)
            functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 3])).backward()
            optimizer.step()

    def fresh():
        torch.manual_seed(3)
        model = quantize_model(Small(), load_scheme(scheme, {"exponents": exponents}))
        return model, SGD(parameter_groups(model, 1e-4), model.scheme)

    model, optimizer = fresh()
    trained(model, optimizer, 3)
    other, other_optimizer = fresh()
    other.load_state_dict(model.state_dict())
    other_optimizer.load_state_dict(optimizer.state_dict())
    for each in ((model, optimizer), (other, other_optimizer)):
        trained(*each, 2)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_sgd_keeps_16_bit_weights_and_momentum():
    weight = nn.Parameter(torch.tensor([0.9, -0.3, 1e-7]))
    optimizer = SGD([weight], load_scheme("pint8"), lr=0.5, momentum=0.5)
    assert weight.tolist() == [round(0.9 * 2**15) / 2**15, round(-0.3 * 2**15) / 2**15, 0]
    for gradient in (0.3125, 0.125):
        weight.grad = torch.full((3,), gradient)
        optimizer.step()
    assert optimizer.state[weight]["momentum"].tolist() == [0.28125] * 3
    assert weight[2] == -0.296875
    plain = nn.Parameter(torch.tensor([0.3]))
    reference = torch.optim.SGD([other := nn.Parameter(torch.tensor([0.3]))], lr=0.1, momentum=0.9, weight_decay=0.01)
    ours = SGD([plain], load_scheme("fp32"), lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        plain.grad, other.grad = torch.ones(1), torch.ones(1)
        ours.step()
        reference.step()
    torch.testing.assert_close(plain, other)


def test_the_first_tensor_that_is_not_finite_is_named():
    model = quantize_model(Small(), load_scheme("pint8"))
    x = torch.randn(2, 3, 8, 8)
    x[0, 0, 0, 0] = float("nan")
    with pytest.raises(NotFiniteError, match=r"input\.output: holds NaN"):
        model(x)


def test_modules_that_are_not_supported_are_named_with_their_path():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.Bilinear(4, 4, 4)))
    with pytest.raises(InputError, match=r"1\.0.*Bilinear is not supported|1 inputs"):
        quantize_model(model, load_scheme("pint8"))
