"""The outline of an iteration counts what its program holds."""

import numpy as np
import pytest
from small_networks import TINY, architecture, conv, layer, network, with_pins

from etasim.config import load_architecture
from etasim.estimate.shared import outline
from etasim.machine.traffic import by_operation, dram_bursts
from etasim.mapping import map_iteration
from etasim.program.commands import MAX_READS, TENSOR_CLASSES
from etasim.program.durations import compute_cycles
from etasim.workload import load_network
from etasim.workload.lowering import PHASES

CONFIGURED = network(
    (3, 8, 8), conv("a", 3, bias=True), conv("b", 3), layer("norm", "norm"), layer("join", "concat", "a", "norm"),
    layer("pool", "avgpool", kernel=2, stride=2), layer("last", "norm"), classes=3,
)  # fmt: skip
"""Brings to the lanes parameters for convolutions and for a normalization alone, and labels for the loss."""

WIDE = network(
    (8, 4, 1280), conv("a", 16, kernel=3, padding=1), conv("b", 8, kernel=3, stride=[1, 2], padding=1), layer("p", "maxpool", kernel=4),
    classes=3,
)  # fmt: skip
"""Of rows that no scratchpad of eta_vc709 holds."""

CASES = {
    "tiny": (architecture(), TINY, 3),
    **{f"{n} cores": (architecture(unified_core__count=n), CONFIGURED, 2) for n in (1, 2, 3, 10)},
    "small": (architecture(), load_network("resnet20_cifar"), 2),
    "eta": (load_architecture("eta_vc709"), load_network("resnet20_cifar"), 8),
    "operands in parts": (
        with_pins(load_architecture("eta_vc709"), {"*.ff": {"reduction_blocks": 1}, "*.bp": {"reduction_blocks": 1}}),
        load_network("resnet20_cifar"), 2,
    ),
    "rows cut by themselves": (load_architecture("eta_vc709"), WIDE, 1),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def pair(request):
    """(outline, mapping, architecture)."""
    chosen, net, batch = CASES[request.param]
    return outline(chosen, net, batch, PHASES), map_iteration(chosen, net, batch), chosen


def test_operations_are_those_of_the_program(pair):
    sketch, mapping, _ = pair
    assert sketch.operations == list(mapping.operations)


def test_dram_bytes_are_those_of_the_program(pair):
    """To a burst, unless equal tiles begin at different places of a burst (blocks of weights that are no whole bursts)."""
    sketch, mapping, chosen = pair
    burst_bytes, n = chosen.dram.part.organisation.burst_bytes, len(mapping.operations)
    tables = dram_bursts(mapping.program, burst_bytes, n, len(TENSOR_CLASSES))
    exact = chosen.name == "eta_vc709"
    for is_store, table in enumerate(tables):
        for i, name in np.ndindex(table.shape):
            found = sketch.amounts.dram_bytes.get((i, TENSOR_CLASSES[name], bool(is_store)), 0)
            assert found == table[i, name] * burst_bytes or not exact
    total = sum(sketch.amounts.dram_bytes.values())
    assert total == pytest.approx(sum(int(table.sum()) for table in tables) * burst_bytes, rel=0.05)


def test_multiplying_and_vector_cycles_are_those_of_the_program(pair):
    sketch, mapping, _ = pair
    program, n = mapping.program, len(mapping.operations)
    cycles = by_operation(n, program.computes["operation"], compute_cycles(program))
    groups = by_operation(n, program.vectors["operation"], program.vectors["n_groups"])
    assert [sketch.amounts.cluster_cycles.get(i, 0) for i in range(n)] == cycles.tolist()
    assert [sketch.amounts.vector_groups.get(i, 0) for i in range(n)] == groups.tolist()


def test_words_of_the_unified_cores_are_those_of_the_program(pair):
    sketch, mapping, _ = pair
    table, n = mapping.program.vectors, len(mapping.operations)
    for is_result, operands in enumerate((slice(MAX_READS), slice(MAX_READS, None))):
        words = by_operation(n, table["operation"], table["words"][:, operands].sum(axis=1))
        assert [sketch.amounts.unified_words.get((i, bool(is_result)), 0) for i in range(n)] == words.tolist()
