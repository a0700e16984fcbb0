"""A machine that forwards results on chip: exact values, bytes that DRAM does not move, time, laws, and its estimate."""

from dataclasses import replace

import numpy as np
import pytest
from small_networks import DEEP, JOINED, SHORTCUT, TINY, architecture, conv, finished, layer, network

from etasim import simulate
from etasim.config import load_architecture
from etasim.machine import conservation, rows
from etasim.machine.errors import ConservationError
from etasim.program.commands import FORWARD_MOVERS
from etasim.report.metrics import layer_rows, summary
from etasim.workload import load_network

BATCH = 3
WIDE = network((3, 11, 13), conv("a", 9, kernel=3, padding=1), layer("n", "norm"), conv("b", 5, kernel=2, stride=2), classes=3)
"""Planes of no whole words."""
TIGHT = {"buffers__activation__size": "512 B", "buffers__weight__size": "1 KiB"}
ALL_IDEAL = {f"{part}__ideal": True for part in ("dram", "noc", "buffers", "unified_core")}
NETWORKS = {"tiny": TINY, "deep": DEEP, "joined": JOINED, "shortcut": SHORTCUT, "wide": WIDE}


def machine(forwarding=True, **keys):
    return architecture(mapping__forwarding=forwarding, **keys)


def dram_bytes(run):
    return sum(summary(run)[f"dram_{access}_bytes"] for access in ("read", "write"))


MACHINES = {
    "roomy": {}, "tight": TIGHT, "running scale": {"numerics__normalization": "running"},
    "updated at once": {"training__weight_update": "after_layer"}, "two cores": {"unified_core__count": 2},
    "no multicast": {"noc__multicast": False}, "ideal on chip": {"buffers__ideal": True, "noc__ideal": True}, "all ideal": ALL_IDEAL,
}  # fmt: skip
PAIRS = [(name, of) for name in NETWORKS for of in MACHINES if (name, of) != ("shortcut", "running scale")]
"""Every network on every machine, but for a running scale without filters right before it."""


@pytest.mark.parametrize(("name", "of"), PAIRS)
@pytest.mark.parametrize("phases", [("ff", "bp", "wg", "wu"), ("ff",)], ids=["training", "inference"])
def test_values_are_exact_and_dram_moves_less(name, of, phases):
    keys = MACHINES[of]
    run = simulate(machine(**keys), NETWORKS[name], batch=BATCH, phases=phases, functional=True)
    without = simulate(machine(False, **keys), NETWORKS[name], batch=BATCH, phases=phases)
    assert run.values.mismatch is None
    assert dram_bytes(run) <= dram_bytes(without)
    assert run.total_cycles <= 1.01 * without.total_cycles


def test_inference_moves_input_weights_and_the_last_output():
    """Where all maps fit, nothing in between passes DRAM."""
    run = simulate(machine(), DEEP, batch=BATCH, phases=("ff",))
    columns = {name: value for name, value in summary(run).items() if name in ("dram_read_bytes", "dram_write_bytes")}
    found = sum(row["dram_read_weight_bytes"] + row["dram_read_master_weight_bytes"] for row in layer_rows(run))
    first, last = layer_rows(run)[0], layer_rows(run)[-1]
    assert columns["dram_read_bytes"] == found + first["dram_read_activation_bytes"]
    assert columns["dram_write_bytes"] == last["dram_write_activation_bytes"] > 0


def test_what_is_read_on_chip_is_counted():
    run, without = simulate(machine(), DEEP, batch=BATCH), simulate(machine(False), DEEP, batch=BATCH)
    table, movers = layer_rows(run), run.components["mover"]
    saved = summary(without)["dram_read_bytes"] - summary(run)["dram_read_bytes"]
    forwarded = sum(row["forwarded_bytes"] for row in table)
    assert len(movers) == len(FORWARD_MOVERS)
    assert 0 < forwarded <= saved <= forwarded + 64 * len(table) * BATCH
    assert "forwarded_bytes" not in layer_rows(without)[0]


def test_a_law_says_so_if_an_operand_comes_from_nowhere():
    chosen = machine()
    mapping, ran, total = finished(chosen, DEEP, BATCH)
    table = rows.rows(ran, mapping, total)
    conservation.check(ran, mapping, total, table)
    with pytest.raises(ConservationError, match="compulsory"):
        conservation.check(ran, replace(mapping, forwarded_bytes={}), total, table)
    fewer = mapping.residences._replace(held=dict([*mapping.residences.held.items()][1:]))
    with pytest.raises(ConservationError, match="bytes copied to where tensors live"):
        conservation.check(ran, replace(mapping, residences=fewer), total, table)


@pytest.mark.parametrize("batch", [1, 4])
def test_the_estimate_moves_the_same_bytes_and_takes_about_as_long(batch):
    """It is as far from the cycle model as without forwarding, and 2 % more."""
    off = {}
    for forwarding in (False, True):
        chosen = load_architecture("eta_vc709", [f"mapping.forwarding={str(forwarding).lower()}"])
        run, guess = (simulate(chosen, load_network("resnet20_cifar"), batch=batch, fidelity=kind) for kind in ("cycle", "analytical"))
        off[forwarding] = abs(guess.total_cycles / run.total_cycles - 1)
        for name in ("dram_read_bytes", "dram_write_bytes"):
            assert summary(guess)[name] == summary(run)[name]
        if forwarding:
            counted = [[row["forwarded_bytes"] for row in layer_rows(each)] for each in (run, guess)]
            assert counted[0] == counted[1]
            words = [np.array([[row[f"{b}_buffer_writes"] for b in ("activation", "weight", "error")] for row in layer_rows(each)]).sum(0)
                     for each in (run, guess)]  # fmt: skip
            assert np.abs(words[1] / words[0] - 1).max() < 0.01
    assert off[True] < off[False] + 0.02


@pytest.mark.parametrize(("batch", "share"), [(1, 0.76), (8, 0.52)])
def test_resnet20_moves_half_of_its_bytes(batch, share):
    """Sums before normalization, gradients and weights still pass DRAM."""
    moved, cycles = {}, {}
    for forwarding in (False, True):
        chosen = load_architecture("eta_vc709", [f"mapping.forwarding={str(forwarding).lower()}"])
        run = simulate(chosen, load_network("resnet20_cifar"), batch=batch)
        moved[forwarding], cycles[forwarding] = dram_bytes(run), run.total_cycles
    assert moved[True] < share * moved[False]
    assert cycles[True] < cycles[False]
