"""Which results live on chip: rooms that do not meet, what is left for the rings, commands that leave DRAM alone, and the table."""

from itertools import pairwise

import numpy as np
import pytest
from small_networks import JOINED, TINY, architecture, conv, layer, network

from etasim.config import InputError, load_architecture
from etasim.mapping import map_iteration
from etasim.mapping.forwarding import RoomWalk, residences_of
from etasim.mapping.iteration import Iteration
from etasim.mapping.listing import homes, lines
from etasim.mapping.mapper import emit, limits_of
from etasim.program import validate
from etasim.program.commands import BUFFERS, FORWARD, HOLD, MOVERS, engines_of
from etasim.workload.lowering import PHASES

BATCH = 3
CHAIN = network(
    (8, 6, 6),
    *(each for i in range(3) for each in (conv(f"conv{i}", 8, kernel=3, padding=1), layer(f"norm{i}", "norm"), layer(f"relu{i}", "relu"))),
    classes=4,
)  # fmt: skip
TIGHT = {"buffers__activation__size": "512 B", "buffers__weight__size": "1 KiB", "buffers__error__size": "4 KiB"}
MAP_BYTES = 6 * 6 * 8


def machine(**keys):
    return architecture(mapping__forwarding=True, **keys)


def mapped(net, batch=BATCH, phases=PHASES, **keys):
    return map_iteration(machine(**keys), net, batch, phases)


def named(mapping, name):
    return next(tensor for tensor in mapping.tensors if tensor.name == name)


def touching(mapping, tensor):
    """Transfers of a tensor."""
    at = mapping.program.transfers["dram_address"]
    return mapping.program.transfers[(at >= tensor.address) & (at < tensor.address + tensor.n_blocks * tensor.pitch_bytes)]


@pytest.mark.parametrize("net", [TINY, CHAIN, JOINED], ids=["tiny", "chain", "joined"])
@pytest.mark.parametrize("keys", [{}, TIGHT], ids=["roomy", "tight"])
@pytest.mark.parametrize("batch", [1, 3])
def test_what_lives_at_a_time_lies_apart_and_leaves_room(net, keys, batch):
    """No two residences of a buffer meet in a work; the ring is beside all of them, half of the buffer and twice what the work needs."""
    iteration = Iteration(machine(**keys), net, batch, PHASES)
    found, walk = residences_of(iteration), RoomWalk(Iteration(machine(**keys), net, batch, PHASES))
    walk.walk()
    capacity = iteration.array.buffer_bytes
    assert found.held
    assert len(found.rings) == len(walk.rooms)
    for work, (room, rings) in enumerate(zip(walk.rooms, found.rings, strict=True)):
        for buffer in range(len(BUFFERS)):
            there = sorted(each.span for each in found.held.values() if each.buffer == buffer and each.lives_in(work))
            assert all(one.end <= other.first for one, other in pairwise(there))
            ring = rings[buffer]
            assert 0 <= ring.first < ring.end <= capacity[buffer]
            assert all(span.end <= ring.first or ring.end <= span.first for span in there)
            loaded = sum(n for b, name, n in room.operands if b == buffer and found.of(work, name, buffer) is None)
            if there:
                assert ring.size >= max(2 * (room.needed[buffer] + loaded), capacity[buffer] // 2)


def test_nothing_is_held_unless_it_is_asked_for():
    assert residences_of(Iteration(architecture(), CHAIN, BATCH, PHASES)).held == {}
    mapping = map_iteration(architecture(), CHAIN, BATCH)
    assert not mapping.lives
    assert not engines_of(mapping.program).moves
    assert [*homes(mapping)] == []


def test_plans_are_those_of_a_machine_that_forwards_nothing():
    with_it, without = mapped(CHAIN), map_iteration(architecture(), CHAIN, BATCH)
    assert [operation.pins for operation in with_it.operations] == [operation.pins for operation in without.operations]


def test_the_next_convolution_reads_a_map_where_it_was_left():
    mapping = mapped(CHAIN)
    output, engines, program = named(mapping, "conv0.output"), engines_of(mapping.program), mapping.program
    assert len(touching(mapping, output)) == 0
    (held,) = [each for each in mapping.lives if each.name == output.name]
    ff = next(i for i, each in enumerate(mapping.operations) if (each.layer, each.phase) == ("conv1", "ff"))
    feeds = program.feeds[(program.feeds["operation"] == ff) & (program.feeds["stream"] == 0)]
    assert BUFFERS[held.buffer] == "activation"
    assert ((feeds["buffer_address"] >= held.span.first) & (feeds["buffer_address"] < held.span.end)).all()
    moves = program.moves[program.commands["row"][slice(*program.engine_start[engines.mover(HOLD[held.buffer]) :][:2])]]
    own = moves[(moves["target_address"] >= held.span.first) & (moves["target_address"] < held.span.end)]
    assert (own["run_bytes"] * own["counts"].prod(axis=1)).sum() >= output.n_bytes


def test_errors_go_on_chip_to_bp_and_to_wg():
    mapping = mapped(CHAIN)
    places = {each.buffer for each in mapping.lives if each.name == "conv1.error"}
    assert {BUFFERS[buffer] for buffer in places} == {"activation", "weight"}
    assert len(touching(mapping, named(mapping, "conv1.error"))) == 0


def test_the_unified_core_finds_its_operands_in_its_buffer():
    """The map that a pooling layer reads."""
    mapping = mapped(JOINED, phases=("ff",))
    engines, program = engines_of(mapping.program), mapping.program
    assert any(BUFFERS[each.buffer] == "error" and each.name == "both.output" for each in mapping.lives)
    brought = program.commands[slice(*program.engine_start[engines.mover(FORWARD) :][:2])]
    pool = next(i for i, each in enumerate(mapping.operations) if each.layer == "pool")
    assert (brought["operation"] == pool).any()


def test_a_map_that_is_read_later_from_dram_is_stored_too():
    """The activation buffer holds the map for the next convolution, but not until WG comes."""
    mapping = mapped(CHAIN, batch=1, buffers__activation__size="704 B")
    output = named(mapping, "conv0.output")
    lives = [each for each in mapping.lives if each.name == output.name]
    names = [f"{operation.layer}.{operation.phase}" for operation in mapping.operations]
    assert [names[last] for _, last in (mapping.lives[each] for each in lives)] == ["conv1.ff"]
    assert len(touching(mapping, output)) > 0
    assert output.name not in mapping.residences.never_stored


def test_what_fits_in_part_is_not_held():
    """Half of a buffer is for what comes from DRAM; a map that takes more than the other half lives in DRAM."""
    fits = mapped(CHAIN, batch=1, phases=("ff",), buffers__activation__size=f"{2 * MAP_BYTES} B")
    almost = mapped(CHAIN, batch=1, phases=("ff",), buffers__activation__size=f"{MAP_BYTES - 32} B")
    assert "conv0.output" in {each.name for each in fits.lives}
    assert "conv0.output" not in {each.name for each in almost.lives}


def test_the_logits_are_stored():
    """The host reads them."""
    mapping = mapped(TINY)
    assert "fc.output" in {each.name for each in mapping.lives}
    assert len(touching(mapping, named(mapping, "fc.output"))) > 0


def test_a_table_says_where_each_tensor_lives():
    mapping = mapped(CHAIN)
    table = [*homes(mapping)]
    assert len(table) == 1 + len(mapping.tensors)
    assert f"#   conv0.output (activation, {BATCH * MAP_BYTES} B): never stored; activation buffer 0x" in "\n".join(table)
    assert any(line.endswith("): DRAM") for line in table)
    assert any("norm1.bp to conv1.wg" in line for line in table)
    text = "\n".join(lines(mapping))
    assert all(f"{MOVERS[number].name}#1: " in text for number in engines_of(mapping.program).movers)


@pytest.mark.parametrize("buffer", range(len(BUFFERS)))
def test_a_copy_that_waits_for_nothing_is_a_hazard(buffer):
    """A copy to where a tensor lives waits for who wrote what it reads, and for who read what lay there before."""
    mapping = mapped(CHAIN)
    program, engine = mapping.program, engines_of(mapping.program).mover(HOLD[buffer])
    commands = program.commands.copy()
    commands["n_dependencies"][program.engine_start[engine] : program.engine_start[engine + 1]] = 0
    broken = validate.violations(program._replace(commands=commands), limits_of(machine(), mapping))
    assert "reads what may not be there yet" in "\n".join(broken["hazards"])


def test_who_reads_where_a_tensor_lives_waits_for_the_copy():
    mapping = mapped(CHAIN)
    program, holds = mapping.program, [engines_of(mapping.program).mover(number) for number in HOLD.values()]
    dependencies = program.dependencies.copy()
    dependencies["count"][np.isin(dependencies["engine"], holds) & (dependencies["count"] > 1)] = 1
    broken = validate.violations(program._replace(dependencies=dependencies), limits_of(machine(), mapping))
    assert any(f"written by {MOVERS[number].name}" in "\n".join(broken["hazards"]) for number in HOLD.values())


@pytest.mark.parametrize(
    ("keys", "other"),
    [
        (["buffers.bypass=stream"], "buffers.bypass"),
        (["buffers.second={size: 64 KiB, banks: 4, ports: 1R1W, read_latency: 3}"], "buffers.second"),
    ],
)
def test_buffers_that_work_otherwise_are_refused(keys, other):
    with pytest.raises(InputError) as caught:
        load_architecture("eta_small", ["mapping.forwarding=true", *keys])
    (problem,) = caught.value.problems
    assert problem.key == "mapping.forwarding"
    assert other in problem.message


def test_a_wrong_value_is_refused():
    with pytest.raises(InputError, match="must be true or false, got 'maybe'"):
        load_architecture("eta_small", ["mapping.forwarding=maybe"])


def test_pins_and_forwarding_stand_side_by_side():
    chosen = load_architecture("eta_small", ["mapping={forwarding: true, conv1.ff: {clusters_k: 2}}"])
    assert chosen.mapping.forwarding
    assert [*chosen.mapping.pins] == ["conv1.ff"]
    again = load_architecture("eta_small", [f"mapping={chosen.resolved()['mapping']}".replace("True", "true")])
    assert again == chosen


def test_copies_write_the_same_program():
    """Stretches of commands that repeat, with pieces that lie where they live."""
    programs = [emit(Iteration(machine(), CHAIN, BATCH, PHASES), copies).builder.build() for copies in (True, False)]
    for name, one, other in zip(programs[0]._fields, *programs, strict=True):
        assert np.array_equal(one, other), name
