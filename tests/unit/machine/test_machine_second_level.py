"""A second level between DRAM and the buffers: exact values, what it saves, why it sometimes does not help, and its laws."""

import copy

import numpy as np
import pytest
from small_networks import DEEP, JOINED, SHORTCUT, TINY, architecture, finished

from etasim import simulate
from etasim.config import InputError, load_architecture
from etasim.machine import conservation, rows
from etasim.machine.errors import ConservationError
from etasim.machine.parts import writers_and_readers
from etasim.mapping import map_iteration
from etasim.mapping.listing import lines
from etasim.program.commands import FILL, SECOND_MOVERS, engine_names, engines_of
from etasim.report.metrics import layer_rows, summary

BATCH = 3
SLOW_DRAM = {"dram__clock": "25 MHz"}
TIGHT = {"buffers__activation__size": "512 B", "buffers__weight__size": "1 KiB"}


def machine(size="64 KiB", **keys):
    """A machine with a second level of ``size``; None: without."""
    second = {} if size is None else {
        "buffers__second__size": size, "buffers__second__banks": 4, "buffers__second__ports": "1R1W", "buffers__second__read_latency": 3,
    }  # fmt: skip
    return architecture(**(second | keys))


def dram_bytes(run, access="read"):
    return summary(run)[f"dram_{access}_bytes"]


@pytest.mark.parametrize("net", [TINY, DEEP, JOINED, SHORTCUT], ids=["tiny", "deep", "joined", "shortcut"])
@pytest.mark.parametrize("size", ["64 KiB", "2 KiB", "320 B", "64 B"])
@pytest.mark.parametrize("keys", [{}, TIGHT], ids=["roomy", "tight"])
def test_values_are_exact_and_dram_reads_no_more(net, size, keys):
    """In whatever part of the tensors there is room for."""
    run = simulate(machine(size, **keys), net, batch=BATCH, functional=True)
    without = simulate(machine(None, **keys), net, batch=BATCH)
    assert run.values.mismatch is None
    assert dram_bytes(run) <= dram_bytes(without) + _bursts_of_parts(run)
    assert dram_bytes(run, "write") == dram_bytes(without, "write")


def _bursts_of_parts(run):
    """What whole bursts add where a tensor is brought in parts: a burst for each part that DRAM brings."""
    fill = list(run.components["dma"])[-1]
    return 64 * fill["commands"]


def test_a_large_one_reads_each_tensor_that_nothing_wrote_once():
    """With room for all, DRAM is read for what the iteration finds there: input, labels, weights and their like."""
    run = simulate(machine("1 MiB", **TIGHT), DEEP, batch=BATCH)
    mapping = map_iteration(machine("1 MiB", **TIGHT), DEEP, BATCH)
    found = [t for t in mapping.tensors if t.from_host or t.tensor_class in ("weight", "master_weight", "momentum")]
    without = simulate(machine(None, **TIGHT), DEEP, batch=BATCH)
    assert dram_bytes(run) <= sum(t.n_blocks * t.pitch_bytes for t in found) < dram_bytes(without)


def test_more_room_saves_more():
    reads = [dram_bytes(simulate(machine(size, **TIGHT), DEEP, batch=BATCH)) for size in (None, "1 KiB", "4 KiB", "64 KiB")]
    assert reads == sorted(reads, reverse=True)
    assert reads[-1] < reads[0] / 2


def test_where_dram_is_slow_it_saves_time():
    """The machine waits for DRAM, and what is not read there is not waited for: no more time is saved than bytes, and most of that."""
    with_it, without = (simulate(machine(size, **SLOW_DRAM, **TIGHT), DEEP, batch=BATCH) for size in ("64 KiB", None))
    moved = [dram_bytes(run) + dram_bytes(run, "write") for run in (with_it, without)]
    assert moved[0] / moved[1] < with_it.total_cycles / without.total_cycles < 0.7


def test_where_dram_is_fast_enough_it_saves_bytes_and_little_time():
    """Loads run ahead of the array: what they wait for is hidden, whether it comes from DRAM or not."""
    with_it, without = (simulate(machine(size, **TIGHT), DEEP, batch=BATCH) for size in ("64 KiB", None))
    assert dram_bytes(with_it) < dram_bytes(without) / 4
    assert 0.95 < with_it.total_cycles / without.total_cycles < 1


def test_where_dram_is_ideal_there_is_nothing_to_gain():
    """DRAM answers at once: the way through the second level is only longer."""
    ideal = {"dram__ideal": True}
    with_it, without = (simulate(machine(size, **ideal), DEEP, batch=BATCH) for size in ("64 KiB", None))
    assert dram_bytes(with_it) < dram_bytes(without)
    assert with_it.total_cycles > 0.95 * without.total_cycles


def test_what_came_out_of_it_is_counted():
    run = simulate(machine(), DEEP, batch=BATCH)
    table, (buffer,), movers = layer_rows(run), run.components["second_buffer"], run.components["mover"]
    assert len(movers) == len(SECOND_MOVERS)
    assert sum(row["second_buffer_reads"] for row in table) == buffer["read_words"] == sum(mover["words"] for mover in movers[:-1])
    assert sum(row["second_buffer_writes"] for row in table) == buffer["written_words"]
    without, served = simulate(machine(None), DEEP, batch=BATCH), sum(row["second_served_bytes"] for row in table)
    assert 0 < dram_bytes(without) - dram_bytes(run) <= served + 64 * sum(mover["commands"] for mover in movers)
    assert not [name for name in layer_rows(without)[0] if name.startswith("second_")]


def test_an_estimate_knows_it():
    """The bytes of the simulation where whole tensors fit, fewer where a part does; and less time where DRAM is slow."""
    for size, tolerance in (("64 KiB", 0), ("2 KiB", 0.15)):
        cycle, quick = (simulate(machine(size), DEEP, batch=BATCH, fidelity=fidelity) for fidelity in ("cycle", "analytical"))
        assert abs(dram_bytes(quick) / dram_bytes(cycle) - 1) <= tolerance
        assert abs(quick.total_cycles / cycle.total_cycles - 1) < 0.15
    chosen = [machine(size, **SLOW_DRAM, **TIGHT) for size in (None, "64 KiB")]
    cycles = [simulate(each, DEEP, batch=BATCH, fidelity="analytical").total_cycles for each in chosen]
    assert cycles[1] < 0.9 * cycles[0]


def test_ideal_buffers_copy_at_once():
    ideal = {"buffers__ideal": True, "noc__ideal": True, "unified_core__ideal": True}
    for keys in (ideal, ideal | {"dram__ideal": True}):
        run = simulate(machine(**keys), DEEP, batch=BATCH, functional=True)
        assert run.values.mismatch is None
        assert sum(row["second_served_bytes"] for row in run.layers) > 0


def test_engines_and_ports_have_names():
    program = map_iteration(machine(), TINY, BATCH).program
    names, engines = engine_names(engines_of(program)), engines_of(program)
    assert [names[e] for e in (*engines.fills, *engines.moves)] == [FILL, *(mover.name for mover in SECOND_MOVERS)]
    assert writers_and_readers(machine(), "second") == (2, 3)
    assert [now - before for now, before in zip(writers_and_readers(machine(), "error"), writers_and_readers(machine(None), "error"),
                                                strict=True)] == [1, 1]  # fmt: skip
    assert any("copy.weight#1: weight source 0x" in line for line in lines(map_iteration(machine(), TINY, BATCH)))


DESCRIBED = """
extends: eta_small
name: longer_path
buffers:
  second: {size: 16 KiB, banks: 4, ports: 1R1W, read_latency: 3}
host:
  link_rate: 500 MB/s
  latency: 1 us
  commands_in_flight: 2
unified_core:
  count: 2
  lanes: 1
dram:
  clock: 100 MHz
"""


def test_a_file_describes_a_host_a_third_level_and_a_second_core(tmp_path):
    """All laws on, values exact over two iterations; each of them is worth what its absence costs."""
    path = tmp_path / "longer_path.yaml"
    path.write_text(DESCRIBED)
    chosen = load_architecture(path)
    run = simulate(chosen, DEEP, batch=BATCH, functional=True, iterations=2)
    assert run.values.mismatch is None
    without_second, one_core = load_architecture(path, {"buffers.second": None}), load_architecture(path, {"unified_core.count": 1})
    inputs_there = load_architecture(path, {"host": None})
    longer = [simulate(other, DEEP, batch=BATCH).total_cycles for other in (without_second, one_core)]
    assert run.total_cycles < min(longer)
    assert simulate(inputs_there, DEEP, batch=BATCH).total_cycles < run.total_cycles


def test_weights_that_change_before_they_are_read_again():
    run = simulate(machine("4 KiB", training__weight_update="after_layer"), TINY, batch=BATCH, functional=True, iterations=2)
    assert run.values.mismatch is None


@pytest.mark.parametrize("keys", [{"numerics__normalization": "batch"}, {"array__zero_insertion": True}])
@pytest.mark.parametrize("size", ["64 KiB", "4 KiB", "320 B"])
def test_machines_without_values_keep_all_laws(size, keys):
    assert dram_bytes(simulate(machine(size, **keys), TINY, batch=BATCH)) < dram_bytes(simulate(machine(None, **keys), TINY, batch=BATCH))


def test_a_size_that_fills_no_row_of_banks_is_refused():
    with pytest.raises(InputError, match=r"buffers\.second\.size: must be a multiple of banks \* word_size = 64 B"):
        machine("100 B")


@pytest.fixture(scope="module")
def books():
    mapping, done, total_cycles = finished(machine(), TINY, BATCH)
    return done, mapping, total_cycles, rows.rows(done, mapping, total_cycles)


def test_laws_hold(books):
    conservation.check(*books)


def test_operands_come_from_dram_or_from_the_second_level(books):
    """An operand that DRAM does not send is one that the second level has sent."""
    _, mapping, _, table = books
    assert any(row["dram_read_weight_bytes"] == 0 for row in table if row["phase"] == "bp" and row["macs"])
    less = copy.deepcopy(mapping)
    less.program.moves["run_bytes"] //= 8
    assert list(conservation._traffic(mapping, table)) == []
    assert any("dram_read_weight_bytes" in line for line in conservation._traffic(less, table))


def hurry(m, engine):
    first, stop = m.program.engine_start[engine : engine + 2]
    m.states.controller.times[first:stop, 1] = m.states.controller.times[first:stop, 0] + 1


BREAKS = {
    "movers: words, of the program": lambda m, table: np.add.at(m.states.movers.moved, (0, 1), 1),
    "movers: words, of all operations": lambda m, table: np.add.at(m.states.movers.counters["words"], 2, 1),
    "movers: commands, of the program": lambda m, table: np.add.at(m.states.movers.counters["commands"], 3, 1),
    "DMA engine 4: words, of the program": lambda m, table: np.add.at(m.states.dma.buffer_words, (0, 4), 1),
    "second buffer: words written, of load.second + store.second": lambda m, table: np.add.at(m.states.movers.moved, (0, 3), 1),
    "second buffer: words read, of copy.activation + copy.weight": lambda m, table: np.add.at(m.states.movers.moved, (0, 0), 1),
    "second buffer: words of a bank, of the program": lambda m, table: np.add.at(m.states.buffers.words, (3, 0, 0), 1),
    "second buffer: ports, words of a bank in a cycle": lambda m, table: np.add.at(m.states.buffers.most, (3, 0, 2), 2),
    "sum of the rows' second_buffer_reads": lambda m, table: table[0].update(second_buffer_reads=0),
    "cycles of a command, on an idle machine": lambda m, table: hurry(m, engines_of(m.program).moves[0]),
}


@pytest.mark.parametrize("law", BREAKS)
def test_each_law_is_broken_by_what_it_is_about(books, law):
    done, mapping, total_cycles, table = copy.deepcopy(books[0]), *books[1:3], copy.deepcopy(books[3])
    BREAKS[law](done, table)
    with pytest.raises(ConservationError) as caught:
        conservation.check(done, mapping, total_cycles, table)
    assert law in str(caught.value)
