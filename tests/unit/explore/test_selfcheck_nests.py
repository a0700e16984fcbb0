"""`etasim selfcheck nests`: every nest of a small layer, what is simulated of them, and figures by hand."""

import json

import pytest
from command_line import invoke

from etasim import simulate
from etasim.config import load_architecture
from etasim.core.errors import InfeasibleError
from etasim.explore.pinned_iterations import with_plan
from etasim.explore.selfcheck import nests
from etasim.explore.selfcheck.bars import passes
from etasim.explore.selfcheck.tables import nest_cells, worst_nests
from etasim.explore.shortlist import BLOCKINGS, CONSIDERED
from etasim.mapping.mapper import asked_of
from etasim.schedule.every_plan import every_plan
from etasim.schedule.nest import loops_of
from etasim.schedule.pinning import pins_of
from etasim.schedule.plan import best_plans
from etasim.workload import load_network

TINY_LAYER = nests.SmallLayer("tiny", "eta_small", 2, 4, 4, 4, 3)
STRIDED = nests.SmallLayer("strided", "eta_small", 2, 4, 4, 4, 3, 2)


@pytest.mark.parametrize("layer", [TINY_LAYER, STRIDED], ids=lambda layer: layer.name)
@pytest.mark.parametrize("phase", nests.PHASES)
def test_every_plan_has_those_of_the_planner_and_each_can_be_pinned(layer, phase, tmp_path):
    trying = nests.Trying(layer, phase, tmp_path, 1)
    machine, network = load_architecture("eta_small"), load_network(tmp_path / f"{layer.name}.yaml")
    array, asked = asked_of(machine, network, 2, nests.PHASES[phase])
    problem = next(each.problem for each in asked if each.name == f"conv.{phase}")
    plans = trying.plans
    assert plans == every_plan(array, problem)
    assert len(plans) == len(set(plans)) > 40
    assert set(best_plans(array, problem, 1000)) <= set(plans)
    for plan in plans[:: len(plans) // 10]:
        pinned = with_plan(machine, [f"conv.{phase}"], pins_of(plan, phase, array))
        (_, found, pins) = next(each for each in asked_of(pinned, network, 2, nests.PHASES[phase])[1] if each.name == f"conv.{phase}")
        assert pins_of(best_plans(array, found, 1, pins)[0], phase, array) == pins_of(plan, phase, array)


@pytest.mark.parametrize("layer", [TINY_LAYER, STRIDED], ids=lambda layer: layer.name)
@pytest.mark.parametrize("phase", nests.PHASES)
def test_plans_are_one_program_just_if_their_loops_are_the_same(layer, phase, tmp_path):
    trying = nests.Trying(layer, phase, tmp_path, 1)
    some = trying.plans[:60]
    loops, programs = [loops_of(*trying.asked, plan) for plan in some], [trying.nest(plan).program for plan in some]
    assert 1 < len(set(programs)) == len(set(loops)) == len(set(zip(loops, programs, strict=True)))
    assert len(set(programs)) < len(some)


def test_a_shortlist_is_the_chosen_plan_and_the_best_estimates_of_various_blockings(tmp_path):
    trying = nests.Trying(TINY_LAYER, "bp", tmp_path, 1)
    chosen, *others = trying.shortlisted(8)
    assert chosen == best_plans(*trying.asked, 1)[0]
    first = {loops_of(*trying.asked, plan): plan for plan in reversed(best_plans(*trying.asked, 8 * CONSIDERED))}
    estimated = {plan: trying._estimates.cycles([trying.nest(plan).machine])[0] for plan in first.values()}

    def blocking(plan):
        return plan.split, plan.own_blocks, plan.slice_blocks, plan.bands, plan.reduction_blocks

    least = {}
    for plan in sorted(estimated, key=estimated.get):
        least.setdefault(blocking(plan), estimated[plan])
    del least[blocking(chosen)]
    various = min(len(least), int(8 * BLOCKINGS) - 1)
    assert various > 1
    assert [estimated[plan] for plan in others[:various]] == sorted(least.values())[:various]
    assert len({blocking(plan) for plan in [chosen, *others[:various]]}) == 1 + various
    rest = [estimated[plan] for plan in others[various:]]
    assert rest
    assert rest == sorted(set(estimated.values()) - {estimated[plan] for plan in [chosen, *others[:various]]})[: len(rest)]


def test_where_nothing_fits_there_is_no_plan(tmp_path):
    machine = load_architecture("eta_small", {"array.stream_scratchpad": "32 B"})
    network = load_network(nests._written(nests.SmallLayer("wide", "eta_small", 1, 4, 16, 4, 3), tmp_path))
    array, _ = asked_of(load_architecture("eta_small"), network, 1, ("ff",))
    problem = asked_of(load_architecture("eta_small"), network, 1, ("ff",))[1][-1].problem
    assert every_plan(array, problem)
    with pytest.raises(InfeasibleError):
        asked_of(machine, network, 1, ("ff",))


def test_the_best_is_what_a_run_takes_and_no_nest_that_was_tried_is_better(tmp_path):
    trying = nests.Trying(TINY_LAYER, "ff", tmp_path, 1)
    found = nests.tried(trying, 4, 30.0)
    machine, network = load_architecture("eta_small"), load_network(tmp_path / "tiny.yaml")

    def cycles(pins):
        return simulate(with_plan(machine, ["conv.ff"], pins), network, batch=2, phases=("ff",)).total_cycles

    took = found["iteration_cycles"]
    assert took["chosen"] == cycles(found["pins"]["chosen"]) == simulate(machine, network, batch=2, phases=("ff",)).total_cycles
    assert took["best"] == cycles(found["pins"]["best"]) <= took["tuned"] <= took["chosen"]
    others = [plan for plan in trying.plans if plan.cycles <= 1.3 * trying.plans[0].cycles]
    assert 20 < len(others) <= found["tried"] <= len(others) + 4
    assert min(cycles(trying.pins(plan)) for plan in others[::7]) >= took["best"]
    assert found["chosen_percent"] == pytest.approx(100 * (took["chosen"] - took["best"]) / found["own_cycles"])
    assert 0 < found["own_cycles"] < took["best"]


def test_a_cluster_that_multiplies_all_the_time_bounds_the_cycles(tmp_path):
    trying = nests.Trying(TINY_LAYER, "bp", tmp_path, 1)
    tried = [trying.nest(plan) for plan in trying.plans[:: len(trying.plans) // 8]]
    for nest, cycles in zip(tried, trying.cycles(tried), strict=True):
        assert 0 < nest.least_cycles < cycles


def test_the_command_goes_on_where_it_was_left(tmp_path, monkeypatch):
    monkeypatch.setattr(nests, "LAYERS", (TINY_LAYER, STRIDED))
    arguments = "selfcheck", "nests", "--layer", "tiny", "--tuned", 2, "--within", 1, "--workers", 1
    first = invoke(*arguments, "--json", "--out", tmp_path / "a")
    found = json.loads(first.stdout)
    assert [(each["layer"], each["phase"]) for each in found["operations"]] == [("tiny", phase) for phase in nests.PHASES]
    assert first.exit_code == (0 if found["passes"] else 1)
    lines = (tmp_path / "a" / nests.FILE).read_text().splitlines(keepends=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / nests.FILE).write_text("".join(lines[:3]))
    assert invoke(*arguments, "--json", "--out", tmp_path / "b").stdout == first.stdout
    assert (tmp_path / "b" / nests.FILE).read_text().splitlines(keepends=True) == lines
    assert "own cycles" in invoke(*arguments, "--out", tmp_path / "a").stdout


def told(chosen, tuned):
    pins = {"chosen": {"band_rows": 4, "outer": "stream"}, "best": {"band_rows": 8, "outer": "stream"}}
    about = {"layer": "tiny", "architecture": "eta_small", "batch": 2, "phase": "ff", "nests": 4000, "tried": 30, "ruled_out": 2}
    return about | {"programs": 20, "own_cycles": 1500, "best_rank": 17, "chosen_percent": chosen, "tuned_percent": tuned, "pins": pins}


def test_figures_and_bars_by_hand():
    assert passes(nests.findings([told(1.5, 0.5), told(0, 0), told(0, 0)]))
    assert not passes(nests.findings([told(1.6, 0.5), *[told(0, 0)] * 9]))
    assert not passes(nests.findings([told(0.6, 0.5), told(0.6, 0.5)])), "the mean"
    assert not passes(nests.findings([told(0.5, 0.51)]))
    found = nests.findings([told(0.25, 0.0), told(1.75, 0.5)])
    assert nest_cells(found)[1] == ["tiny", "ff", "4,000", "30", "20", "1,500", "+0.25", "+0.00", "17"]
    assert worst_nests(found, 1.5) == [
        "+1.75 %: conv.ff of eta_small DIR/tiny.yaml --batch 2; the best has {'band_rows': 8, 'outer': 'stream'}",
        "  chosen was {'band_rows': 4}",
    ]


def test_a_layer_that_is_not_known_is_refused(tmp_path):
    result = invoke("selfcheck", "nests", "--layer", "vgg16_narow", "--out", tmp_path / "a")
    assert (result.exit_code, (tmp_path / "a").exists()) == (2, False)
    assert "--layer: unknown layer 'vgg16_narow'; " in result.stderr
    assert "did you mean 'vgg16_narrow'?" in result.stderr
