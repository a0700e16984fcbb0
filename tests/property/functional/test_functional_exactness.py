"""The machine's DRAM equals the integer reference, byte by byte: random layers, graphs, ideal parts, orders of the parts."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_networks import convolution_entries, graphs, single_layers
from small_networks import TINY, architecture, conv, layer, network

from etasim import simulate
from etasim.config import InputError
from etasim.machine import engine
from etasim.mapping import InfeasibleError

IDEAL_PARTS = ("dram", "noc", "buffers", "unified_core")


def values_of(chosen, net, batch, **options):
    """Values of a functional run, which must be exact."""
    result = simulate(chosen, net, batch=batch, functional=True, **options)
    assert str(result.values.mismatch) == "None"
    return result


def exact(chosen, net, batch):
    """An exact run, or no example if the network fits no tiling."""
    try:
        return values_of(chosen, net, batch)
    except InfeasibleError:
        assume(False)


@settings(max_examples=200)
@given(single_layers(kernels=7), st.integers(1, 5))
def test_random_layers_are_exact(sketch, batch):
    exact(architecture(), sketch.build(), batch)


@settings(max_examples=60)
@given(graphs(), st.integers(1, 3))
def test_random_graphs_are_exact(sketch, batch):
    exact(architecture(), sketch.build(), batch)


@settings(max_examples=25)
@given(graphs(), st.integers(1, 3), st.permutations(range(len(engine.ORDER))))
def test_values_and_cycles_do_not_depend_on_each_other(sketch, batch, order):
    try:
        plain = simulate(architecture(), sketch.build(), batch=batch)
    except InfeasibleError:
        assume(False)
    both = values_of(architecture(), sketch.build(), batch, order=np.array(order))
    assert (both.total_cycles, both.layers, both.components) == (plain.total_cycles, plain.layers, plain.components)


SMALL_BUFFERS = {f"buffers__{name}__size": "1 KiB" for name in ("activation", "weight", "error")}

VARIANTS = {
    "no multicast": {"noc__multicast": False},
    "update after each layer": {"training__weight_update": "after_layer"},
    "weight decay": {"training__weight_decay": 0.01},
    "reciprocal by shift": {"numerics__reciprocal": "shift"},
    "one segment": {f"numerics__{name}_segments": 1 for name in ("activation", "weight", "error")},
    "16-bit codes": {f"numerics__{name}_segments": 1 for name in ("activation", "weight", "error")}
    | {f"data__{name}": "16 bit" for name in ("activation", "weight", "error")},
    "channels alone": {"numerics__normalization_group": 1},
    "strided gathers": {"array__deinterleave_stride": False},
    "small buffers": SMALL_BUFFERS,
    "input as it is": {"data__input_layout": "channels"},
    "input by windows": {"data__input_layout": "window"},
    "half of the lanes": {"array__lanes": 4, "array__pes_per_cluster": 4, "data__channel_block": 2},
    "a block of one channel": {"data__channel_block": 1, "numerics__normalization_group": 1},
    "one DMA slot": {"dma__outstanding_bursts": 1, "dma__commands_in_flight": 1},
    "closed pages": {"dram__page_policy": "closed"},
    **{f"ideal {part}": {f"{part}__ideal": True} for part in IDEAL_PARTS},
    "ideal buffers and NoC": {"buffers__ideal": True, "noc__ideal": True},
    "all ideal": {f"{part}__ideal": True for part in IDEAL_PARTS},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("batch", [1, 3])
def test_every_variant_of_the_machine_is_exact(variant, batch):
    values_of(architecture(**VARIANTS[variant]), TINY, batch)


POOLED = network(
    (3, 20, 22),
    conv("conv1", 6, kernel=3, padding=1), layer("norm1", "norm"), layer("relu1", "relu"),
    layer("max", "maxpool", kernel=3, stride=2, padding=1),
    conv("conv2", 5, kernel=3, padding=1, bias=True), layer("relu2", "relu"),
    layer("average", "avgpool", kernel=2, stride=2), layer("norm3", "norm"), layer("relu3", "relu"),
    layer("short", "shortcut", out_channels=8, stride=2),
    classes=3,
)  # fmt: skip


@pytest.mark.parametrize("error_buffer", ["32 KiB", "8 KiB", "4 KiB", "2 KiB"])
def test_planes_that_come_in_pieces_are_exact(error_buffer):
    values_of(architecture(buffers__error__size=error_buffer), POOLED, 2)


GRAPHS = {
    "a map added to itself": [conv("a", 3), layer("sum", "add", "a", "a")],
    "a map joined with itself": [conv("a", 3), layer("join", "concat", "a", "a"), conv("b", 2)],
    "the input joined": [conv("a", 3), layer("join", "concat", "a", "input"), conv("b", 2)],
    "joined maps joined again": [
        conv("a", 3), conv("b", 1), layer("first", "concat", "a", "b"), layer("second", "concat", "first", "a"), conv("c", 2),
    ],
    "in two concatenations": [
        conv("a", 3), conv("b", 1), layer("first", "concat", "a", "b"), conv("c", 2, **{"from": "first"}),
        layer("second", "concat", "c", "a"), conv("d", 2),
    ],
    "three addends": [conv("a", 3), conv("b", 3), conv("c", 3), layer("sum", "add", "a", "b", "c"), layer("after", "relu")],
    "a map added to itself and read again": [
        conv("a", 3), layer("s", "add", "a", "a"), layer("p", "avgpool", "a", kernel=1, stride=1), layer("t", "add", "s", "p"),
    ],
    "joins of a map before others that read it": [
        conv("a", 3), layer("s", "add", "a", "a"), layer("j", "concat", "s", "a"), conv("b", 3, **{"from": "a"}),
        layer("p", "shortcut", "a", out_channels=3), layer("t", "add", "s", "b", "p"), conv("c", 3, **{"from": "j"}),
        layer("u", "add", "t", "c"),
    ],
    "many readers": [
        conv("a", 3), *(conv(f"b{i}", 3, **{"from": "a"}) for i in range(4)), layer("sum", "add", "b0", "b1", "b2", "b3"),
    ],
    "a norm that heads a unit": [
        conv("a", 3), layer("max", "maxpool", kernel=2, stride=2), layer("n", "norm"), layer("r", "relu"), conv("b", 2),
    ],
    "a norm of joined maps": [
        conv("a", 3), conv("b", 1), layer("j", "concat", "a", "b"), layer("n", "norm"), layer("r", "relu"), conv("c", 2),
    ],
    "a ReLU alone": [conv("a", 3), conv("b", 3, **{"from": "a"}), layer("r", "relu", "a"), layer("sum", "add", "b", "r")],
    "groups over joined maps": [conv("a", 3), conv("b", 3), layer("j", "concat", "a", "b"), conv("c", 4, kernel=3, padding=1, groups=2)],
    **{
        f"a shortcut of joined maps to {channels} channels": [
            conv("a", 3), conv("b", 3), layer("j", "concat", "a", "b"),
            layer("s", "shortcut", out_channels=channels, stride=2), conv("c", 2),
        ] for channels in (6, 7, 8, 11)
    },
    "a shortcut of a shortcut of joined maps": [
        conv("a", 3), conv("b", 1), layer("j", "concat", "a", "b"), layer("s", "shortcut", out_channels=5), layer("n", "norm"),
        layer("k", "concat", "n", "a"), layer("t", "shortcut", out_channels=8), layer("sum", "add", "t", "t"),
    ],
    "depthwise": [conv("a", 6), conv("b", 6, kernel=3, padding=1, groups=6), layer("n", "norm"), layer("r", "relu"), conv("c", 3)],
    "two linear layers": [conv("a", 3), layer("hidden", "linear", out_channels=5, bias=True), layer("r", "relu")],
    "a large window": [conv("a", 3), layer("max", "maxpool", kernel=5, stride=1, padding=2)],
    "windows that leave pixels out": [
        conv("a", 3), layer("max", "maxpool", kernel=1, stride=3), layer("av", "avgpool", kernel=1, stride=2),
    ],
    "a loss on maps": [conv("a", 2), layer("av", "avgpool", kernel=3, stride=3)],
    "a loss on joined maps": [
        conv("a", 3), conv("b", 3), layer("j", "concat", "a", "b"), layer("av", "avgpool", kernel=3, stride=3),
    ],
}  # fmt: skip
WITHOUT_A_CLASSIFIER = {"a loss on maps": 2 * 4, "a loss on joined maps": 6 * 4}
"""Values of the last maps of a graph whose loss reads them."""


@pytest.mark.parametrize("graph", GRAPHS)
def test_unusual_graphs_are_exact(graph):
    n_values = WITHOUT_A_CLASSIFIER.get(graph)
    net = _with_classes(GRAPHS[graph], n_values) if n_values else network((2, 6, 6), *GRAPHS[graph], classes=4)
    values_of(architecture(), net, 2)


def test_maps_that_lie_differently_are_not_added():
    parts = [conv("a", 3), conv("b", 3, **{"from": "a"}), layer("joined", "concat", "a", "b"), conv("whole", 6, **{"from": "a"})]
    net = network((2, 6, 6), *parts, layer("sum", "add", "joined", "whole"), classes=4)
    with pytest.raises(InfeasibleError, match="sum: adds maps that lie differently"):
        values_of(architecture(), net, 1)
    for phases, fidelity in product((("ff",), ("bp",), ("wg",)), ("cycle", "analytical")):
        with pytest.raises(InfeasibleError, match=r"^sum: adds maps that lie differently"):
            simulate(architecture(), net, batch=1, phases=phases, fidelity=fidelity)


def _with_classes(entries, classes):
    """A network without a classifier whose last maps have ``classes`` values."""
    from etasim.workload import Network

    whole = network((2, 6, 6), *entries, classes=classes)
    return Network("maps", whole.input_shape, classes, tuple(entry for entry in whole.layers if entry.name not in ("fc", "loss")))


@settings(max_examples=30)
@given(st.data(), st.sampled_from(["columns", "window"]), st.integers(1, 3))
def test_first_layers_are_exact_however_the_input_is_laid_out(data, layout, batch):
    channels, height, width = data.draw(st.integers(1, 5)), data.draw(st.integers(2, 8)), data.draw(st.integers(2, 8))
    entry = data.draw(convolution_entries("first", channels, height, width, 7))
    try:
        net = network((channels, height, width), entry, classes=3)
    except InputError:
        assume(False)
    exact(architecture(data__input_layout=layout), net, batch)


@pytest.mark.parametrize("phases", [("ff",), ("ff", "bp"), ("ff", "bp", "wg")])
def test_a_part_of_an_iteration_is_exact(phases):
    values_of(architecture(), TINY, 2, phases=phases)


def test_iterations_follow_each_other():
    result = values_of(architecture(), TINY, 2, iterations=4)
    steps = result.values.steps
    assert len(steps) == 4
    assert all((step.loss, step.accuracy) == (step.reference_loss, step.reference_accuracy) for step in steps)
    assert len({step.loss for step in steps}) == 4
