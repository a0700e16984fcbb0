"""An outline is the same whatever machines were estimated before in the process."""

import json

import pytest
from small_networks import conv, network

import etasim
from etasim.config import load_architecture
from etasim.core.errors import InfeasibleError
from etasim.estimate import shared
from etasim.estimate.array_work import gradient_work, result_work
from etasim.explore.selfcheck.machines import Workload, random_trials
from etasim.mapping.mapper import walk_dry, walk_iteration
from etasim.schedule.plan import best_plans
from etasim.workload import load_network
from etasim.workload.lowering import PHASES

SHARING = {
    "clusters": {"array.clusters": 8, "noc.columns": "auto", "noc.rows": "auto", "noc.placement": "auto"},
    "PEs": {"array.pes_per_cluster": 16}, "columns": {"array.columns": 16}, "psums": {"array.psum_depth": 8},
    "stream scratchpad": {"array.stream_scratchpad": "1 KiB"}, "stationary scratchpad": {"array.stationary_scratchpad": "1 KiB"},
    "pipeline": {"array.pipeline": {"multiply": 5}}, "activation": {"buffers.activation.size": "8 KiB"},
    "weight": {"buffers.weight.size": "16 KiB"}, "noc": {"noc.link_width": "64 bit", "noc.multicast": False},
}  # fmt: skip
"""Machines that share works with the machine as it is, by what differs."""

OTHER = {
    "lanes": {"array.lanes": 4}, "error buffer": {"buffers.error.size": "96 KiB"}, "core": {"unified_core.lanes": 8},
    "clock": {"core.clock": "150 MHz"}, "numerics": {"numerics.normalization": "running"}, "dram": {"dram.channels": 1},
    "training": {"training.weight_update": "after_layer"},
}  # fmt: skip
"""Machines that do not."""


def forget():
    shared._walked.clear()
    shared._surroundings.clear()


@pytest.fixture(autouse=True)
def forgotten():
    forget()
    yield
    forget()


def result(machine, network, batch):
    """All of an estimate as text."""
    try:
        found = etasim.simulate(machine, network, batch=batch, fidelity="analytical")
    except InfeasibleError as error:
        return str(error)
    return json.dumps([found.total_cycles, [dict(row) for row in found.layers], found.components], default=str)


@pytest.mark.parametrize("what", [*SHARING, *OTHER])
def test_a_machine_after_another_is_as_if_alone(what):
    network = etasim.load_network("resnet20_cifar")
    machine, other = load_architecture("eta_vc709"), load_architecture("eta_vc709", (SHARING | OTHER)[what])
    alone = result(other, network, 2)
    forget()
    assert result(machine, network, 2) != alone
    assert result(other, network, 2) == alone
    assert len(shared._walked) == (1 if what in SHARING else 2)


@pytest.mark.parametrize("what", ["lanes of the core", "error buffer"])
def test_gradients_are_outlined_once_for_machines_that_they_do_not_tell_apart(what):
    network = etasim.load_network("digits_cnn")
    other = {"lanes of the core": {"unified_core.lanes": 16}, "error buffer": {"buffers.error.size": "768 KiB"}}[what]
    first = etasim.simulate(load_architecture("eta_vc709"), network, batch=2, fidelity="analytical")
    n_outlined, n_of_wg = len(shared._surroundings), sum(row["phase"] == "wg" and row["macs"] > 0 for row in first.layers)
    assert 0 < n_of_wg < n_outlined
    etasim.simulate(load_architecture("eta_vc709", other), network, batch=2, fidelity="analytical")
    assert len(shared._surroundings) == 2 * n_outlined - n_of_wg


def test_random_machines_after_each_other():
    works = [Workload("eta_small", "digits_cnn", (1, 3)), Workload("eta_vc709", "resnet20_cifar", (2,))]
    trials = [
        (load_architecture(trial.architecture, trial.overrides), etasim.load_network(trial.network), trial.batch)
        for trial in random_trials(24, 11, works)
    ]
    alone = []
    for trial in trials:
        forget()
        alone.append(result(*trial))
    forget()
    assert [result(*trial) for trial in trials] == alone
    assert [result(*trial) for trial in reversed(trials)] == alone[::-1]


def test_nothing_is_kept_of_what_did_not_fit(monkeypatch):
    monkeypatch.setattr(shared, "MOST_ITERATIONS", 1)
    network = etasim.load_network("digits_cnn")
    found = [result(load_architecture("eta_small", {"buffers.error.size": size}), network, 2) for size in ("128 B", "32 KiB", "64 KiB")]
    assert "fits no tiling" in found[0]
    assert [len(kept) for kept in shared._walked.values()] == [1]


@pytest.mark.parametrize("phases", [("ff", "bp"), ("wg",)])
def test_work_of_the_clusters_is_that_of_machines_with_other_buffers_and_cores(phases):
    architecture, network = load_architecture("eta_vc709"), load_network("digits_cnn")
    iteration, _ = walk_iteration(architecture, network, 2, PHASES, walk_dry)
    array, n_compared = iteration.array, 0
    for _, problem, pins in iteration.asked:
        plan = best_plans(array, problem, 1, pins)[0]
        if problem.phase not in phases:
            continue
        of_results = 3, problem.result_blocks, plan.bands[0]
        sizes = (problem.result_blocks, problem.stream_blocks, plan.taps) if problem.phase == "wg" else of_results
        work = gradient_work if problem.phase == "wg" else result_work
        assert work(array, problem, plan, *sizes) == work(array.of_clusters, problem, plan, *sizes)
        n_compared += 1
    assert n_compared


def test_what_surrounds_a_convolution_is_let_go_by_age(monkeypatch):
    monkeypatch.setattr(shared, "MOST_CONVOLUTIONS", 3)
    network, machines = load_network("digits_cnn"), [load_architecture("eta_vc709", {"array.psum_depth": n}) for n in (8, 64, 8)]
    found = [result(machine, network, 2) for machine in machines]
    assert len(shared._surroundings) == 3
    assert found[0] == found[2] != found[1]


def test_groups_that_are_planned_as_one_bring_their_biases_once():
    grouped = network((4, 7, 7), conv("conv", 4, groups=4, bias=True), classes=12)
    machine = load_architecture("eta_small")
    rows = [etasim.simulate(machine, grouped, batch=3, fidelity=fidelity).layers for fidelity in ("cycle", "analytical")]
    for name in ("unified_core_busy_cycles", "dram_read_master_weight_bytes"):
        simulated, estimated = ([row.count(name) for row in each] for each in rows)
        assert estimated == simulated, name
    assert max(row.count("dram_read_master_weight_bytes") for row in rows[0] if row.phase == "ff") == 2 * 64, "a burst a block"
