"""What an estimate makes of equal programs, and of operands that are there before they are needed."""

import pytest

from etasim.config import load_architecture
from etasim.estimate.outline import _turns
from etasim.estimate.pipeline import estimate
from etasim.machine import simulate
from etasim.mapping.mapper import map_iteration
from etasim.schedule.nest import Axis, Nest, Operand
from etasim.workload import load_network

DIGITS = load_network("digits_cnn")


@pytest.mark.parametrize("name", ["digits_cnn", "resnet20_cifar"])
def test_of_one_sample_both_orders_of_the_loops_are_the_same(name):
    """Its slices follow each other, whichever loop is the outer, if all else is pinned to what the planner chooses."""
    operations = map_iteration(load_architecture("eta_vc709"), load_network(name), 1, ("ff",)).operations
    chosen = {f"{each.layer}.{each.phase}": each.pins for each in operations if each.nest}
    pinned = [{key: pins | {"outer": outer} for key, pins in chosen.items()} for outer in ("stationary", "stream")]
    machines = [load_architecture("eta_vc709", {"mapping": pins}) for pins in pinned]
    assert len({(estimated(machine, load_network(name)), simulated(machine, load_network(name))) for machine in machines}) == 1


def estimated(machine, network):
    return estimate(machine, network, 1, ("ff",)).total_cycles


def simulated(machine, network):
    return simulate(machine, network, batch=1, phases=("ff",)).total_cycles


STREAM_AXES, WEIGHT_AXES = frozenset({"samples", "rows", "streams"}), frozenset({"results", "streams"})
TILES = ("results", "samples", "rows")


def turns(resident, *axes):
    stream, stationary = Operand("stream", STREAM_AXES, resident), Operand("stationary", WEIGHT_AXES, resident)
    loops = Nest(tuple(Axis(name, n, 1) for name, n in axes), stream, stationary, ())
    return tuple(_turns(loops, operand, TILES) for operand in (stream, stationary))


def test_an_operand_that_stays_is_loaded_beside_the_first_tiles():
    """(pieces that a tile needs, tiles in a row that need the same), of both operands: three rounds of results over four samples."""
    assert turns(True, ("results", 3), ("samples", 4), ("rows", 1)) == ((1, 1), (1, 4))
    assert turns(True, ("samples", 4), ("rows", 1), ("results", 3)) == ((1, 3), (1, 1))
    assert turns(True, ("samples", 1), ("rows", 1), ("results", 3), ("streams", 2)) == ((2, 3), (2, 1))


def test_parts_that_do_not_stay_are_loaded_for_each_tile():
    assert turns(False, ("results", 3), ("samples", 4), ("rows", 1), ("streams", 2)) == ((2, 1), (2, 1))


def test_an_estimate_feels_how_many_loads_are_in_flight():
    machines = [load_architecture("eta_vc709", {"dma.commands_in_flight": n}) for n in (1, 2, 4)]
    for fidelity in ("cycle", "analytical"):
        by_window = [simulate(machine, DIGITS, batch=2, fidelity=fidelity).total_cycles for machine in machines]
        assert by_window == sorted(by_window, reverse=True)
        assert by_window[0] > 1.05 * by_window[2]
