"""Normalization by a running scale in PyTorch: gradients, batches in parts, filters, and a net that learns."""

import pytest

from etasim.config.errors import InputError
from etasim.numerics.running import running_share

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from etasim.training import SGD, load_scheme, parameter_groups, quantize_model  # noqa: E402
from etasim.training.running import RunningNormalization  # noqa: E402

RATIO = (torch.pi / 2) ** 0.5


def net():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 6, 3, stride=2, bias=False), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(6 * 9, 4),
    )  # fmt: skip


def running(scheme="fp32"):
    return quantize_model(net(), load_scheme(scheme, {"normalization.kind": "running_l1"})).train()


def normalizations(model):
    return [module for module in model.modules() if isinstance(module, RunningNormalization)]


def filters(model):
    return [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]


SAMPLES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


def kept(outputs):
    """A hook that notes an output and has its gradient kept."""

    def hook(module, given, output):
        output.retain_grad()
        outputs.append(output)

    return hook


def backward(model, part=slice(None)):
    functional.cross_entropy(model(SAMPLES[part]), LABELS[part], reduction="sum").backward()


def test_without_a_radial_gradient_it_is_what_autograd_finds_for_a_fixed_scale():
    norm, x = RunningNormalization(5).double(), 2 * torch.randn(4, 5, 3, 3, dtype=torch.float64)
    with torch.no_grad():
        norm.spread.copy_(torch.tensor([0.1, 0.5, 1.0, 2.0, 4.0]))
        norm.weight.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0]))
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = (theirs / (RATIO * norm.spread).view(-1, 1, 1)).clamp(-3, 3)
    expected = norm.weight.detach().view(-1, 1, 1) * y + norm.bias.detach().view(-1, 1, 1)
    found, gradient = norm(ours), torch.randn_like(x)
    torch.testing.assert_close(found, expected)
    found.backward(gradient)
    expected.backward(gradient)
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert (y.abs() == 3).any()


def test_the_radial_gradient_pulls_by_the_sign():
    norm, x = RunningNormalization(2), torch.randn(3, 2, 4, 4, requires_grad=True)
    norm.radial.copy_(torch.tensor([0.5, -2.0]))
    norm(x).sum().mul(0).backward()
    torch.testing.assert_close(x.grad, -norm.radial.view(-1, 1, 1) * torch.where(x < 0, -1.0, 1.0) / (RATIO * norm.spread).view(-1, 1, 1))


def test_scales_learn_from_filters_alone_what_autograd_finds_from_values():
    """Sum x dx is the product of a filter and its gradient, so the gradient of the scale is that of its values, but for clamped ones."""
    model = running()
    optimizer = SGD(parameter_groups(model, 0.0), model.scheme, lr=0.0, momentum=0.0)
    model.learn_before_steps(optimizer)
    seen = []
    for norm in normalizations(model):
        norm.radial.uniform_(-0.1, 0.1)
        norm.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    outputs = []
    for norm in normalizations(model):
        norm.register_forward_hook(kept(outputs))
    backward(model)
    inverse = [1 / (RATIO * norm.spread.clone()) for norm in normalizations(model)]
    optimizer.step()
    for norm, x, out, by in zip(normalizations(model), seen, outputs, inverse, strict=True):
        y = x * by.view(-1, 1, 1)
        expected = (out.grad * y * (y.abs() <= 3)).sum((0, 2, 3))
        torch.testing.assert_close(norm.weight.grad, expected, rtol=1e-3, atol=1e-4)


def test_a_batch_in_parts_is_the_batch():
    whole, parts = running(), running()
    backward(whole)
    for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
        backward(parts, part)
    for model in (whole, parts):
        optimizer = SGD(parameter_groups(model, 1e-3), model.scheme, lr=0.1)
        model.learn_before_steps(optimizer)
        optimizer.step()
    for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_running_mean_moves_by_the_share_of_the_samples_and_evaluation_does_not_move_it():
    model = running()
    norm, sums = normalizations(model)[0], []
    norm.register_forward_pre_hook(lambda module, given: sums.append(given[0].detach()))
    optimizer = SGD(parameter_groups(model, 0.0), model.scheme, lr=0.1)
    model.learn_before_steps(optimizer)
    model.eval()(SAMPLES)
    assert not norm.seen.any()
    before = norm.spread.clone()
    backward(model.train())
    optimizer.step()
    share = running_share(6)
    torch.testing.assert_close(norm.spread, (1 - share) * before + share * sums[-1].abs().mean((0, 2, 3)))
    assert not norm.magnitude.any()


@pytest.mark.parametrize("scheme", ["fp32", "pint8"])
def test_a_net_learns_with_filters_of_zero_mean(scheme):
    model = running(scheme)
    optimizer = SGD(parameter_groups(model, 1e-4), model.scheme, lr=0.05)
    model.learn_before_steps(optimizer)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(SAMPLES), LABELS)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    for weights in filters(model):
        assert weights.mean((1, 2, 3)).abs().max() < 2e-4 * weights.abs().max()


def test_a_normalization_without_filters_before_it_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4))
    with pytest.raises(InputError, match="running_l1 needs a convolution or linear layer right before"):
        quantize_model(model, load_scheme("fp32", {"normalization.kind": "running_l1"}))
