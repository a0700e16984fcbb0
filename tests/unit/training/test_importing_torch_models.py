"""PyTorch models with arguments and movements that are easily overlooked: the right trace, or a refusal by name."""

import re
import sys

import pytest
from click.testing import CliRunner

from etasim.config.errors import InputError
from etasim.training.commands import trace
from etasim.workload import load_network

torch = pytest.importorskip("torch")

from random_models import counted  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from etasim.training.torch_import import trace_model  # noqa: E402

SHAPE = (3, 16, 16)


class Model(nn.Module):
    """``body(self, x)`` with ``modules``, the last of which reads 8 channels unless it is given."""

    def __init__(self, body, **modules):
        super().__init__()
        self.body = body
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.body(self, x)


def conv(inputs, outputs, stride=1, **more):
    return nn.Conv2d(inputs, outputs, 3, stride, 1, **more)


def model(body, features=8, **modules):
    """With a first convolution ``a`` to 8 channels and a last layer ``fc``."""
    return Model(body, a=conv(3, 8), **modules, fc=nn.Linear(features, 5))


def pooled(s, x):
    return s.fc(x.mean((2, 3)))


class Functional(nn.Module):
    """Weights as attributes, and arguments with defaults."""

    def __init__(self):
        super().__init__()
        self.w, self.v = nn.Parameter(torch.ones(8, 3, 3, 3)), nn.Parameter(torch.ones(5, 8))
        self.scale, self.offset = nn.Parameter(torch.ones(8)), nn.Parameter(torch.zeros(8))
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("variance", torch.ones(8))

    def forward(self, x, features_only: bool = False, gain=None):
        x = functional.conv2d(x, self.w, None, 2, padding=1)
        x = functional.relu(functional.batch_norm(x, self.mean, self.variance, self.scale, self.offset, self.training))
        if features_only:
            return x
        return functional.linear(x.mean([2, 3]) if gain is None else x * gain, self.v)


class Fire(nn.Module):
    """As in SqueezeNet, behind its pooling."""

    def __init__(self):
        super().__init__()
        self.a, self.one, self.three, self.fc = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 4, 1), conv(8, 4), nn.Conv2d(8, 5, 1)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)

    def forward(self, x):
        x = self.pool(functional.relu(self.a(x), inplace=True))
        x = torch.cat([functional.relu(self.one(x)), functional.relu(self.three(x))], 1)
        return torch.flatten(functional.adaptive_avg_pool2d(self.fc(x), (1, 1)), 1)


def option_a(s, x):
    x = functional.relu(s.a(x))
    taken = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4), "constant", 0)
    return s.fc(functional.avg_pool2d(functional.relu(s.b(x) + taken), 8).flatten(1))


def zeros_joined(s, x):
    x = s.a(x)
    y = functional.avg_pool2d(x, 1, 2)
    return pooled(s, s.b(x) + torch.cat((y, y.mul(0)), 1))


def reserved_names():
    modules = {"input": conv(3, 8), "from": conv(8, 8), "null": nn.Linear(8, 5), "loss": nn.ReLU(), "größe": nn.ReLU()}
    parts = ("input", "from", "größe")

    def body(s, x):
        for name in parts:
            x = getattr(s, name)(x)
        return s.loss(s.null(x.mean((2, 3))))

    return Model(body, **modules)


ACCEPTED = {
    "joined_by_axis": (
        lambda: model(lambda s, x: pooled(s, torch.cat([s.a(x), s.a2(x)], axis=1)), 16, a2=conv(3, 8)),
        "conv conv concat avgpool linear loss",
    ),
    "ceil_mode": (lambda: Fire(), "conv relu maxpool conv relu conv relu concat conv avgpool loss"),
    "ceil_mode_by_position": (
        lambda: model(lambda s, x: pooled(s, functional.max_pool2d(s.a(x), 3, 2, 0, 1, True))),
        "conv maxpool avgpool linear loss",
    ),
    "weights_as_attributes": (lambda: Functional(), "conv norm relu avgpool linear loss"),
    "zeros_on_both_sides": (lambda: model(option_a, 16, b=conv(8, 16, 2)), "conv relu conv shortcut add relu avgpool linear loss"),
    "joined_with_zeros": (lambda: model(zeros_joined, 16, b=conv(8, 16, 2)), "conv conv shortcut add avgpool linear loss"),
    "pooling_of_the_own_size": (
        lambda: model(lambda s, x: s.fc(functional.avg_pool2d(s.a(x), x.size()[3]).view(x.size(0), -1))),
        "conv avgpool linear loss",
    ),
    "flatten_then_mean": (lambda: model(lambda s, x: s.fc(s.a(x).flatten(2).mean(-1))), "conv avgpool linear loss"),
    "mean_over_one_axis": (lambda: model(lambda s, x: s.fc(s.a(x).mean(3).flatten(1)), 128), "conv avgpool linear loss"),
    "means_one_by_one": (lambda: model(lambda s, x: s.fc(s.a(x).mean(3).mean(2))), "conv avgpool avgpool linear loss"),
    "join_of_one": (lambda: model(lambda s, x: pooled(s, torch.cat([s.a(x)], 1))), "conv avgpool linear loss"),
    "join_from_behind": (
        lambda: model(lambda s, x: pooled(s, torch.cat((s.a(x), s.a2(x)), -3)), 16, a2=conv(3, 8)),
        "conv conv concat avgpool linear loss",
    ),
    "there_and_back": (lambda: model(lambda s, x: pooled(s, s.a(x).flatten(1).unflatten(1, (8, 16, 16)))), "conv avgpool linear loss"),
    "channels_last": (lambda: model(lambda s, x: s.fc(s.a(x).permute(0, 2, 3, 1).flatten(1)), 2048), "conv linear loss"),
    "patches": (
        lambda: model(lambda s, x: s.fc(s.b(s.a(x).flatten(2).transpose(1, 2)).mean(1)), 6, b=nn.Linear(8, 6)),
        "conv conv avgpool linear loss",
    ),
    "odd_same": (
        lambda: Model(lambda s, x: pooled(s, s.b(x)), b=nn.Conv2d(3, 8, 4, padding="same"), fc=nn.Linear(8, 5)),
        "conv avgpool linear loss",
    ),
    "padded_at_the_end": (
        lambda: Model(lambda s, x: pooled(s, s.b(functional.pad(x, (0, 1, 0, 1)))), b=nn.Conv2d(3, 8, 3, 2), fc=nn.Linear(8, 5)),
        "conv avgpool linear loss",
    ),
    "one_output_in_a_dictionary": (lambda: model(lambda s, x: {"out": pooled(s, s.a(x))}), "conv avgpool linear loss"),
    "indices_of_one_pixel": (
        lambda: model(lambda s, x: s.fc(functional.adaptive_avg_pool2d(s.a(x), 1)[:, :, 0, 0])),
        "conv avgpool linear loss",
    ),
    "reserved_names": (reserved_names, "conv conv relu avgpool linear relu loss"),
    "no_work_with_neutral_arguments": (
        lambda: model(lambda s, x: pooled(s, torch.add(functional.avg_pool2d(s.a(x), 2, divisor_override=4), 0, alpha=1))),
        "conv avgpool avgpool linear loss",
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_multiply_accumulates_and_parameters_are_those_of_the_calls(case):
    make, kinds = ACCEPTED[case]
    network = trace_model(make(), SHAPE, case).network
    _, macs, parameters = counted(make().eval(), torch.zeros(2, *SHAPE))
    assert " ".join(layer.kind for layer in network.layers) == kinds
    assert (sum(layer.macs_per_sample for layer in network.layers), network.parameters) == (macs, parameters)


REFUSED = {
    "reshape": (
        lambda: model(lambda s, x: pooled(s, s.b(s.a(x).reshape(x.size(0), 32, 8, 8))), b=conv(32, 8)),
        "reshape: makes [N, 32, 8, 8] of maps [8, 16, 16]",
    ),
    "transpose": (
        lambda: model(lambda s, x: pooled(s, s.b(s.a(x).transpose(2, 3))), b=conv(8, 8)),
        "transpose: makes [N, 8, 16, 16] of maps",
    ),
    "samples": (lambda: model(lambda s, x: s.fc(s.a(x).view(-1, 1024)), 1024), "view: makes [2 N, 1024] of maps [8, 16, 16]"),
    "rows": (lambda: model(lambda s, x: pooled(s, torch.cat((s.a(x), s.a2(x)), dim=2)), a2=conv(3, 8)), "cat: along dimension 2"),
    "joined_samples": (lambda: model(lambda s, x: pooled(s, s.a(torch.cat([x, x])))), "cat: along dimension 0"),
    "mean_of_channels": (lambda: model(lambda s, x: s.fc(s.a(x).mean(1).flatten(1)), 256), "mean: over dimensions [1]"),
    "scaled_sum": (
        lambda: model(lambda s, x: pooled(s, torch.add(s.a(x), s.a2(x), alpha=0.5)), a2=conv(3, 8)),
        "add: alpha=0.5 is not supported, only 1 is",
    ),
    "padding_not_counted": (
        lambda: model(lambda s, x: pooled(s, s.p(s.a(x))), p=nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
        "p: AvgPool2d: count_include_pad=False",
    ),
    "divisor": (lambda: model(lambda s, x: pooled(s, functional.avg_pool2d(s.a(x), 2, divisor_override=3))), "divisor_override=3"),
    "average_over_the_end": (
        lambda: model(lambda s, x: pooled(s, s.p(s.a(x))), p=nn.AvgPool2d(3, 2, ceil_mode=True)),
        "p: AvgPool2d: ceil_mode",
    ),
    "dilated_pooling": (lambda: model(lambda s, x: pooled(s, s.p(s.a(x))), p=nn.MaxPool2d(2, dilation=2)), "p: MaxPool2d: dilation=2"),
    "reflection": (
        lambda: nn.Sequential(conv(3, 8, padding_mode="reflect"), nn.Flatten(), nn.Linear(2048, 5)),
        "0: Conv2d: padding_mode='reflect'",
    ),
    "other_padding": (
        lambda: model(lambda s, x: pooled(s, s.b(functional.pad(s.a(x), (1, 1), value=1.0))), b=conv(8, 8)),
        "pad: mode='constant', value=1.0",
    ),
    "shared_weight": (lambda: model(lambda s, x: pooled(s, s.b(s.b(s.a(x)))), b=conv(8, 8)), "b: Conv2d: shares b.weight with b"),
    "two_outputs": (lambda: model(lambda s, x: (pooled(s, s.a(x)), functional.relu(x))), "the model returns 2 tensors (fc, relu)"),
    "unused_head": (
        lambda: model(lambda s, x: pooled(s, s.a(x)), aux=nn.Sequential(conv(8, 8), nn.Linear(8, 5))),
        "aux: its 629 parameters are not used",
    ),
    "dead_layer": (
        lambda: model(lambda s, x: (s.b(x), pooled(s, s.a(x)))[1], b=conv(3, 8)),
        "b: Conv2d: nothing that reaches the output reads it",
    ),
    "changed_in_place": (
        lambda: model(lambda s, x: (lambda y: pooled(s, s.r(y) + s.b(y)))(s.a(x)), r=nn.ReLU(True), b=conv(8, 8)),
        "r: ReLU: changes in place what b reads afterwards",
    ),
    "softmax_inside": (
        lambda: model(lambda s, x: s.f2(functional.softmax(pooled(s, s.a(x)), 1)), f2=nn.Linear(5, 5)),
        "softmax: is part of the loss only at the network's end",
    ),
    "flat_normalization": (
        lambda: model(lambda s, x: s.fc(s.n(s.a(x).flatten(1))), 2048, n=nn.BatchNorm1d(2048)),
        "n: BatchNorm1d: normalizes dimension 1",
    ),
    "no_scale": (
        lambda: model(lambda s, x: pooled(s, s.n(s.a(x))), n=nn.BatchNorm2d(8, affine=False)),
        "n: BatchNorm2d: the machine's normalization has a scale",
    ),
    "einsum": (lambda: model(lambda s, x: torch.einsum("nchw,kc->nk", s.a(x), s.fc.weight)), "the operation einsum is not supported"),
    "some_channels": (lambda: model(lambda s, x: s.fc(s.a(x)[:, :4].flatten(1)), 1024), "getitem: takes a part of a tensor"),
    "two_forms_of_the_input": (
        lambda: model(lambda s, x: pooled(s, s.a(x) + s.b(x * 2)), b=conv(3, 8)),
        "the network reads its input as it is and as mul makes it",
    ),
    "bomb": (lambda: model(lambda s, x: pooled(s, double(s.a(x)))), "must be at most 1,048,576"),
    "greater_bomb": (
        lambda: model(lambda s, x: pooled(s, double(s.a(x), 60))),
        "does not run on images of 3 x 16 x 16: Storage size calculation overflowed",
    ),
    "hook": (lambda: hooked(), "a: Conv2d: has a forward hook"),
    "hook_of_the_model": (lambda: hooked_itself(), "the model has a forward hook"),
    "forward_from_outside": (lambda: with_forward("a"), "a: Conv2d: has a forward of its own, set from outside"),
    "model_with_a_forward_from_outside": (lambda: with_forward(""), "the model has a forward of its own, set from outside"),
    "script": (lambda: torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(768, 5))), "is a script of torch.jit"),
    "inputs_without_names": (lambda: Unnamed(), "is any number of inputs"),
    "exit": (lambda: model(lambda s, x: sys.exit(3)), "cannot be traced by torch.fx: 3"),
    "only_in_training": (
        lambda: model(lambda s, x: pooled(s, functional.relu(s.a(x)) if s.training else s.a(x))),
        "relu: computes something else in evaluation than in training",
    ),
    "another_pooling_in_training": (
        lambda: model(lambda s, x: pooled(s, (functional.max_pool2d if s.training else functional.avg_pool2d)(s.a(x), 2))),
        "max_pool2d: computes something else in evaluation than in training",
    ),
    "no_gradients": (lambda: model(lambda s, x: pooled(s, torch.no_grad()(s.a)(x))), "computes under torch.no_grad"),
    "autocast": (lambda: model(lambda s, x: pooled(s, torch.autocast("cpu", torch.bfloat16)(s.a)(x))), "computes under torch.autocast"),
    "not_initialized": (lambda: nn.Sequential(nn.LazyConv2d(8, 3)), "0.weight: is not initialized"),
}


def double(x, times=20):
    for _ in range(times):
        x = torch.cat([x, x], 1)
    return x


def hooked():
    made = model(lambda s, x: pooled(s, s.a(x)))
    made.a.register_forward_hook(lambda module, inputs, output: output * 2)
    return made


def hooked_itself():
    made = model(lambda s, x: pooled(s, s.a(x)))
    made.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))
    return made


def with_forward(path):
    """A model of which the module at ``path`` has got a forward that is not its class's."""
    made = model(lambda s, x: pooled(s, s.a(x)))
    module = made.get_submodule(path)
    module.forward = lambda x, forward=module.forward: forward(x) * 2
    return made


class Unnamed(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(768, 5)

    def forward(self, *inputs):
        return self.fc(inputs[0].flatten(1))


def test_gradients_that_only_training_has_are_no_other_context():
    def body(s, x):
        with torch.set_grad_enabled(s.training):
            return pooled(s, s.a(x))

    assert trace_model(model(body), SHAPE, "m").network.parameters == 8 * 28 + 45


@pytest.mark.filterwarnings("ignore:Lazy modules", "ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("case", REFUSED)
def test_what_a_trace_cannot_hold_is_refused_by_name_and_reason(case):
    make, message = REFUSED[case]
    features = {"bomb": 2**23, "greater_bomb": 8}.get(case)
    made = make()
    if features:
        made.fc = nn.Linear(features, 1, device="meta")
    with pytest.raises(InputError, match=re.escape(message)):
        trace_model(made, SHAPE, case)


def test_a_problem_has_the_line_of_the_models_code():
    with pytest.raises(InputError) as caught:
        trace_model(model(lambda s, x: pooled(s, functional.interpolate(s.a(x), scale_factor=2))), SHAPE, "m")
    (problem,) = caught.value.problems
    with open(problem.file, encoding="utf-8") as file:
        assert "functional.interpolate(" in file.readlines()[problem.line - 1]
    assert (problem.file, problem.key) == (__file__, "interpolate")


def test_what_is_done_to_the_input_alone_is_the_hosts():
    imported = trace_model(
        Model(lambda s, x: pooled(s, s.b(functional.pixel_unshuffle((x - 0.5) / 0.25, 2))), b=conv(12, 8), fc=nn.Linear(8, 5)), SHAPE, "m"
    )
    assert imported.network.input_shape == (12, 8, 8)
    assert imported.notes == ("the trace reads the input as pixel_unshuffle makes it, 12 x 8 x 8: the host has to prepare it",)


def test_the_report_counts_what_is_left_out():
    imported = trace_model(model(lambda s, x: s.fc(s.d(s.a(x)).mean((2, 3))), d=nn.Dropout()), SHAPE, "m")
    assert list(imported._summary()) == [
        f"MACs a sample: {8 * 27 * 256 + 40:,}, parameters: {8 * 28 + 45}; the model counts as many",
        "operations: 3 modelled, 0 approximated, 1 ignored",
    ]


MODULE = """
from torch import nn

def build():
    return nn.Sequential(nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 5))

def refused():
    return nn.Sequential(nn.Linear(12, 6), nn.PReLU())
"""


@pytest.fixture
def traced(tmp_path, monkeypatch):
    """What `etasim trace` does with a callable of a module in the working folder, which is read back."""
    (tmp_path / "made_for_this_test.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)

    def run(name, shape):
        result = CliRunner().invoke(trace, [f"made_for_this_test:{name}", "--input", shape, "-o", "net.yaml"])
        if result.exception is not None:
            raise result.exception
        return load_network(tmp_path / "net.yaml")

    yield run
    sys.modules.pop("made_for_this_test", None)


def test_the_command_writes_a_trace_of_features(traced):
    network = traced("build", "12")
    assert (network.name, network.input_shape) == ("made_for_this_test_build", (12, 1, 1))
    assert [layer.kind for layer in network.layers] == ["linear", "relu", "linear", "loss"]


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("build", "3x4", "--input: must be channels x height x width"),
        ("build", "9999999", "each at most 1,048,576"),
        ("build", "13", "does not run on images of 13"),
        ("refused", "12", "PReLU is not supported"),
        ("nobody", "12", "made_for_this_test:nobody: cannot be made: AttributeError"),
    ],
)
def test_the_command_writes_nothing_for_what_it_refuses(traced, tmp_path, name, shape, message):
    with pytest.raises(InputError, match=re.escape(message)):
        traced(name, shape)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".yaml"] == []
