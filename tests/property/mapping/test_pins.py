"""What a plan pins is the plan: pinned whole it is taken again, and what is pinned of it is what is taken."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import graphs, single_layers
from small_networks import TINY, architecture, with_pins

from etasim.config import load_architecture
from etasim.core.errors import InfeasibleError
from etasim.mapping.iteration import Iteration
from etasim.mapping.listing import nests
from etasim.mapping.mapper import map_iteration
from etasim.schedule.pinning import pinned, pins_of
from etasim.schedule.plan import best_plans, plan
from etasim.workload.lowering import PHASES


@settings(max_examples=40)
@given(st.one_of(single_layers(), graphs()), st.integers(1, 4), st.data())
def test_any_mapping_is_taken_when_it_is_pinned(sketch, batch, data):
    machine = architecture()
    iteration = Iteration(machine, sketch.build(), batch, PHASES)
    unit = data.draw(st.sampled_from([unit for unit in iteration.units if unit.is_convolution]))
    phase = data.draw(st.sampled_from(("ff", "bp", "wg")))
    problem = iteration.problem(unit, phase)
    every = best_plans(iteration.array, problem, 4000)
    wanted = data.draw(st.sampled_from(every))
    pins = pins_of(wanted, phase, iteration.array)
    whole = with_pins(machine, {f"{unit.name}.{phase}": pins})
    assert plan(iteration.array, problem, pinned(whole, unit.name, phase)) == wanted
    name = data.draw(st.sampled_from(sorted(pins)))
    part = with_pins(machine, {f"{unit.name}.{phase}": {name: pins[name]}})
    chosen = plan(iteration.array, problem, pinned(part, unit.name, phase))
    assert pins_of(chosen, phase, iteration.array)[name] == pins[name]
    assert chosen.cycles <= wanted.cycles


def test_a_listing_prints_what_pins_read():
    machine = architecture()
    listed = [line.removeprefix("#   mapping: ") for line in nests(map_iteration(machine, TINY, 2)) if line.startswith("#   mapping: ")]
    pins = {name: own for line in listed for name, own in yaml.safe_load(line).items()}
    again = map_iteration(with_pins(machine, pins), TINY, 2)
    assert {f"{row.layer}.{row.phase}": row.pins for row in again.operations if row.nest} == pins
    assert len(pins) == len(listed) > 5


def test_pins_that_nothing_has_are_explained():
    machine = load_architecture("eta_small", {"mapping": {"conv2.ff": {"band_samples": 7}}})
    with pytest.raises(InfeasibleError, match=r"conv2 \(ff\): no mapping .* mapping.conv2.ff pins; .* planner takes .*band_samples: 1"):
        map_iteration(machine, TINY, 2)


def test_a_key_that_the_phase_does_not_have_is_refused():
    machine = load_architecture("eta_small", {"mapping": {"*.ff": {"stream_slices": 2}}})
    with pytest.raises(InfeasibleError, match=r"mapping.\*.ff.stream_slices: only wg"):
        map_iteration(machine, TINY, 2)


def test_tiles_are_given_for_each_pattern():
    """BP at stride 2 has four."""
    machine = load_architecture("eta_small", {"mapping": {"conv2.bp": {"tiles": [{"samples": 0, "pixels": 3}]}}})
    with pytest.raises(InfeasibleError, match=r"conv2 \(bp\): no mapping"):
        map_iteration(machine, TINY, 2)
