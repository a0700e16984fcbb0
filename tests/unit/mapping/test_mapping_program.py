"""The tile program of small networks: what it computes, moves, waits for and leaves in memory."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from program_reading import (
    ACTIVATION,
    DRAM,
    ERROR,
    FIRST_CLUSTER,
    UNIFIED,
    WEIGHT,
    accesses,
    commands,
    feed_runs,
    feed_words,
    hazards,
    memory_sizes,
    transfer_bursts,
    transfer_bytes,
)
from small_networks import TINY, architecture, conv, layer, network, one_convolution

from etasim.mapping import InfeasibleError, map_iteration
from etasim.mapping.listing import lines, nests
from etasim.program.commands import FEED_STATIONARY, FEED_STREAM, LOAD_ERROR, LOAD_WEIGHT, STORE, TENSOR_CLASSES, waits_of
from etasim.schedule.array import array_of
from etasim.schedule.patterns import backward, forward

SEGMENT_BYTES = 2 * 2
"""Results of one channel block: lanes x 2 bytes, the same for sums and weight gradients."""

NETWORKS = {
    "residual": TINY,
    "rectangular": one_convolution((2, 7, 6), conv("c", 5, kernel=[3, 2], stride=[2, 1], padding=[1, 0])),
    "dilated": one_convolution((2, 8, 8), conv("c", 4, kernel=3, padding=2, dilation=2)),
    "strided_pointwise": one_convolution((4, 6, 6), conv("c", 4, stride=3)),
    "grouped": one_convolution((8, 5, 5), conv("c", 8, kernel=3, padding=1, groups=2)),
    "depthwise": one_convolution((6, 5, 5), conv("c", 6, kernel=3, stride=2, padding=1, groups=6)),
    "many_channels": one_convolution((16, 4, 4), conv("c", 20, kernel=3, padding=1)),
    "linear_from_maps": network((3, 4, 4), conv("c", 5, kernel=3, padding=1), layer("r", "relu"), classes=7),
    "concatenation": network(
        (2, 5, 5),
        conv("stem", 4), conv("a", 4, kernel=3, padding=1), conv("b", 3, **{"from": "stem"}),
        layer("cat", "concat", "a", "b"), conv("after", 4), classes=3,
    ),
    "shortcut": network(
        (2, 6, 6),
        conv("stem", 4), layer("n", "norm"), layer("r", "relu"), conv("c", 8, kernel=3, stride=2, padding=1),
        layer("s", "shortcut", "r", out_channels=8, stride=2), layer("add", "add", "c", "s"), classes=3,
    ),
    "pooling": network(
        (2, 9, 9), conv("stem", 4), layer("r", "relu"), layer("max", "maxpool", kernel=3, stride=2),
        conv("c", 4), layer("mean", "avgpool", kernel=2), classes=3,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=[(name, batch) for name in NETWORKS for batch in (1, 3)], ids=lambda p: f"{p[0]}-{p[1]}")
def mapped(request):
    """(network, batch, mapping) on the small architecture."""
    name, batch = request.param
    return NETWORKS[name], batch, map_iteration(architecture(), NETWORKS[name], batch)


@pytest.fixture(scope="module")
def array():
    return array_of(architecture())


def by_operation(mapping, engines):
    """Commands of ``engines`` by (layer, phase)."""
    result = {}
    for command in commands(mapping.program):
        if command.engine in engines:
            operation = mapping.operations[command.operation]
            result.setdefault((operation.layer, operation.phase), []).append(command)
    return result


# Order and dependencies ------------------------------------------------------------------------------------------------


def test_dependencies_point_to_earlier_commands(mapped):
    done = Counter()
    for command in commands(mapped[2].program):
        assert all(done[engine] >= count > 0 for engine, count in command.dependencies)
        assert all(engine != command.engine for engine, _ in command.dependencies)
        done[command.engine] += 1
        assert command.count == done[command.engine]


def test_no_command_touches_bytes_that_another_may_still_use(mapped, array):
    assert hazards(mapped[2], array, SEGMENT_BYTES) == []


# Memory ----------------------------------------------------------------------------------------------------------------


def test_transfers_stay_inside_their_tensor_and_buffer(mapped, array):
    _, _, mapping = mapped
    sizes = memory_sizes(array, mapping)
    spans = [(t.address, t.address + t.n_blocks * t.pitch_bytes, t.tensor_class) for t in mapping.tensors]
    for command in commands(mapping.program):
        reads, writes = accesses(command, mapping.program, array, SEGMENT_BYTES)
        for memory, at in (*reads, *writes):
            assert at.min() >= 0
            assert at.max() < sizes[memory]
        if command.engine <= STORE:
            in_dram, _ = transfer_bytes(command.row)
            holders = [kind for first, end, kind in spans if first <= in_dram.min() and in_dram.max() < end]
            assert holders == [TENSOR_CLASSES[command.row["tensor_class"]]]


def test_tensors_do_not_overlap(mapped):
    spans = sorted((t.address, t.address + t.n_blocks * t.pitch_bytes) for t in mapped[2].tensors)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_feeds_read_only_what_loads_wrote(mapped, array):
    """Buffer bytes are labelled with the DRAM byte that a load put there; a feed finds its operand's class under every byte."""
    _, _, mapping = mapped
    sizes = memory_sizes(array, mapping)
    holds = {name: np.full(sizes[name], -1) for name in (ACTIVATION, WEIGHT)}
    kind_at = np.full(sizes[DRAM], -1)
    for tensor in mapping.tensors:
        kind_at[tensor.address : tensor.address + tensor.n_blocks * tensor.pitch_bytes] = TENSOR_CLASSES.index(tensor.tensor_class)
    expected = {
        (FEED_STREAM, "ff"): "activation", (FEED_STREAM, "bp"): "error", (FEED_STREAM, "wg"): "activation",
        (FEED_STATIONARY, "ff"): "weight", (FEED_STATIONARY, "bp"): "weight", (FEED_STATIONARY, "wg"): "error",
    }  # fmt: skip
    n_feeds = 0
    for command in commands(mapping.program):
        reads, writes = accesses(command, mapping.program, array, SEGMENT_BYTES)
        for memory, at in writes:
            if memory in holds:
                holds[memory][at] = transfer_bytes(command.row)[0]
        if command.engine in (FEED_STREAM, FEED_STATIONARY):
            (memory, at), n_feeds = reads[0], n_feeds + 1
            labels = holds[memory][at]
            assert labels.min() >= 0
            phase = mapping.operations[command.operation].phase
            assert {TENSOR_CLASSES[k] for k in np.unique(kind_at[labels])} == {expected[command.engine, phase]}
    assert n_feeds > 0


def test_every_operand_reaches_the_array(mapped, array):
    """In each operation the feeds bring every byte of the weights (FF, BP) or of the output error (WG)."""
    _, _, mapping = mapped
    holds = np.full(2 * array.weight_bytes, -1)
    fed = {}
    for command in commands(mapping.program):
        reads, writes = accesses(command, mapping.program, array, SEGMENT_BYTES)
        for memory, at in writes:
            if memory == WEIGHT:
                holds[at] = transfer_bytes(command.row)[0]
        if command.engine == FEED_STATIONARY:
            operation = mapping.operations[command.operation]
            fed.setdefault((operation.layer, operation.phase), set()).update(holds[reads[0][1]].tolist())
    assert {phase for _, phase in fed} == {"ff", "bp", "wg"}
    names = {tensor.name: tensor for tensor in mapping.tensors}
    for (name, phase), seen in fed.items():
        tensor = names[f"{name}.{'error' if phase == 'wg' else 'weight'}"]
        planes = [(b, n) for b in range(tensor.n_blocks) for n in range(tensor.n_planes)]
        starts = [tensor.address + b * tensor.pitch_bytes + n * tensor.plane_pitch_bytes for b, n in planes]
        wanted = {start + i for start in starts for i in range(tensor.plane_bytes)}
        assert seen == wanted


def test_the_unified_core_and_stores_read_only_what_was_written(mapped, array):
    """Every byte that a store reads, and at least one byte of every word that a pass reads, was written before."""
    _, _, mapping = mapped
    written = np.zeros(2 * array.error_bytes, bool)
    for command in commands(mapping.program):
        reads, writes = accesses(command, mapping.program, array, SEGMENT_BYTES)
        if command.engine == STORE:
            assert written[reads[0][1]].all()
        if command.engine == UNIFIED:
            for _, at in reads:
                assert written[at].reshape(-1, array.word_bytes).any(axis=1).all()
        for memory, at in writes:
            if memory == ERROR:
                written[at] = True


# Work ------------------------------------------------------------------------------------------------------------------


def macs_of(net, phase, batch):
    return batch * sum(entry.macs_per_sample_in(phase) for entry in net.layers if phase in net.phases_of(entry))


def test_useful_macs_are_those_of_the_network(mapped):
    net, batch, mapping = mapped
    for phase in ("ff", "bp", "wg"):
        assert sum(operation.macs for operation in mapping.operations if operation.phase == phase) == macs_of(net, phase, batch)
    assert sum(operation.macs for operation in mapping.operations) == net.useful_macs(batch)


def test_each_operation_appears_once(mapped):
    names = [(operation.layer, operation.phase) for operation in mapped[2].operations]
    assert len(names) == len(set(names))


def test_drains_tile_the_results_exactly_once(mapped, array):
    """Between two readings of a byte it is drained once; every pixel of every block is drained; nothing is left unread.

    Results of FF and BP: channel blocks x samples x pixels. Weight gradients: blocks x blocks x positions x lanes.
    """
    net, batch, mapping = mapped
    fresh = np.zeros(2 * array.error_bytes, bool)
    segments = Counter()
    for command in commands(mapping.program):
        reads, writes = accesses(command, mapping.program, array, SEGMENT_BYTES)
        if command.engine >= FIRST_CLUSTER + array.clusters:
            at = writes[0][1]
            assert len(set(at.tolist())) == len(at)
            assert not fresh[at].any()
            fresh[at] = True
            operation = mapping.operations[command.operation]
            segments[operation.layer, operation.phase] += int(command.row["n_segments"])
            per_packet = array.word_bytes // SEGMENT_BYTES
            assert command.row["n_packets"] == -(-command.row["n_segments"] // per_packet)
        for memory, at in reads:
            if memory == ERROR:
                fresh[at] = False
    assert not fresh.any()
    assert segments == {key: expected_segments(net, batch, mapping, *key) for key in segments}
    assert set(segments) == {(o.layer, o.phase) for o in mapping.operations if o.macs}


def expected_segments(net, batch, mapping, name, phase):
    """Results of one operation in segments of one channel block, from shapes and tensors alone."""
    names = {tensor.name: tensor for tensor in mapping.tensors}
    if phase == "wg":
        return names[f"{name}.weight_gradient"].n_bytes // SEGMENT_BYTES
    if phase == "ff":
        return -(-net[name].out_channels // 2) * batch * net[name].out_height * net[name].out_width
    return names[f"{source_of(net, name)}.error"].n_bytes // 2


def source_of(net, name):
    """Unit whose error layer ``name`` contributes to: what its input is fused with."""
    source = net[name].inputs[0]
    while net[source].kind in ("norm", "relu"):
        source = net[source].inputs[0]
    return source


def products(problem_layer, phase):
    """Products of one sample, input and output channel: taps x result pixels of the phase's patterns."""
    patterns = backward(problem_layer) if phase == "bp" else (forward(problem_layer),)
    return sum(len(pattern.taps) * pattern.rows * pattern.cols for pattern in patterns)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(8, 2, 2), (8, 1, 1), (8, 3, 1), (12, 3, 3)])
def test_busy_cycles_hold_exactly_the_products_where_everything_divides(size, kernel, stride):
    """Channels fill the PEs and lanes, pixels fill the columns: sweeps x multipliers of a cluster = multiply-accumulates.

    BP at stride s multiplies by every kernel position once per s x s input pixels: no product with an inserted zero.
    """
    padding = 1 if (kernel, stride) == (3, 1) else 0
    net = one_convolution((8, size, size), conv("c", 8, kernel=kernel, stride=stride, padding=padding))
    batch, chosen = 4, architecture()
    mapping = map_iteration(chosen, net, batch)
    array = array_of(chosen)
    slots = Counter()
    for (name, phase), listed in by_operation(mapping, range(FIRST_CLUSTER, FIRST_CLUSTER + array.clusters)).items():
        for command in listed:
            row = command.row
            sweeps = mapping.program.sweep_cycles[row["sweep_table"] : row["sweep_table"] + row["sweep_period"]]
            cycles = sum(int(sweeps[i % row["sweep_period"]]) for i in range(row["n_sweeps"])) - int(row["conflict_cycles"])
            slots[name, phase] += cycles * array.pes * array.columns * array.lanes
    target = net["c"]
    channels = target.in_channels * target.out_channels * batch
    assert slots["c", "bp"] == channels * products(target, "bp")
    assert slots["c", "ff"] == channels * products(target, "ff") == batch * target.macs_per_sample
    assert slots["c", "wg"] == batch * target.macs_per_sample
    if kernel == stride:
        assert slots["c", "bp"] == batch * target.macs_per_sample


def test_sweeps_have_no_conflicts_with_deinterleaving_and_some_without():
    net = NETWORKS["strided_pointwise"]
    net = one_convolution((4, 8, 8), conv("c", 4, stride=2))
    with_it, without = (map_iteration(architecture(array__deinterleave_stride=on), net, 1).program.computes for on in (True, False))
    assert (with_it["conflict_cycles"] == 0).all()
    assert without["conflict_cycles"].sum() > 0


def test_clusters_are_promised_the_words_that_the_feeds_send(mapped):
    """The base of a chunk is the number of words that earlier chunks of its cluster were sent, packet for packet."""
    _, _, mapping = mapped
    place = architecture().noc.placement.clusters
    listed = commands(mapping.program)
    sent = Counter()
    for command in listed:
        if command.engine in (FEED_STREAM, FEED_STATIONARY):
            assert command.row["n_packets"] == len(feed_words(command.row, 16))
            for node in mapping.routes[command.row["route"]].destinations:
                sent[place.index(node), int(command.row["stream"])] += int(command.row["n_packets"])
    received = Counter()
    for command in listed:
        c = command.engine - FIRST_CLUSTER
        if 0 <= c < len(place):
            for stream, name in enumerate(("stream", "stationary")):
                assert command.row[f"{name}_base_words"] == received[c, stream]
                received[c, stream] += int(command.row[f"{name}_words"])
    assert +received == +sent


def test_passes_begin_and_end_once(mapped):
    """Chunks of a cluster form passes, and each pass is drained once."""
    _, _, mapping = mapped
    n = architecture().array.clusters
    for c in range(n):
        chunks = [command.row for command in commands(mapping.program) if command.engine == FIRST_CLUSTER + c]
        inside, n_passes = False, 0
        for row in chunks:
            assert bool(row["first"]) != inside
            inside = not row["last"]
            n_passes += int(row["last"])
        assert not inside
        assert n_passes == sum(command.engine == FIRST_CLUSTER + n + c for command in commands(mapping.program))


def test_traffic_is_at_least_compulsory(mapped):
    _, _, mapping = mapped
    moved = Counter()
    for command in commands(mapping.program):
        if command.engine <= STORE:
            access = "write" if command.engine == STORE else "read"
            column = f"dram_{access}_{TENSOR_CLASSES[command.row['tensor_class']]}_bytes"
            moved[command.operation, column] += 64 * len(transfer_bursts(command.row, 64))
    n_checked = 0
    for i, operation in enumerate(mapping.operations):
        for column, n_bytes in operation.compulsory_bytes.items():
            assert moved[i, column] >= n_bytes > 0
            n_checked += 1
    assert n_checked >= 7


# Phases, other choices -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phases", [("ff",), ("bp",), ("wg",), ("wu",), ("ff", "bp"), ("bp", "wg", "wu"), ("ff", "wu")])
def test_a_subset_of_phases_has_only_their_work(phases):
    mapping = map_iteration(architecture(), TINY, 2, phases)
    assert {operation.phase for operation in mapping.operations} == set(phases)
    assert sum(operation.macs for operation in mapping.operations) == TINY.macs(2, [p for p in phases if p != "wu"])


def test_inference_keeps_nothing_for_training():
    classes = {tensor.tensor_class for tensor in map_iteration(architecture(), TINY, 2, ("ff",)).tensors}
    assert classes.isdisjoint({"mask", "statistic", "error", "weight_gradient", "momentum"})


def test_an_update_reads_three_tensors_and_writes_three_for_every_weight():
    """Traffic of SGD with momentum: gradient, master copy, momentum in; master copy, momentum, 8-bit weights out."""
    mapping = map_iteration(architecture(), TINY, 2)
    moved = Counter()
    for (name, _), listed in by_operation(mapping, (LOAD_ERROR, STORE)).items():
        for command in listed:
            if mapping.operations[command.operation].phase == "wu":
                moved[name, command.engine == STORE, TENSOR_CLASSES[command.row["tensor_class"]]] += len(transfer_bytes(command.row)[0])
    blocks = {"conv1": (2, 5, 3), "conv2": (3, 2, 9)}  # of outputs and inputs, kernel positions; conv1 with its input folded
    for name, (out, into, positions) in blocks.items():
        elements = out * into * positions * 4
        for is_store, kind, element_bytes in (
            (False, "weight_gradient", 2), (False, "master_weight", 2), (False, "momentum", 2),
            (True, "master_weight", 2), (True, "momentum", 2), (True, "weight", 1),
        ):  # fmt: skip
            assert moved[name, is_store, kind] == elements * element_bytes


def test_update_after_each_layer_gives_the_same_traffic_in_another_order():
    chosen = [architecture(training__weight_update=when) for when in ("end_of_iteration", "after_layer")]
    programs = [map_iteration(a, TINY, 2) for a in chosen]
    orders = [[(o.layer, o.phase) for o in mapping.operations] for mapping in programs]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    first, second = (sorted(mapping.program.transfers["run_bytes"].tolist()) for mapping in programs)
    assert first == second


def test_a_single_cluster_broadcast_needs_one_route_each_without_multicast():
    counts = [len(map_iteration(architecture(noc__multicast=on), TINY, 2).program.feeds) for on in (True, False)]
    assert counts[1] > counts[0]


def test_the_mapper_is_deterministic():
    first, second = (map_iteration(architecture(), TINY, 3) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first.program, second.program, strict=True))
    assert first.routes == second.routes


@pytest.mark.parametrize(
    ("changes", "memory"),
    [
        ({"buffers__weight__size": "64 B"}, "buffers.weight"),
        ({"buffers__activation__size": "64 B"}, "buffers.activation"),
        ({"array__stream_scratchpad": "64 B"}, "array.stream_scratchpad"),
    ],
)
def test_what_fits_no_tile_is_refused_by_name(changes, memory):
    wide = one_convolution((32, 24, 24), conv("large", 32, kernel=5))
    with pytest.raises(InfeasibleError, match=memory):
        map_iteration(architecture(**changes), wide, 1)


@pytest.mark.parametrize(("phase", "first_waits"), [("ff", [1, 3]), ("bp", [0, 1, 2, 3])])
def test_feeds_wait_for_the_part_of_the_weights_that_they_send(phase, first_waits):
    """A round's weights come in four loads: in FF each row of clusters waits for its half of the results, in BP for its reduction."""
    net = network((16, 6, 6), conv("a", 32, kernel=3, padding=1), conv("b", 32, kernel=3, padding=1), classes=4)
    mapping = map_iteration(architecture(), net, 1)
    (operation,) = (i for i, each in enumerate(mapping.operations) if (each.layer, each.phase) == ("b", phase))
    own, begin = mapping.program.commands["operation"] == operation, mapping.program.engine_start
    loads, feeds = (np.flatnonzero(own[begin[e] : begin[e + 1]]) + begin[e] for e in (LOAD_WEIGHT, FEED_STATIONARY))
    command, waited = waits_of(mapping.program)
    waits = waited[np.isin(command, feeds) & np.isin(waited, loads)] - loads[0]
    assert len(loads) == 4 * 4, "four rounds"
    assert waits[: len(first_waits)].tolist() == first_waits


def test_the_listing_has_one_readable_line_for_each_command():
    mapping = map_iteration(architecture(), TINY, 2)
    text = list(lines(mapping))
    assert len(text) == len(mapping.program.commands)
    assert [int(line.split()[0]) for line in text] == list(range(len(text)))
    names = {f"{operation.layer}.{operation.phase}" for operation in mapping.operations}
    assert {line.split()[1] for line in text} == names
    for word in (
        "load.weight#1:",
        "feed.stream#1:",
        "cluster.0#1:",
        "drain.1#1:",
        "unified#1:",
        "store#1:",
        " after ",
        "packets",
        "sweeps",
        "norm_apply",
    ):
        assert any(word in line for line in text), word
    assert all(line.isascii() and "\n" not in line for line in text)


def test_the_listing_begins_with_the_loops_of_each_operation_on_the_array():
    text = list(nests(map_iteration(architecture(), network((2, 4, 4), conv("one", 4, kernel=3, padding=1), classes=2), 2, ("ff",))))
    assert text[:5] == [
        "# one.ff",
        "#   for samples in 0 ... 2 by 1",
        "#     for rows in 0 ... 4 by 4: load stream (stays)",
        "#       for results in 0 ... 2 by 1: load stationary (stays)",
        "#         for samples in 0 ... 1 by 1, for pixels in 0 ... 16 by 8, 2 in space, "
        "for streams in 0 ... 1 by 1, for taps in 0 ... 9 by 9",
    ]


def test_feed_runs_are_listed_last_dimension_fastest():
    row = np.zeros(1, map_iteration(architecture(), TINY, 1, ("ff",)).program.feeds.dtype)[0]
    row["buffer_address"], row["run_bytes"], row["counts"], row["strides"] = 100, 4, (1, 1, 2, 3), (0, 0, 1000, 10)
    assert feed_runs(row) == [100, 110, 120, 1100, 1110, 1120]
