"""Searches find what there is to find: on a space small enough to enumerate, against its true front."""

import pytest

from etasim.explore.methods import CHUNK, METHODS, _shuffled, method
from etasim.explore.pareto import hypervolume
from etasim.explore.scores import Score, directions
from etasim.explore.space_reading import load_design_space

BUDGET, SEEDS, SHARE = 300, 10, 0.98


@pytest.fixture(scope="module")
def space():
    return load_design_space("pe_array_vc709")


@pytest.fixture(scope="module")
def truth(space):
    """Scores of all designs in closed form: time adds up over parts, DSP blocks and logic are limited, one size is no machine."""
    return [closed_form(space.design(number)) for number in range(space.size)]


def closed_form(design):
    clusters, pes, columns, lanes, depth, vector, link = design.settings.values()
    clusters, pes, columns, lanes, depth, vector = map(int, (clusters, pes, columns, lanes, depth, vector))
    link = int(link.split()[0])
    macs = clusters * pes * columns * lanes
    slowness = 1 / macs + 1 / (90 * vector) + 1 / (20 * link) + 2e-5 * (depth == 32) + 1e-4 * (columns == 16) + 3e-4 / design.batch
    dsp = macs / 2 + clusters * pes * columns
    violation = max(0, dsp / 3000 - 1) + max(0, (macs * 60 + link * 100 * clusters + vector * 1000) / 300_000 - 1)
    if clusters == 7:
        return Score(design.number, "infeasible", (None, None), 1000.0)
    return Score(design.number, "excluded" if violation else "ok", (1 / slowness, dsp), violation)


def search(name, space, truth, budget, seed):
    searching, found = method(name, space, budget, seed), []
    while numbers := searching.ask():
        searching.tell([truth[number] for number in numbers])
        found += numbers
    assert len(found) == len(set(found)) <= budget
    return found


def share(space, truth, numbers):
    """Hypervolume of the designs ``numbers`` over that of all."""
    better = directions(space.objectives)
    feasible = [score.known for score in truth if score.is_feasible]
    reference = (0, max(dsp for _, dsp in feasible))
    own = [truth[number].known for number in numbers if truth[number].is_feasible]
    return hypervolume(own, reference, better) / hypervolume(feasible, reference, better)


def test_nsga2_finds_the_front_that_random_search_does_not(space, truth):
    pytest.importorskip("optuna")
    assert space.size > 2000
    shares = {
        name: [share(space, truth, search(name, space, truth, BUDGET, seed)) for seed in range(SEEDS)] for name in ("nsga2", "random")
    }
    assert sum(found >= SHARE for found in shares["nsga2"]) >= SEEDS - 1, shares
    assert sum(found >= SHARE for found in shares["random"]) <= 1, shares


@pytest.mark.parametrize("name", METHODS)
def test_a_search_repeats_itself_and_spends_its_budget(space, truth, name):
    if name in ("nsga2", "tpe"):
        pytest.importorskip("optuna")
    first = search(name, space, truth, 60, 1)
    assert first == search(name, space, truth, 60, 1)
    assert len(first) == 60
    assert (first == search(name, space, truth, 60, 2)) == (name == "grid")


@pytest.mark.parametrize("name", ["nsga2", "random", "grid"])
def test_a_budget_beyond_the_space_covers_it(truth, tmp_path, name):
    if name == "nsga2":
        pytest.importorskip("optuna")
    path = tmp_path / "small.yaml"
    path.write_text("architecture: eta_vc709\nnetworks: [digits_cnn]\naxes:\n- {key: array.clusters, range: {from: 1, to: 9}}\n"
                    "- {key: noc.routing, categories: [xy, yx, shortest]}\n")  # fmt: skip
    small = load_design_space(path)
    assert sorted(search(name, small, [truth[i]._replace(number=i) for i in range(27)], 1000, 0)) == list(range(27))


@pytest.mark.parametrize("name", ["grid", "random"])
@pytest.mark.parametrize("budget", [CHUNK, CHUNK + 1, 2 * CHUNK + 3, 10**6])
def test_no_design_is_lost_between_two_askings(space, truth, name, budget):
    """One of each 513 was: it was taken to see that there were enough."""
    found = search(name, space, truth, budget, 3)
    assert len(found) == min(budget, space.size)
    assert name == "random" or found == list(range(len(found)))


def test_a_search_goes_on_beyond_the_trials_of_one_sampler(space, truth, monkeypatch):
    pytest.importorskip("optuna")
    monkeypatch.setattr("etasim.explore.methods.EPOCH", 60)
    assert share(space, truth, search("nsga2", space, truth, 400, 0)) > 0.98


def test_a_shuffle_is_a_permutation():
    import random

    for size in (0, 1, 2, 50):
        assert sorted(_shuffled(size, random.Random(size))) == list(range(size))
    firsts = [next(_shuffled(10, random.Random(seed))) for seed in range(2000)]
    assert all(150 < firsts.count(number) < 250 for number in range(10))
