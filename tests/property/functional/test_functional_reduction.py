"""Weight gradients whose sums the network adds equal the integer reference: random layers, splits, ideal parts, orders of the parts."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_networks import single_layers
from small_networks import TINY

from etasim import simulate
from etasim.config import load_architecture
from etasim.machine import engine
from etasim.mapping import InfeasibleError

TWO_CLUSTERS = {"noc.reduction": True}
FOUR_CLUSTERS = TWO_CLUSTERS | {"array.clusters": 4, "noc.columns": "auto", "noc.rows": "auto", "noc.placement": "auto",
                                "noc.virtual_channels": 3}  # fmt: skip
SPLITS = {
    "two": (TWO_CLUSTERS, {"clusters_sample": 2}),
    "two of four": (FOUR_CLUSTERS, {"clusters_sample": 2}),
    "two and blocks": (FOUR_CLUSTERS, {"clusters_sample": 2, "clusters_k": 2}),
    "four": (FOUR_CLUSTERS, {"clusters_sample": 4}),
}
IDEAL_PARTS = ("dram", "noc", "buffers", "unified_core")


def split(name, **overrides):
    """An architecture whose WG deals the samples to parts of the clusters."""
    keys, clusters = SPLITS[name]
    return load_architecture("eta_small", keys | {"mapping": {"*.wg": clusters}} | {k.replace("__", "."): v for k, v in overrides.items()})


def values_of(chosen, net, batch, **options):
    """A functional run, which must be exact."""
    result = simulate(chosen, net, batch=batch, functional=True, **options)
    assert str(result.values.mismatch) == "None"
    return result


def packets_reduced(result):
    return sum(counters["packets_reduced"] for counters in result.components.get("noc_reduction", []))


@settings(max_examples=80)
@given(single_layers(), st.integers(1, 5), st.sampled_from(list(SPLITS)))
def test_random_layers_are_exact(sketch, batch, name):
    try:
        values_of(split(name), sketch.build(), batch)
    except InfeasibleError:
        assume(False)


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("batch", [2, 4, 5])
def test_sums_of_every_split_are_exact(name, batch):
    result = values_of(split(name), TINY, batch)
    assert packets_reduced(result) > 0


@pytest.mark.parametrize("ideal", [*((part,) for part in IDEAL_PARTS), ("buffers", "noc"), IDEAL_PARTS])
def test_sums_of_ideal_parts_are_exact(ideal):
    values_of(split("two", **{f"{part}__ideal": True for part in ideal}), TINY, 3)


@settings(max_examples=10)
@given(st.permutations(range(len(engine.ORDER))))
def test_the_order_of_the_parts_changes_nothing(order):
    plain, other = values_of(split("two"), TINY, 3), values_of(split("two"), TINY, 3, order=np.array(order))
    assert (plain.total_cycles, plain.layers, plain.components) == (other.total_cycles, other.layers, other.components)


def test_iterations_with_sums_follow_each_other():
    steps = values_of(split("two"), TINY, 2, iterations=3).values.steps
    assert all((step.loss, step.accuracy) == (step.reference_loss, step.reference_accuracy) for step in steps)
