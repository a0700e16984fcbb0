"""Whole simulations of a small network: order, clocks, knobs, ideal parts, rows, timeline, deadlocks."""

import json
from collections import Counter

import numpy as np
import pytest
from hand_made import Script, feed, transfer
from small_networks import TINY, architecture, conv, layer, network, one_convolution

from etasim.core.channel import NEVER
from etasim.core.frame import call
from etasim.machine import engine, simulate
from etasim.machine.elaborate import elaborate
from etasim.machine.errors import DeadlockError
from etasim.machine.rows import retirement_cycles
from etasim.machine.simulation import run
from etasim.mapping import InfeasibleError, map_iteration
from etasim.pe.causes import STALL_CAUSES
from etasim.program.commands import FEED_STATIONARY, FEED_STREAM, LOAD_ACTIVATION, STORE
from etasim.program.events import is_full
from etasim.workload import load_network

STRIDED = one_convolution((4, 8, 8), conv("c", 8, kernel=3, stride=2, padding=1))
WIDE = one_convolution((16, 8, 8), conv("c", 16, kernel=3, padding=1))
NORMALISED = network(
    (4, 8, 8), conv("stem", 8), layer("n", "norm"), layer("r", "relu"), conv("c", 8), layer("m", "norm"), layer("q", "relu"), classes=3
)


def outcome(result):
    """Everything that a run counted, as text."""
    return json.dumps([result.total_cycles, result.layers, result.components], sort_keys=True)


@pytest.fixture(scope="module")
def reference():
    return simulate(architecture(), TINY, batch=1)


def total(name, result):
    """Sum of a column over the rows."""
    return sum(row[name] for row in result.layers)


# Order and determinism -------------------------------------------------------------------------------------------------


def orders():
    rotations = [np.roll(engine.ORDER, n) for n in range(1, len(engine.ORDER))]
    rng = np.random.default_rng(5)
    return [*rotations, engine.ORDER[::-1].copy(), *(rng.permutation(len(engine.ORDER)) for _ in range(6))]


@pytest.mark.parametrize("order", orders(), ids=lambda o: "".join(map(str, o)))
def test_the_order_of_the_parts_within_a_cycle_changes_nothing(reference, order):
    assert outcome(simulate(architecture(), TINY, batch=1, order=order)) == outcome(reference)


@pytest.mark.parametrize("clock", ["250 MHz", "190 MHz"])
def test_the_order_changes_nothing_when_clocks_do_not_divide(clock):
    chosen = architecture(core__clock=clock)
    results = {outcome(simulate(chosen, TINY, batch=1, order=order)) for order in (engine.ORDER, engine.ORDER[::-1].copy())}
    assert len(results) == 1


def step_all(steps, timers, _wake_at, _awake, time, log, order, until):
    """As `engine.run_cycles`, but nobody sleeps and no cycle is skipped while anything is to come."""
    now, is_stepped = int(time[0]), True
    while now < until and not is_full(log):
        is_stepped = any([call(steps, place, now) for place in order.tolist()])
        if is_stepped:
            time[1] = now
        elif all(call(timers, place, now) == NEVER for place in order.tolist()):
            time[0] = now
            return engine.FINISHED
        now += 1
    time[0] = now
    return engine.RUNNING


@pytest.mark.parametrize("changes", [{}, {"core__clock": "190 MHz"}, {"core__clock": "1200 MHz", "noc__ideal": True}], ids=str)
def test_who_sleeps_misses_nothing(changes, monkeypatch):
    chosen = architecture(**changes)
    asleep = outcome(simulate(chosen, TINY, batch=1))
    monkeypatch.setattr(engine, "run_cycles", step_all)
    assert outcome(simulate(chosen, TINY, batch=1)) == asleep


def test_most_steps_of_a_run_do_something(monkeypatch):
    """Who has acted is stepped once more, asked when it acts next, and left in peace until then."""
    calls = Counter()

    def counted(table, place, now):
        calls[id(table)] += 1
        return call(table, place, now)

    monkeypatch.setattr(engine, "call", counted)
    for name in ("run_cycles", "cycles_to"):
        monkeypatch.setattr(engine, name, getattr(getattr(engine, name), "py_func", getattr(engine, name)))
    simulate(architecture(), TINY, batch=1)
    n_in_vain, n_steps = sorted(calls.values())
    assert n_in_vain < n_steps / 2


# Rows ------------------------------------------------------------------------------------------------------------------


def test_rows_account_for_every_cycle(reference):
    """Rows share the total; the causes of all clusters fill clusters x total; components agree with the sums of the rows."""
    n_clusters = architecture().array.clusters
    assert total("cycles", reference) == reference.total_cycles
    causes = [f"{cause}_cycles" for cause in STALL_CAUSES]
    assert sum(total(cause, reference) for cause in (*causes, "cluster_busy_cycles")) == n_clusters * reference.total_cycles
    for cause in causes:
        assert total(cause, reference) == sum(instance[cause] for instance in reference.components["cluster"])
    assert total("unified_core_busy_cycles", reference) == reference.components["unified_core"][0]["busy_cycles"]
    for name in ("activation", "weight", "error"):
        buffer = reference.components[f"{name}_buffer"][0]
        assert total(f"{name}_buffer_reads", reference) == buffer["read_words"]
        assert total(f"{name}_buffer_writes", reference) == buffer["written_words"]
    assert all(row["span_cycles"] >= 1 for row in reference.layers)
    assert sum(row["macs"] for row in reference.layers) == TINY.useful_macs(1)


def test_work_is_booked_to_the_operation_that_does_it(reference):
    rows = {(row["layer"], row["phase"]): row for row in reference.layers}
    for (name, phase), row in rows.items():
        multiplies = name in ("conv1", "conv2", "projection", "fc") and phase in ("ff", "bp", "wg")
        assert (row["macs"] > 0) == multiplies
        assert (row["cluster_busy_cycles"] > 0) == multiplies
        assert (row["stream_flits"] > 0) == multiplies == (row["psum_flits"] > 0)
    assert rows["norm1", "ff"]["unified_core_busy_cycles"] > 0
    assert rows["conv2", "wu"]["dram_read_momentum_bytes"] > 0
    assert ("conv1", "bp") not in rows


def test_retirement_shares_out_the_total():
    assert retirement_cycles(np.array([9, 4, 29]), 40).tolist() == [10, 0, 30]


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_macs_and_updates_scale_with_the_batch(batch):
    result = simulate(architecture(), TINY, batch=batch)
    assert sum(row["macs"] for row in result.layers) == TINY.useful_macs(batch)
    update = {row["layer"]: row["dram_read_momentum_bytes"] for row in result.layers if row["phase"] == "wu"}
    assert update == {
        row["layer"]: row["dram_read_momentum_bytes"] for row in simulate(architecture(), TINY, batch=1, phases=("wu",)).layers
    }


@pytest.mark.parametrize(("padding", "stride"), [([0, 1], [1, 3]), ([1, 0], [3, 1]), ([1, 1], [3, 3])])
def test_a_layer_that_reads_nothing_but_padding_runs(padding, stride):
    """Every output pixel of the target lies outside its 2 x 2 input: nothing to fetch, results and errors are zero."""
    net = one_convolution((1, 2, 2), conv("target", 1, kernel=1, padding=padding, stride=stride))
    result = simulate(architecture(), net, batch=1)
    assert sum(row["macs"] for row in result.layers) == net.useful_macs(1)


@pytest.mark.parametrize("fidelity", ["cycle", "analytical"])
def test_phases_in_which_nothing_is_to_do_are_refused(fidelity):
    net = network((1, 1, 1), layer("pool", "maxpool", kernel=1))
    with pytest.raises(InfeasibleError, match="phases wu: no layer of small has anything to do in them"):
        simulate(architecture(), net, phases=("wu",), fidelity=fidelity)
    assert simulate(architecture(), net, phases=("ff", "wu"), fidelity=fidelity).total_cycles > 0


# Ideal parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", [TINY, WIDE, NORMALISED], ids=["tiny", "wide", "normalised"])
@pytest.mark.parametrize("part", ["dram", "noc", "buffers", "unified_core"])
def test_an_ideal_part_never_costs_time(net, part):
    """The same program: which the planner takes is another matter (tests/unit/test_deviations.py). What comes sooner from a DRAM that takes
    no time is in the way of the unified core at the ports of the error buffer: 10 cycles of 29,122."""
    mapping, in_the_way = map_iteration(architecture(), net, 1), 10 if part == "dram" and net is WIDE else 0
    assert run(elaborate(architecture(**{f"{part}__ideal": True}), mapping), mapping) <= cycles(net) + in_the_way


@pytest.mark.parametrize("fidelity", ["cycle", "analytical"])
def test_a_unified_core_without_time_still_does_its_work(fidelity):
    """With ideal buffers too its commands take no time at all; the vector groups are those of the program."""
    ideal = architecture(unified_core__ideal=True, buffers__ideal=True)
    groups = [row["unified_core_busy_cycles"] for row in simulate(ideal, TINY, batch=2, fidelity=fidelity).layers]
    program = map_iteration(ideal, TINY, 2).program
    assert groups == np.bincount(program.vectors["operation"], program.vectors["n_groups"], len(groups)).tolist()
    assert sum(groups) > 0


def test_each_ideal_part_helps_where_it_limits():
    assert cycles(TINY, dram__ideal=True) < cycles(TINY)
    assert cycles(WIDE, noc__ideal=True) < cycles(WIDE)
    assert cycles(NORMALISED, unified_core__ideal=True) < cycles(NORMALISED)
    assert cycles(NORMALISED, buffers__ideal=True) < cycles(NORMALISED)


def cycles(net, **overrides):
    return simulate(architecture(**overrides), net, batch=1).total_cycles


# Knobs: each changes what it says it does --------------------------------------------------------------------------------


FASTER = {
    "noc__link_width": ("32 bit", "128 bit", WIDE),
    "noc__buffer_depth": (2, 8, WIDE),
    "noc__link_latency": (4, 1, TINY),
    "noc__multicast": (False, True, WIDE),
    "dma__outstanding_bursts": (1, 16, WIDE),
    "controller__queue_depth": (1, 4, WIDE, {"dma__commands_in_flight": 8, "dma__outstanding_bursts": 64}),
    "unified_core__lanes": (1, 8, NORMALISED),
    "unified_core__pipeline_depth": (32, 2, NORMALISED),
    "array__pipeline__multiply": (20, 1, TINY),
    "buffers__error__read_latency": (9, 1, NORMALISED),
    "buffers__error__banks": (1, 8, NORMALISED),
    "dram__controller_latency": (200, 5, TINY),
    "dma__commands_in_flight": (1, 4, TINY),
}


@pytest.mark.parametrize("key", FASTER)
def test_a_better_value_takes_fewer_cycles(key):
    worse, better, net, *given = FASTER[key]
    better_cycles, worse_cycles = (cycles(net, **{key: value}, **dict(*given)) for value in (better, worse))
    assert better_cycles < worse_cycles


def test_ports_that_do_two_accesses_conflict_less():
    """Both kinds of two accesses a cycle conflict less than one; between them the order depends on when the requests come."""
    conflicts = [
        simulate(architecture(buffers__error__ports=ports, buffers__error__banks=1), NORMALISED, batch=1).components["error_buffer"][0]
        for ports in ("1RW", "1R1W", "2RW")
    ]
    counted = [c["bank_conflict_cycles"] for c in conflicts]
    assert counted[0] > max(counted[1:])
    assert len({c["read_words"] for c in conflicts}) == 1


def test_a_slower_core_sees_a_faster_memory():
    """At a quarter of the clock the same program waits for DRAM in fewer of its own cycles, but takes longer."""
    slow, fast = cycles(TINY, core__clock="50 MHz"), cycles(TINY, core__clock="200 MHz")
    assert slow < fast < 4 * slow


def test_another_dram_part_changes_the_time_and_not_the_bytes():
    results = [simulate(architecture(dram__part=part), TINY, batch=2) for part in ("ddr3_1600k_4gb_x8", "ddr3_1866m_4gb_x8")]
    assert results[0].total_cycles != results[1].total_cycles
    columns = [name for name in results[0].layers[0] if name.startswith("dram_")]
    assert [total(name, results[0]) for name in columns] == [total(name, results[1]) for name in columns]


def test_without_multicast_operands_are_sent_to_each_cluster():
    with_it, without = (simulate(architecture(noc__multicast=on), WIDE, batch=1) for on in (True, False))
    injected = [total("stream_flits", r) + total("stationary_flits", r) for r in (with_it, without)]
    assert injected[1] > injected[0]
    assert total("psum_flits", with_it) == total("psum_flits", without)


@pytest.mark.parametrize(("width", "flits"), [("32 bit", 4), ("64 bit", 2), ("128 bit", 1), ("256 bit", 1)])
def test_a_packet_has_as_many_flits_as_a_word_needs(width, flits):
    for row in simulate(architecture(noc__link_width=width), WIDE, batch=1).layers:
        assert row["stream_flits"] == flits * row["activation_buffer_reads"]
        assert row["stationary_flits"] == flits * row["weight_buffer_reads"]


def test_conflicts_appear_without_deinterleaving_and_are_not_busy():
    with_it, without = (simulate(architecture(array__deinterleave_stride=on), STRIDED, batch=1) for on in (True, False))
    assert total("gather_conflict_cycles", with_it) == 0
    assert total("gather_conflict_cycles", without) > 0


def test_refresh_costs_time_and_is_counted():
    """In WU, which waits for the DRAM; elsewhere the array can hide a refresh."""
    trained = load_network("resnet20_cifar")
    on, off = (simulate(architecture(dram__refresh=refresh), trained, batch=1, phases=("wu",)) for refresh in (True, False))
    assert off.components["dram"][0]["refreshes"] == 0 < on.components["dram"][0]["refreshes"]
    assert off.total_cycles < on.total_cycles


# Timeline --------------------------------------------------------------------------------------------------------------


# Standing still --------------------------------------------------------------------------------------------------------


def test_a_dependency_that_nobody_meets_is_a_deadlock_with_names():
    script = (
        Script(architecture()).add(LOAD_ACTIVATION, transfer(run_bytes=64)).add(STORE, transfer(run_bytes=64), after={LOAD_ACTIVATION: 2})
    )
    with pytest.raises(DeadlockError) as error:
        script.run()
    text = str(error.value)
    assert "1 of 2 commands are left" in text
    assert "store: 0 of 1 commands done" in text
    assert "waits for load.activation#2 (has done 1)" in text


def test_two_engines_that_wait_for_each_other_are_both_named():
    script = Script(architecture()).add(LOAD_ACTIVATION, transfer(run_bytes=64), after={STORE: 1})
    script.add(STORE, transfer(run_bytes=64), after={LOAD_ACTIVATION: 1})
    with pytest.raises(DeadlockError, match=r"(?s)load\.activation.*waits for store#1.*store.*waits for load\.activation#1"):
        script.run()


def test_words_that_never_come_are_a_deadlock_of_the_cluster():
    script = Script(architecture()).add(FEED_STREAM, feed(2)).compute(1, [1], stream_words=3)
    with pytest.raises(DeadlockError, match=r"cluster\.1: 0 of 1 commands done, 1 issued"):
        script.run()


def test_a_full_channel_is_named():
    script = Script(architecture())
    for _ in range(4):
        script.compute(0, [1], stationary_words=1)
    script.add(FEED_STATIONARY, feed(1), after={FEED_STREAM: 1})
    with pytest.raises(DeadlockError, match=r"channel commands\[7\]: full"):
        script.run()
