"""Forwarded on chip, values are those of the reference, DRAM moves no more, and the program is valid: random graphs and buffers."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_networks import graphs, single_layers
from small_networks import architecture

from etasim import simulate
from etasim.mapping import InfeasibleError
from etasim.report.metrics import summary
from etasim.workload.lowering import PHASES

SIZES = st.sampled_from(["512 B", "1 KiB", "2 KiB", "16 KiB"])
BUFFERS = st.fixed_dictionaries({f"buffers__{name}__size": SIZES for name in ("activation", "weight", "error")})


def compared(sketch, batch, phases, keys):
    net = sketch.build()
    try:
        without = simulate(architecture(**keys), net, batch=batch, phases=phases)
    except InfeasibleError:
        assume(False)
    run = simulate(architecture(mapping__forwarding=True, **keys), net, batch=batch, phases=phases, functional=True)
    assert str(run.values.mismatch) == "None"
    for access in ("read", "write"):
        assert summary(run)[f"dram_{access}_bytes"] <= summary(without)[f"dram_{access}_bytes"]


@settings(max_examples=60)
@given(graphs(), st.integers(1, 3), st.sampled_from([PHASES, ("ff",)]), BUFFERS)
def test_random_graphs_are_exact(sketch, batch, phases, keys):
    compared(sketch, batch, phases, keys)


@settings(max_examples=60)
@given(single_layers(kernels=5), st.integers(1, 4), BUFFERS)
def test_random_layers_are_exact(sketch, batch, keys):
    compared(sketch, batch, PHASES, keys)
