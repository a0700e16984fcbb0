"""What a quantized model carries over from the model that it is made of, and what is refused by the path of its module."""

import operator

import pytest

from etasim.config.errors import InputError

torch = pytest.importorskip("torch")

from same_model import differing  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402

from etasim.training import carried, load_scheme, quantize_model  # noqa: E402
from etasim.training.layers import Concat, Shortcut  # noqa: E402
from etasim.training.normalization import Normalization  # noqa: E402

EXACT = load_scheme("fp32", {"normalization.kind": "own"})


class Net(nn.Module):
    """Runs ``body(self, x)`` with the modules that it is given."""

    def __init__(self, body, **modules):
        super().__init__()
        self.body = body
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.body(self, x)


def block(*layers: nn.Module) -> nn.Sequential:
    """``layers`` that keep 4 channels, between a stem and a classifier."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(5))


def modified(layer: nn.Module, change) -> nn.Module:
    change(layer)
    return layer


class Frozen(nn.BatchNorm2d):
    def train(self, mode=True):
        return super().train(False)


class OwnConv(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


class FunctionalConv(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4, 1, 1))

    def forward(self, x):
        return functional.conv2d(x, self.weight)


class OtherInEvaluation(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.ReLU(), nn.Sigmoid()

    def forward(self, x):
        return self.a(x) if self.training else self.b(x)


def joined_in_place(change):
    def body(net, x):
        x = net.conv(x)
        y = change(x)
        return net.fc(torch.flatten(functional.adaptive_avg_pool2d(net.cat(x, y), 1), 1))

    return Net(body, conv=nn.Conv2d(3, 4, 1), cat=Concat(), fc=nn.Linear(8, 5))


class Counting(nn.Module):
    def __init__(self, in_place):
        super().__init__()
        self.in_place, self.fc = in_place, nn.Linear(192, 5)
        self.register_buffer("n", torch.zeros(()))

    def forward(self, x):
        self.n = self.n.add_(1) if self.in_place else self.n + 1
        return self.fc(x.flatten(1))


SHARED = nn.Conv2d(4, 4, 1)
REFUSED = {
    "forward hook": (block(modified(nn.ReLU(), lambda m: m.register_forward_hook(print))), "1: has hooks"),
    "pre-hook": (block(modified(nn.Conv2d(4, 4, 1), lambda m: m.register_forward_pre_hook(print))), "1: has hooks"),
    "backward hook": (block(modified(nn.ReLU(), lambda m: m.register_full_backward_hook(print))), "1: has hooks"),
    "hook of a parameter": (block(modified(nn.Conv2d(4, 4, 1), lambda m: m.weight.register_hook(print))), "1.weight: has hooks"),
    "weight_norm": (block(parametrizations.weight_norm(nn.Conv2d(4, 4, 1))), "1: is parametrized"),
    "forward set from outside": (block(modified(nn.ReLU(), lambda m: setattr(m, "forward", print))), "1: has a forward of its own"),
    "train overridden": (block(Frozen(4)), "1: overrides train or eval"),
    "subclass": (block(OwnConv(4, 4, 1)), "1: "),
    "functional convolution": (block(FunctionalConv()), "1: a parameter or buffer used outside a layer|1: the operation conv2d"),
    "functional normalization": (
        Net(lambda net, x: functional.batch_norm(x, None, None, training=True)), "batch_norm: the operation batch_norm is not supported",
    ),
    "parameter that nothing reads": (modified(block(), lambda m: setattr(m, "free", nn.Parameter(torch.ones(2)))), "free: is read by"),
    "buffer that nothing reads": (modified(block(), lambda m: m.register_buffer("free", torch.ones(2))), "free: is read by nothing"),
    "layer that nothing reads": (
        Net(lambda net, x: net.fc(x.flatten(1)), fc=nn.Linear(192, 5), idle=nn.Linear(2, 2)), "idle.weight: is read by nothing",
    ),
    "buffer that forward counts up": (Counting(in_place=True), "n: is changed by forward"),
    "buffer that forward sets": (Counting(in_place=False), "n: is changed by forward"),
    "no gradients": (Net(lambda net, x: net.fc(torch.no_grad()(net.a)(x).flatten(1)), a=nn.Conv2d(3, 4, 1), fc=nn.Linear(256, 5)),
        "cannot be traced by torch.fx: computes under torch.no_grad",
    ),
    "used twice": (block(SHARED, nn.ReLU(), SHARED), "1: is used more than once"),
    "other operations in evaluation": (block(OtherInEvaluation()), "1.[ab]: computes something else in evaluation|1: computes"),
    "in place": (joined_in_place(lambda x: x.relu_()), "relu_: changes in place what cat reads later"),
    "in place, a view": (joined_in_place(lambda x: functional.relu(x.contiguous(), inplace=True)), "relu: changes in place what cat reads"),
    "added in place": (joined_in_place(lambda x: operator.iadd(x, functional.relu(x))), "add: changes in place what cat reads later"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_lost_is_refused_by_path(case):
    model, message = REFUSED[case]
    for scheme in ("fp32", "pint8"):
        with pytest.raises(InputError, match=rf"^[^\n]*:\d+: ({message})"):
            quantize_model(model, load_scheme(scheme, {"normalization.kind": "own"}))


def test_all_that_would_be_lost_is_told_at_once():
    model = block(Frozen(4), modified(nn.ReLU(), lambda m: m.register_forward_hook(print)))
    with pytest.raises(InputError, match=r"Sequential:1: 1: overrides[^\n]*\nSequential:1: 2: has hooks"):
        quantize_model(model, EXACT)


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4)])
def test_only_batch_normalizations_are_replaced(norm):
    for kind in ("l1_group", "range", "l2_group", "batch"):
        with pytest.raises(InputError, match=rf"1: normalization.kind {kind} takes the place of batch .* {type(norm).__name__}; own keeps"):
            quantize_model(block(norm), load_scheme("pint8", {"normalization.kind": kind}))
    assert differing(block(norm), quantize_model(block(norm), EXACT), IMAGES) != []  # other weights: the comparison sees that
    model = block(norm)
    model.zero_grad()
    assert differing(model, quantize_model(model, EXACT), IMAGES) == []


@pytest.mark.parametrize(("type_", "name"), [(type_, name) for type_, names in carried.ATTRIBUTES.items() for name in names])
def test_an_attribute_that_a_newer_pytorch_adds_is_refused(monkeypatch, type_, name):
    """As if the table had been written before that attribute was added."""
    import inspect

    if name not in inspect.signature(type_.__init__).parameters:
        assert (type_.__name__[:9], name) == ("BatchNorm", "bias")  # PyTorch 2.13 has it, earlier ones do not
        return
    known = {other: how for other, how in carried.ATTRIBUTES[type_].items() if other != name}
    monkeypatch.setitem(carried.ATTRIBUTES, type_, known)
    made = {nn.Conv2d: (4, 4, 1), nn.Linear: (4, 4), nn.ReLU: ()}.get(type_, (4,))
    with pytest.raises(InputError, match=rf"1: this version of PyTorch gives {type_.__name__} the attribute '{name}'"):
        quantize_model(block(type_(*made)), EXACT)


def test_a_functional_dropout_follows_the_mode_of_its_module():
    class Dropped(nn.Module):
        def forward(self, x):
            return functional.dropout(x, 0.5, self.training)

    model = block(Dropped(), nn.ReLU())
    quantized = quantize_model(model.eval(), load_scheme("pint8", {"normalization.kind": "own"}))
    assert torch.equal(quantized(IMAGES), quantized(IMAGES))
    assert not torch.equal(quantized.train()(IMAGES), quantized(IMAGES))
    quantized.body.get_submodule("1").eval()
    assert torch.equal(quantized(IMAGES), quantized(IMAGES))
    model.train()
    model[1].eval()
    assert differing(model, quantize_model(model, EXACT), IMAGES) == []


def test_layers_keep_everything_when_their_tensors_are_rounded():
    conv = nn.Conv2d(4, 4, 3, 2, 1, bias=True, padding_mode="reflect").double()
    conv.weight.requires_grad_(False)
    conv.remark = "of the user"
    norm = nn.BatchNorm2d(4, 0.1, None, track_running_stats=False).double().eval()
    model = block(conv, norm, nn.ReLU()).double()
    model.eval()
    model[0].train()
    quantized = quantize_model(model, load_scheme("pint8", {"normalization.kind": "own"}))
    ours, kept = quantized.body.get_submodule("1"), quantized.body.get_submodule("2")
    assert {name: vars(ours)[name] for name in vars(conv) if not name.startswith("_")} == {
        name: value for name, value in vars(conv).items() if not name.startswith("_")
    }
    assert (kept.eps, kept.momentum, kept.track_running_stats, kept.running_mean) == (0.1, None, False, None)
    assert not ours.weight.requires_grad
    assert ours.weight.dtype == kept.weight.dtype == torch.float64
    assert [quantized.body.get_submodule(path).training for path in ("0", "1", "2")] == [True, False, False]
    assert not quantized.training
    parameters = [name.removeprefix("body.") for name, _ in quantized.named_parameters()]
    assert sorted(parameters) == sorted(name for name, _ in model.named_parameters())


def test_tied_weights_stay_tied():
    model = block(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
    model[2].weight = model[1].weight
    quantized = quantize_model(model, load_scheme("pint8"))
    assert quantized.body.get_submodule("1").weight is quantized.body.get_submodule("2").weight
    assert differing(model, quantize_model(model, EXACT), IMAGES) == []


@pytest.mark.parametrize(("affine", "bias"), [(True, True), (True, False), (False, False)])
def test_a_normalization_of_the_scheme_has_the_parameters_of_the_one_it_replaces(affine, bias):
    norm = nn.BatchNorm2d(4, affine=affine)
    if affine and not bias:
        norm.bias = None
    quantized = quantize_model(block(norm), load_scheme("pint8"))
    new = quantized.body.get_submodule("1")
    assert isinstance(new, Normalization)
    assert (new.weight is not None, new.bias is not None) == (affine, bias)
    x = torch.randn(2, 4, 3, 3)
    whole = Normalization(4)
    torch.testing.assert_close(new(x), whole(x))


def test_what_a_scheme_replaces_is_told_by_path():
    model = block(nn.BatchNorm2d(4, eps=0.01), nn.ReLU())
    assert quantize_model(model, load_scheme("pint8", {"normalization.kind": "batch"})).changes == []
    changes = quantize_model(model, load_scheme("pint8")).changes
    assert changes[0] == "0: its bias is dropped, the offset of 1 takes its place"
    assert changes[1].startswith("1: BatchNorm2d(4, eps=0.01, momentum=0.1, affine=True")
    assert changes[1].endswith("becomes l1_group over groups of 2 channels")


def test_an_activation_that_makes_new_values_is_rounded_where_it_heads_a_unit():
    pool = nn.MaxPool2d(2)
    pooled = nn.Sequential(nn.Conv2d(3, 4, 3), pool, nn.LeakyReLU(0.3), pool, nn.ReLU(), nn.Flatten(), nn.Linear(4, 5))
    rounded = {rounding.name for rounding in quantize_model(pooled, load_scheme("pint8")).roundings()}
    assert "_2.output" in rounded
    assert {"_1.output", "_1_1.output", "_4.output"}.isdisjoint(rounded)
    assert "_0.output" in rounded


def test_groups_of_a_normalization_end_where_joined_maps_end():
    """Also where a concatenation joins concatenations."""
    def body(net, x):
        a, b, c = net.a(x), net.b(x), net.c(x)
        return net.fc(torch.flatten(net.norm(net.last(net.first(a, b), c)), 1))

    model = Net(
        body, a=nn.Conv2d(3, 3, 3), b=nn.Conv2d(3, 5, 3), c=nn.Conv2d(3, 1, 3), first=Concat(), last=Concat(), norm=nn.BatchNorm2d(9),
        fc=nn.Linear(9 * 36, 5),
    )  # fmt: skip
    quantized = quantize_model(model, load_scheme("pint8"))
    assert quantized.body.norm._parts == Normalization(9, "l1_group", 2, (3, 5, 1))._parts
    assert torch.isfinite(quantized(IMAGES)).all()


def test_a_shortcut_adds_channels_to_the_last_of_joined_maps():
    def body(net, x):
        return net.fc(torch.flatten(net.norm(net.shortcut(net.join(net.a(x), net.b(x)))), 1))

    model = Net(
        body, a=nn.Conv2d(3, 3, 3), b=nn.Conv2d(3, 1, 3), join=Concat(), shortcut=Shortcut(7, 2), norm=nn.BatchNorm2d(7),
        fc=nn.Linear(7 * 9, 5),
    )  # fmt: skip
    quantized = quantize_model(model, load_scheme("pint8"))
    assert quantized.body.norm._parts == Normalization(7, "l1_group", 2, (3, 4))._parts
    assert torch.isfinite(quantized(IMAGES)).all()
