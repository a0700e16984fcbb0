"""No sweep begins before the last word that it reads, nor waits for a later one: derived anew from what the feeds send.

Each byte of a scratchpad is followed to the word that brings it, from the fields of the feed commands; what a sweep reads follows from the
geometry of its chunk and the loop nests of docs/models/mapping.md. Stationary vectors are waited for one by one, the streamed operand by
channel blocks.
"""

from collections import defaultdict

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from program_reading import FIRST_CLUSTER, commands, feed_runs
from random_networks import graphs, single_layers

from etasim.config import load_architecture
from etasim.mapping import InfeasibleError, map_iteration
from etasim.program.commands import FEED_STATIONARY, FEED_STREAM
from etasim.workload import load_network

OPERANDS = {"ff": ("activation", "weight"), "bp": ("error", "weight"), "wg": ("activation", "error")}


class Scratchpad:
    """One operand of a chunk on its way to a cluster: ``arrival`` [byte], the number among all words ever received of the word that
    brings it."""

    def __init__(self):
        self.n_words, self.arrival = 0, []

    def receive(self, feed, word_bytes):
        """The words of a feed, in order; one that two runs share is sent for each."""
        for start in feed_runs(feed):
            words = np.arange(start, start + int(feed["run_bytes"])) // word_bytes
            self.arrival.append(self.n_words + 1 + words - words[0])
            self.n_words = int(self.arrival[-1][-1])

    def take(self):
        """The bytes of the chunk that begins."""
        taken, self.arrival = np.concatenate([np.zeros(0, np.int64), *self.arrival]), []
        return taken


def spans(starts, n_bytes):
    """Bytes of equal pieces."""
    return (np.asarray(starts)[:, None] + np.arange(n_bytes)).ravel()


def operand_elements(geometry, taps, block, pixels):
    """Places of the pixels of a channel block that ``pixels`` (numbered over the samples) meet at ``taps``; padding has none."""
    found = []
    for dy, dx in taps:
        sample, pixel = np.divmod(pixels, geometry["n_pixels"])
        i, j = np.divmod(geometry["first_pixel"] + pixel, geometry["cols"])
        y, x = i * geometry["step_y"] + dy, j * geometry["step_x"] + dx
        inside = (y >= 0) & (y < geometry["in_height"]) & (x >= 0) & (x < geometry["in_width"])
        row, rest = np.divmod(y[inside] - geometry["first_row"], geometry["row_step"])
        assert not rest.any()
        assert ((row >= 0) & (row < geometry["n_rows"])).all()
        plane = (block * geometry["n_samples"] + sample[inside]) * geometry["n_rows"] + row
        found.append(plane * geometry["in_width"] + x[inside])
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def sweeps_of(geometry, taps, array):
    """What each sweep reads, in order: channel blocks and elements of the streamed operand, vectors of the stationary one."""
    lanes, n_taps, n_results = array.lanes, len(taps), int(geometry["n_result_blocks"])
    slices = [range(b, min(b + array.pes_per_cluster // lanes, n_results)) for b in range(0, n_results, array.pes_per_cluster // lanes)]
    n_all = int(geometry["n_samples"] * geometry["n_pixels"])
    blocks = range(geometry["n_stream_blocks"])
    if geometry["reduces_pixels"]:
        for own in slices:
            for first in range(0, n_all, lanes):
                pixels = np.arange(first, min(first + lanes, n_all))
                elements = np.concatenate([operand_elements(geometry, taps, block, pixels) for block in blocks])
                yield blocks, elements, [b * n_all + pixel for b in own for pixel in pixels]
        return
    for block in blocks:
        for own in slices:
            for t in range(n_taps):
                elements = operand_elements(geometry, taps[t : t + 1], block, np.arange(n_all))
                yield [block], elements, [(block * n_results + b) * n_taps + t for b in own]


def check_chunk(chosen, program, row, phase, stream, stationary):
    """The table of one chunk beside what its sweeps read; ``stream``, ``stationary`` [byte]: when it arrives."""
    array, geometry = chosen.array, program.geometries[row["geometry"]]
    taps = program.taps[geometry["first_tap"] :][: geometry["n_taps"]]
    stream_bytes, stationary_bytes = (getattr(chosen.data, f"{name}_bits") // 8 * array.lanes for name in OPERANDS[phase])
    vector_bytes = stationary_bytes if phase == "wg" else stationary_bytes * array.lanes
    block_bytes = int(geometry["n_samples"] * geometry["n_rows"] * geometry["in_width"]) * stream_bytes
    assert len(stream) == geometry["n_stream_blocks"] * block_bytes
    reads = list(sweeps_of(geometry, taps, array))
    assert len(reads) == row["n_sweeps"]
    table = program.sweep_words[row["word_table"] :][: row["n_sweeps"]]
    for (blocks, elements, vectors), (of_stream, of_stationary) in zip(reads, table.tolist(), strict=True):
        brought = stationary[spans(np.array(vectors) * vector_bytes, vector_bytes)]
        assert row["stationary_base_words"] + of_stationary == brought.max()
        whole = stream[spans(np.array(blocks) * block_bytes, block_bytes)]
        assert of_stream == (whole.max() - row["stream_base_words"] if whole.size else 0)
        needed = stream[spans(elements * stream_bytes, stream_bytes)]
        assert needed.max(initial=0) <= row["stream_base_words"] + of_stream


def check_program(chosen, mapping):
    """Every chunk of a program; returns how many sweeps have words that their share of the chunk's words does not reach."""
    program, word_bytes = mapping.program, chosen.buffers.word_size_bytes
    cluster_of = {node: c for c, node in enumerate(chosen.noc.placement.clusters)}
    pads = defaultdict(Scratchpad)
    n_beyond_their_share = 0
    for command in commands(program):
        if command.engine in (FEED_STREAM, FEED_STATIONARY):
            for node in mapping.routes[command.row["route"]].destinations:
                pads[cluster_of[node], int(command.row["stream"])].receive(command.row, word_bytes)
        elif FIRST_CLUSTER <= command.engine < FIRST_CLUSTER + chosen.array.clusters:
            row, c = command.row, command.engine - FIRST_CLUSTER
            stream, stationary = pads[c, 0].take(), pads[c, 1].take()
            if program.geometries[row["geometry"]]["n_taps"]:
                check_chunk(chosen, program, row, mapping.operations[command.operation].phase, stream, stationary)
                share = -(-np.arange(1, row["n_sweeps"] + 1) * row["stationary_words"] // row["n_sweeps"])
                n_beyond_their_share += int((program.sweep_words[row["word_table"] :][: row["n_sweeps"], 1] > share).sum())
            else:
                assert program.sweep_words[row["word_table"]].tolist() == [0, 0]
    return n_beyond_their_share


@st.composite
def machines(draw):
    """Small machines of any array: PEs, columns, lanes, words, widths of the elements."""
    lanes = draw(st.sampled_from([1, 2, 4]))
    width = st.sampled_from(["8 bit", "16 bit"])
    return {
        "array.lanes": lanes, "array.pes_per_cluster": lanes * draw(st.sampled_from([1, 2, 3, 4, 8])),
        "array.columns": lanes * draw(st.sampled_from([1, 2, 4])), "buffers.word_size": draw(st.sampled_from(["8 B", "16 B", "32 B"])),
        "array.zero_insertion": draw(st.booleans()), "noc.multicast": draw(st.booleans()), "noc.reduction": False,
        **{f"data.{name}": draw(width) for name in ("activation", "weight", "error")},
    }  # fmt: skip


@settings(max_examples=30)
@given(machines(), st.one_of(single_layers(kernels=3), graphs()), st.integers(1, 3))
def test_a_sweep_waits_for_the_last_word_that_it_reads(keys, sketch, batch):
    chosen = load_architecture("eta_small", keys)
    try:
        mapping = map_iteration(chosen, sketch.build(), batch)
    except InfeasibleError:
        assume(False)
    check_program(chosen, mapping)


def test_more_pes_than_lanes_need_words_beyond_their_share():
    """Sixteen blocks of one lane a sweep, as in stratix10_mx_16bit: the sixteenth comes last, far behind a sixteenth of the words. Where
    the PEs are one block, and its vectors whole words, the share of a sweep was what it reads."""
    net, beyond = load_network("digits_cnn"), {}
    for name in ("stratix10_mx_16bit", "eta_vc709"):
        chosen = load_architecture(name)
        beyond[name] = check_program(chosen, map_iteration(chosen, net, 2))
    assert beyond["stratix10_mx_16bit"] > 0
    assert beyond["eta_vc709"] == 0
