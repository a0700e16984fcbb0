"""Random PyTorch models of convolutional layers, with arguments that importers like to overlook; and a trace computed by PyTorch."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

N = 2
_RUNNING = []
"""The model that runs: steps name its modules, so that a copy of the model runs its own."""


class Part(NamedTuple):
    """A module of the model that runs, by name."""

    name: str

    def __call__(self, x):
        return getattr(_RUNNING[-1], self.name)(x)


class RandomModel(nn.Module):
    """A chain of random steps with branches; ``random`` chooses. ``steps`` are functions of the tensors so far, the last being current."""

    def __init__(self, random):
        super().__init__()
        self.random, self.steps, self.keeps_order = random, [], True
        self.shapes = [(random.randint(1, 4), random.randint(5, 9), random.randint(5, 9))]
        self.input_shape = self.shapes[0]
        for _ in range(random.randint(2, 6)):
            kind = random.choice(KINDS)
            step = kind(self, *self.shapes[-1])
            self._try(step)
        self._try(self._head())

    def _try(self, step):
        """Keep ``step`` if it runs."""
        self.steps.append(step)
        try:
            with torch.no_grad():
                tensors = self.eval()._tensors(torch.zeros(N, *self.input_shape))
        except Exception:  # a step that does not fit is no example
            self.steps.pop()
            return
        self.shapes = [tuple(tensor.shape[1:]) for tensor in tensors]

    def _tensors(self, x):
        tensors = [x]
        _RUNNING.append(self)
        try:
            for step in self.steps:
                tensors.append(step(tensors))
        finally:
            _RUNNING.pop()
        return tensors

    def forward(self, x):
        return self._tensors(x)[-1]

    def add(self, module):
        """A new submodule."""
        name = f"m{len(self._modules)}"
        self.add_module(name, module)
        return Part(name)

    def _head(self):
        features = 1
        for size in self.shapes[-1]:
            features *= size
        fc = self.add(nn.Linear(features, 3, bias=self.random.random() < 0.5))
        flatten = self.random.choice([lambda x: x.flatten(1), lambda x: x.view(x.size(0), -1), lambda x: torch.flatten(x, 1)])
        return lambda tensors: fc(flatten(tensors[-1]))


def unary(function):
    return lambda tensors: function(tensors[-1])


def convolution(model, channels=1, *_):
    r = model.random
    groups = r.choice([1, 1, 1, channels])
    kernel, dilation = (r.randint(1, 3), r.randint(1, 3)), r.choice([1, 1, 2])
    padding = r.choice([0, 1, (1, 2), "same", "valid"])
    stride = 1 if padding == "same" else r.choice([1, 2, (2, 1)])
    mode = r.choice(["zeros"] * 20 + ["reflect"])
    conv = model.add(nn.Conv2d(channels, groups * r.randint(1, 4), kernel, stride, padding, dilation, groups, r.random() < 0.5, mode))
    if r.random() < 0.2:
        _, module = model._modules.popitem()
        weight, bias, rest = module.weight, module.bias, (stride, padding, dilation, groups)
        names = [f"w{len(model._parameters)}", f"b{len(model._parameters)}"]
        model.register_parameter(names[0], weight)
        model.register_parameter(names[1], bias)
        return unary(lambda x: functional.conv2d(x, *(getattr(_RUNNING[-1], name) for name in names), *rest))
    return unary(conv)


def shared(model, *_):
    convolutions = [Part(name) for name, module in model.named_children() if isinstance(module, nn.Conv2d)]
    return unary(model.random.choice(convolutions) if convolutions else lambda x: x)


def relu(model, *_):
    r = model.random
    module = model.add(r.choice([nn.ReLU(), nn.ReLU(inplace=True)]))
    return unary(
        r.choice([module, functional.relu, torch.relu, lambda x: x.relu(), lambda x: x.relu_(), lambda x: functional.relu(x, True)])
    )


def normalization(model, channels=1, *_):
    r = model.random
    return unary(model.add(r.choice([nn.BatchNorm2d(channels, affine=r.random() < 0.8), nn.GroupNorm(1, channels)])))


def pooling(model, *_):
    r = model.random
    kernel = r.choice([1, 2, 3, (2, 3)])
    stride, padding, ceil = r.choice([None, 1, 2, (1, 2)]), r.choice([0, 0, 1, (1, 0)]), r.random() < 0.4
    if r.random() < 0.5:
        dilation = r.choice([1] * 9 + [2])
        module = model.add(nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil))
        return unary(r.choice([module, lambda x: functional.max_pool2d(x, kernel, stride, padding, dilation, ceil)]))
    counts, divisor = r.random() < 0.7, r.choice([None, None, None, None, 4, 5])
    module = model.add(nn.AvgPool2d(kernel, stride, padding, ceil, counts, divisor))
    return unary(r.choice([module, lambda x: functional.avg_pool2d(x, kernel, stride or kernel, padding, ceil, counts, divisor)]))


def adaptive(model, *_):
    size = model.random.choice([1, 2, 3, (1, 2), (None, 1)])
    return unary(model.add(model.random.choice([nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d])(size)))


def mean(model, *_):
    dims, keep = model.random.choice([(2, 3), (-1, -2), 3, 2, -1, 1, 0]), model.random.random() < 0.8
    return unary(
        model.random.choice([lambda x: x.mean(dims, keep), lambda x: torch.mean(x, dim=dims, keepdim=keep), lambda x: x.amax(dims, keep)])
    )


def padding(model, *_):
    r = model.random
    pads, value = r.choice([(1, 1, 1, 1), (0, 1, 0, 1), (1, 0), (0, 0, 0, 0, 0, 2), (0, 0, 0, 0, 1, 1), (-1, 0)]), r.choice([0] * 9 + [1.0])
    return unary(r.choice([lambda x: functional.pad(x, pads, value=value), model.add(nn.ZeroPad2d(1))]))


def slicing(model, *_):
    return unary(
        model.random.choice(
            [
                lambda x: x[:, :, ::2, ::2],
                lambda x: x[..., ::2],
                lambda x: x[:, :, 1::2],
                lambda x: x[:, :1],
                lambda x: x[:, :, :4],
                lambda x: x[:],
            ]
        )
    )


def movement(model, *_):
    choices = [
        lambda x: x.flatten(2).unflatten(2, x.shape[2:]), lambda x: x.contiguous(), lambda x: x.reshape(x.shape), lambda x: x.squeeze(),
        lambda x: x.reshape(x.size(0), -1, x.size(2) * x.size(3), 1), lambda x: x.view(-1, x.size(1) * x.size(2)),
        lambda x: x.reshape(x.size(0), x.size(2), x.size(1), x.size(3)), lambda x: x.reshape(1, -1, *x.shape[2:]),
    ]  # fmt: skip
    return unary(model.random.choice(choices))


def permuting(model, *_):
    model.keeps_order = False
    choices = [
        lambda x: x.permute(0, 2, 3, 1), lambda x: x.transpose(1, 2), lambda x: x.transpose(0, 1), lambda x: x.permute(0, 3, 1, 2),
        lambda x: functional.pixel_shuffle(x, 2), lambda x: functional.pixel_unshuffle(x, 2),
    ]  # fmt: skip
    return unary(model.random.choice(choices))


def pixelwise(model, *shape):
    return unary(model.add(nn.Linear(shape[-1], 4)))


def joining(model, *_):
    r = model.random
    alpha, dim, other = r.choice([1, 1, 1, 2]), r.choice([1, 1, 1, 0, 2, -1]), r.randint(-4, -1)
    return r.choice(
        [
            lambda t: torch.add(t[-1], t[max(other, -len(t))], alpha=alpha),
            lambda t: t[-1] + t[max(other, -len(t))],
            lambda t: torch.cat([t[-1], t[max(other, -len(t))]], dim),
            lambda t: torch.cat([t[-1]], dim),
            lambda t: torch.cat([t[-1], t[-1] * 0], 1),
            lambda t: t[-1] - t[max(other, -len(t))],
            lambda t: t[-1].add_(t[max(other, -len(t))]),
            lambda t: torch.stack([t[-1], t[-1]]),
        ]
    )


def number(model, *_):
    return unary(model.random.choice([lambda x: x + 1, lambda x: x * 2, lambda x: x + 0, lambda x: x / 1, lambda x: -x]))


def plain(model, *_):
    return unary(model.add(model.random.choice([nn.Dropout(), nn.Identity(), nn.Dropout2d(0.3)])))


def dead(model, channels=1, *_):
    conv = model.add(nn.Conv2d(channels, 2, 1))
    return lambda tensors: (conv(tensors[-1]), tensors[-1])[1]


KINDS = (
    *[convolution] * 12, *[relu] * 9, *[normalization] * 4, *[pooling] * 8, *[joining] * 6, *[padding] * 3, *[mean] * 2, *[slicing] * 2,
    *[plain] * 2, adaptive, movement, permuting, pixelwise, number, shared, dead,
)  # fmt: skip


def computed(network, model, x):
    """What the layers of ``network`` make of ``x`` in PyTorch, with the weights of ``model``; normalizations are the model's own."""
    modules = {name.replace(".", "_"): module for name, module in model.named_modules()}
    functional_weights = iter([(getattr(model, f"w{i}"), getattr(model, f"b{i}")) for i in range(99) if hasattr(model, f"w{i}")])
    tensors = {"input": x}
    for layer in network.layers[:-1]:
        inputs = [tensors[name] for name in layer.inputs]
        tensors[layer.name] = _layer(layer, inputs, modules.get(layer.name), functional_weights)
    return tensors[network.layers[-1].inputs[0]]


def _layer(layer, inputs, module, functional_weights):
    x = inputs[0]
    stride, kernel = (layer.stride_height, layer.stride_width), (layer.kernel_height, layer.kernel_width)
    fill = -torch.inf if layer.kind == "maxpool" else 0.0
    padded = functional.pad(x, (layer.pad_width, layer.pad_end_width, layer.pad_height, layer.pad_end_height), value=fill)
    if layer.kind in ("conv", "linear"):
        weight, bias = (module.weight, module.bias) if module is not None else next(functional_weights)
        if layer.kind == "linear":
            return functional.linear(x.flatten(1), weight, bias)[..., None, None]
        weight = weight if weight.dim() == 4 else weight[..., None, None]
        return functional.conv2d(padded, weight, bias, stride, 0, (layer.dilation_height, layer.dilation_width), layer.groups)
    if layer.kind == "shortcut":
        return functional.pad(x[:, :, :: stride[0], :: stride[1]], (0, 0, 0, 0, 0, layer.out_channels - x.shape[1]))
    return {
        "norm": lambda: module(x), "relu": lambda: x.relu(), "maxpool": lambda: functional.max_pool2d(padded, kernel, stride),
        "avgpool": lambda: functional.avg_pool2d(padded, kernel, stride), "add": lambda: sum(inputs[1:], x),
        "concat": lambda: torch.cat(inputs, 1),
    }[layer.kind]()  # fmt: skip


def counted(model, x):
    """What ``model`` makes of ``x``, its forward multiply-accumulates of one sample by the weights of what it calls, and its parameters."""
    macs, originals = [], {name: getattr(functional, name) for name in ("conv2d", "linear")}

    def counting(original):
        def call(x, weight, *rest, **named):
            result = original(x, weight, *rest, **named)
            macs.append(result.numel() * weight[0].numel())
            return result

        return call

    try:
        for name, original in originals.items():
            setattr(functional, name, counting(original))
        with torch.no_grad():
            output = model(x)
    finally:
        for name, original in originals.items():
            setattr(functional, name, original)
    return output, sum(macs) // len(x), sum(parameter.numel() for parameter in model.parameters())
