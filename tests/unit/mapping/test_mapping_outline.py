"""The outline of an iteration counts what its program holds."""

import numpy as np
import pytest
from small_networks import TINY, architecture

from etasim.config import load_architecture
from etasim.estimate.outline import outline
from etasim.machine.bound import compute_cycles
from etasim.machine.traffic import by_operation, dram_bursts
from etasim.mapping import map_iteration
from etasim.program.commands import TENSOR_CLASSES
from etasim.workload import load_network
from etasim.workload.lowering import PHASES

CASES = {
    "tiny": (architecture(), TINY, 3),
    "small": (architecture(), load_network("resnet20_cifar"), 2),
    "eta": (load_architecture("eta_vc709"), load_network("resnet20_cifar"), 8),
}


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
