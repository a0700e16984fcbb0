"""MXINT8 in squares has values in the machine: DRAM equals the reference, scales included; what would cut a square is refused."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_networks import graphs
from small_networks import TINY, architecture, conv, layer, network

from etasim import load_architecture, simulate
from etasim.mapping import InfeasibleError

CLASSES = ("activation", "weight", "error")
MXINT8 = {f"numerics__{name}_format": "mxint8" for name in CLASSES} | {
    "numerics__second_direction": "square", "data__input_layout": "channels", "array__lanes": 8, "array__pes_per_cluster": 8,
    "array__columns": 8,
}  # fmt: skip
WIDE = network(
    (5, 12, 20),
    conv("conv1", 20, kernel=3, padding=1), layer("norm1", "norm"), layer("relu1", "relu"),
    layer("max", "maxpool", kernel=3, stride=2, padding=1),
    conv("conv2", 11, kernel=3, stride=2, padding=1, bias=True), layer("relu2", "relu"),
    layer("short", "shortcut", out_channels=17),
    conv("conv3", 17, kernel=3, padding=1, **{"from": "relu2"}), layer("norm3", "norm"),
    layer("sum", "add", "short", "norm3"), layer("relu3", "relu"), layer("average", "avgpool", kernel=3, stride=1),
    conv("conv4", 40), layer("norm4", "norm"), layer("relu4", "relu"),
    classes=10,
)  # fmt: skip
"""Rows of 20, 10 and 5 pixels: squares that rows end within; 40 channels: several blocks."""

VARIANTS = {
    "usual": {},
    "running scales": {"numerics__normalization": "running"},
    "update after each layer": {"training__weight_update": "after_layer", "training__weight_decay": 0.01},
    "errors in segments": {"numerics__error_format": None},
    "weights alone": {"numerics__error_format": None, "numerics__activation_format": None},
    "results on chip": {"mapping__forwarding": True},
    "one DMA slot": {"dma__outstanding_bursts": 1, "dma__commands_in_flight": 1},
}


def run(net, batch, overrides=(), **options):
    """A functional run, which must be exact."""
    result = simulate(architecture(**MXINT8 | dict(overrides)), net, batch=batch, functional=True, **options)
    assert str(result.values.mismatch) == "None"
    return result.values


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("batch", [1, 3])
def test_every_variant_is_exact(variant, batch):
    assert run(TINY if "running" in variant else WIDE, batch, VARIANTS[variant]).n_tensors > 30


@settings(max_examples=40)
@given(graphs(), st.integers(1, 3))
def test_random_graphs_are_exact_or_refused(sketch, batch):
    try:
        run(sketch.build(), batch)
    except InfeasibleError:
        assume(False)


def test_iterations_follow_each_other_and_scales_differ():
    """Squares of one tensor have scales of their own: codes are not those of one exponent."""
    values = run(WIDE, 2, iterations=3)
    assert len(values.steps) == 3
    for name in ("relu1.ofmap", "conv4.weight", "conv3.error"):
        shifts = values[name].codes() >> 8
        assert len(np.unique(shifts)) > 1
        assert shifts.max() <= 8
    weights = values["conv4.weight"]
    by_hand = np.abs(weights.integers[:8, :8, 0, 0]).max()
    assert (weights.codes()[:8, :8, 0, 0] >> 8 == max(int(by_hand).bit_length() - 7, 0)).all()


def test_the_large_machine_is_exact():
    keys = {key.replace("__", "."): value for key, value in MXINT8.items() if not key.startswith("array")}
    result = simulate(load_architecture("eta_vc709", keys), WIDE, batch=2, functional=True)
    assert str(result.values.mismatch) == "None"


JOINED = network((8, 6, 6), conv("a", 6), conv("b", 8, **{"from": "input"}), layer("j", "concat", "a", "b"), conv("c", 8), classes=3)
GROUPED = network((8, 6, 6), conv("a", 16), conv("b", 16, groups=2), classes=3)
TILED = network(
    (3, 20, 22), conv("a", 8, kernel=3, padding=1), layer("n", "norm"), layer("r", "relu"), layer("p", "maxpool", kernel=4, stride=4),
    conv("b", 8), classes=3,
)  # fmt: skip


@pytest.mark.parametrize(("net", "changes", "message"), [
    (JOINED, {}, "values: j joins maps whose channels do not fill blocks: squares are timed only there"),
    (GROUPED, {}, "values: b has groups of channels: squares are timed only there"),
    (TILED, {}, "values: a: tiles of the unified core begin inside squares"),
    (TINY, {"array__lanes": 4}, "values: array.lanes must be 8 where scales are shared in squares, got 4"),
    (TINY, {"data__input_layout": "columns"}, "values: data.input_layout must be channels where scales are shared in squares"),
    (TINY, {"numerics__second_direction": "copy"}, r"values: numerics.weight_format must .*mxint8 is timed only"),
    (TINY, {f"numerics__{name}_format": "mxfp8_e4m3" for name in CLASSES}, r"values: numerics.weight_format must .*is timed only"),
])  # fmt: skip
def test_what_would_cut_a_square_is_refused(net, changes, message):
    chosen = architecture(**MXINT8 | changes)
    assert simulate(chosen, net, batch=1).total_cycles > 0
    with pytest.raises(InfeasibleError, match=message):
        simulate(chosen, net, batch=1, functional=True)
