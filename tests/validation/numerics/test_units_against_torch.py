"""Each step of a reference iteration, on random networks, is within its rounding of what PyTorch and its autograd give for the same values.

A step is replayed from the values that the reference recorded before it, so the bounds are those of one rounding: half a step of the format
where the result lies, plus what the tables of normalization and loss and the reciprocals of counts are wrong by.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from joined_network import JOINED
from random_networks import graphs, single_layers
from small_networks import TINY, conv, layer, network
from torch.nn import functional

from etasim.numerics.format import CodeFormat
from etasim.numerics.reference import Graph, calibrate, initial_state, quantized, run_iteration
from etasim.numerics.scheme import Scheme

TABLE_ERROR = 2.0**-8
"""Relative error of 1 / (k spread), with room for the rounding of xh and G."""

MEAN_ERROR = 2.0**-16
"""Relative error of the reciprocal of a window's pixels."""

PROBABILITY_ERROR = 2 ** (1 / 256) - 1
"""The loss rounds exponents to 1/256 of a power of two."""


def real(value):
    return torch.tensor(value.real())


def greatest(tensor):
    return float(tensor.detach().abs().max())


def half_step(value):
    """Half the distance [...] of neighbouring values of a tensor's format at each of its values, and some room for sums in float64."""
    unit = 2.0**value.unit
    if isinstance(value.format, int):
        return np.full(value.integers.shape, unit / 2)
    bits, step = value.format.magnitude_bits, np.full(value.integers.shape, unit)
    for segment in range(1, value.format.segments):
        step[np.abs(value.integers) >= 2 ** (bits * segment)] = unit * 2 ** (bits * segment)
    return step / 2


def recorded(exact, rounded, unit):
    """``rounded`` with the gradient of ``exact``, from which it differs by less than a ``unit`` (or it is the least spread of one)."""
    allowed = 2.0**unit * 1.01 + exact.abs() * 2**-15
    assert (((rounded - exact).abs() <= allowed) | (rounded == 2.0**unit)).all()
    return exact + (rounded - exact).detach()


def assert_rounded(value, exact, inexact=0.0, n_roundings=1):
    """``value`` is the rounding of what differs from ``exact`` by ``inexact`` at most; at the end of the range it may have saturated."""
    exact = exact.detach().numpy().reshape(value.integers.shape)
    inside = np.abs(value.integers) < value.greatest
    allowed = n_roundings * half_step(value) * (1 + 1e-6) + inexact
    assert (np.abs(value.real() - exact)[inside] <= allowed[inside]).all()
    assert (np.abs(exact)[~inside] >= np.abs(value.real())[~inside] - allowed[~inside]).all()


class Replay:
    """PyTorch's functions on the values of an iteration."""

    def __init__(self, net, scheme, values, before):
        self.graph, self.scheme, self.values, self.before = Graph(net), scheme, values, before

    def of(self, unit, role):
        return self.values.tensors[unit.name, role]

    def outputs(self, unit):
        """Real outputs that a unit reads, each with a gradient of its own."""
        return [real(self.values.tensors[self.graph.name(i), "output"]).requires_grad_() for i in unit.inputs]

    def head(self, unit, maps, weight=None):
        """The head of a unit."""
        layer = unit.head
        stride, kernel = (layer.stride_height, layer.stride_width), (layer.kernel_height, layer.kernel_width)
        sides = (layer.pad_width, layer.pad_end_width, layer.pad_height, layer.pad_end_height)
        fill = -torch.inf if layer.kind == "maxpool" else 0.0
        padded = functional.pad(maps[0], sides, value=fill) if any(sides) else maps[0]
        if layer.kind == "conv":
            dilation = (layer.dilation_height, layer.dilation_width)
            return functional.conv2d(padded, weight, dilation=dilation, groups=layer.groups, stride=stride)
        if layer.kind == "linear":
            return functional.linear(maps[0].flatten(1), weight.flatten(1))[..., None, None]
        if layer.kind == "maxpool":
            return functional.max_pool2d(padded, kernel, stride)
        if layer.kind == "avgpool":
            return functional.avg_pool2d(padded, kernel, stride)
        if layer.kind == "shortcut":
            taken = maps[0][:, :, :: layer.stride_height, :: layer.stride_width]
            return functional.pad(taken, (0, 0, 0, 0, 0, layer.out_channels - layer.in_channels))
        return {"add": lambda: sum(maps), "concat": lambda: torch.cat(maps, 1)}.get(layer.kind, lambda: maps[0])()

    def parameter(self, unit):
        """Scale and offset of a unit, or None."""
        found = self.before.tensors.get((unit.name, "parameter"))
        return None if found is None else real(found).requires_grad_()

    def tail(self, unit, p, parameter):
        """Normalization, bias and ReLU of a unit."""
        if unit.norm is not None:
            p = self.normalize(unit, p) * parameter[0, :, None, None] + parameter[1, :, None, None]
        elif unit.head.bias:
            p = p + parameter[1, :, None, None]
        return torch.relu(p) if unit.activation is not None else p

    def normalize(self, unit, p):
        """With the recorded mean and spread, which are checked here, and the gradients of exact ones."""
        statistic = self.of(unit, "statistic")
        mean, spread = real(statistic)[..., None, None]
        parts, first = [], 0
        for segment in torch.split(p, self.graph.normalization_segments(unit), dim=1):
            for group in torch.split(segment, self.scheme.normalization_group, dim=1):
                channels, first = slice(first, first + 1), first + group.shape[1]
                centred = group - recorded(group.mean((1, 2, 3), keepdim=True), mean[:, channels], statistic.unit)
                deviation = recorded(centred.abs().mean((1, 2, 3), keepdim=True), spread[:, channels], statistic.unit)
                parts.append(centred / (np.sqrt(np.pi / 2) * deviation))
        return torch.cat(parts, 1)

    def check_forward(self, unit):
        maps = self.outputs(unit)
        weight = real(self.before.tensors[unit.name, "weight"]) if unit.is_convolution else None
        p = self.head(unit, maps, weight)
        if unit.is_convolution:
            assert_rounded(self.of(unit, "pre_normalization"), p)
            p = real(self.of(unit, "pre_normalization"))
        parameter = self.parameter(unit)
        output = self.tail(unit, p, parameter)
        if unit.norm is not None:
            inexact = TABLE_ERROR * (greatest(output) + greatest(parameter[1]))
        else:
            inexact = MEAN_ERROR * greatest(p)
        assert_rounded(self.of(unit, "output"), output, inexact)

    def check_error(self, unit):
        """From the sum of contributions to the error at the head, and to the gradients of scale and offset."""
        p = real(self.of(unit, "pre_normalization")) if unit.is_convolution else self.head(unit, self.outputs(unit)).detach()
        p.requires_grad_()
        parameter, d = self.parameter(unit), real(self.of(unit, "partial"))
        output = self.tail(unit, p, parameter)
        if unit.activation is not None:  # at the kink the reference's mask decides
            d = torch.where(torch.tensor(self.of(unit, "mask").integers == 1), d, 0)
            output = self.tail(replace(unit, activation=None), p, parameter)
        output.backward(d)
        error_inexact = gradient_inexact = 0.0
        if unit.norm is not None:
            per_unit = 1 / (np.sqrt(np.pi / 2) * float(real(self.of(unit, "statistic"))[1].min()))
            error_inexact = 4 * TABLE_ERROR * per_unit * greatest(d) * greatest(parameter[0])
            gradient_inexact = TABLE_ERROR * greatest((d * self.normalize(unit, p)).abs().sum((0, 2, 3)))
        assert_rounded(self.of(unit, "error"), p.grad, error_inexact)
        if parameter is not None:
            assert_rounded(self.of(unit, "parameter_gradient"), parameter.grad, gradient_inexact)

    def contributions(self, unit):
        """Gradients of a unit's inputs, and of its weights, from its own error."""
        maps = self.outputs(unit)
        weight = real(self.before.tensors[unit.name, "weight"]).requires_grad_() if unit.is_convolution else None
        self.head(unit, maps, weight).backward(real(self.of(unit, "error")))
        if unit.is_convolution:
            assert_rounded(self.of(unit, "weight_gradient"), weight.grad)
        return [m.grad for m in maps]

    def loss_contribution(self):
        output = real(self.values.tensors[self.values.output, "output"]).requires_grad_()
        label = torch.tensor(self.of(self.graph.loss, "label").integers)
        functional.cross_entropy(output.flatten(1), label, reduction="sum").backward()
        return output.grad

    def check(self):
        trained = [unit for unit in self.graph.units[:-1] if unit.needs_error]
        collected = {unit.index: [] for unit in trained}
        collected[self.graph.loss.inputs[0]].append(self.loss_contribution())
        for unit in self.graph.units[:-1]:
            self.check_forward(unit)
        for unit in reversed(trained):
            terms = collected[unit.index]
            exact = torch.stack(terms).sum(0)
            of_loss = PROBABILITY_ERROR if self.graph.loss.index in unit.consumers else 0.0
            of_means = MEAN_ERROR * sum(map(greatest, terms))
            assert_rounded(self.of(unit, "partial"), exact, of_loss + of_means, len(terms))
            self.check_error(unit)
            for source, term in zip(unit.inputs, self.contributions(unit), strict=True):
                if source in collected:
                    collected[source].append(term)


def run(net, scheme, batch, seed):
    random = np.random.default_rng(seed)
    before = initial_state(net, scheme, seed)
    inputs = quantized(random.standard_normal((batch, *net.input_shape)), scheme.activation)
    labels = random.integers(0, net.classes, batch)
    values = run_iteration(net, scheme, before, inputs, labels, calibrate(net, scheme, before, inputs, labels))
    return Replay(net, scheme, values, before)


@pytest.mark.parametrize("code", [CodeFormat(8, 2), CodeFormat(8, 1), CodeFormat(16, 1)], ids=str)
def test_a_residual_network(code):
    run(TINY, Scheme(activation=code, weight=code, error=code, normalization_group=4), 2, seed=3).check()


def test_nested_concatenations():
    run(JOINED, Scheme(), 2, seed=0).check()


def test_biases():
    net = network((2, 5, 5), conv("stem", 4, kernel=3, bias=True), layer("relu", "relu"), conv("next", 3, bias=True), classes=3)
    run(net, Scheme(), 2, seed=1).check()


@settings(max_examples=30)
@given(graphs(), st.integers(1, 2), st.integers(0, 99), st.sampled_from([1, 3, 16]))
def test_random_networks(sketch, batch, seed, group):
    run(sketch.build(), Scheme(normalization_group=group), batch, seed).check()


@settings(max_examples=20)
@given(single_layers(), st.integers(1, 2), st.integers(0, 99))
def test_random_convolutions(sketch, batch, seed):
    run(sketch.build(), Scheme(), batch, seed).check()
