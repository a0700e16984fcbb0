"""A cluster of the machine as a testbench: its commands, the words that it received, the room that its packets found."""

import numpy as np

from etasim.program.commands import engines_of
from etasim.rtl.bench import Bench, Observation, hex_rows, stimuli
from etasim.rtl.record import Recording
from etasim.schedule.array import ArraySizes, array_of
from etasim.schedule.tiling import ceil_div

SOURCES = ("cluster.v", "pe.v", "fifo.v")
FIELDS, DRAIN_FIELDS, TAP_FIELDS = 32, 16, 6
VECTOR_LIMIT = 4096


def _chunk_fields(recording: Recording, array: ArraySizes, row: int) -> list[int]:
    """What `cluster.v` knows of a chunk: its geometry, and how the scratchpad holds its operands."""
    program = recording.machine.program
    compute = program.computes[row]
    g = program.geometries[compute["geometry"]]
    wg, n_pixels = int(g["reduces_pixels"]), int(g["n_pixels"])
    width, cols = int(g["in_width"]), int(g["cols"])
    banks = array.lanes if wg else array.columns
    if array.deinterleave:
        class_y, class_x, turn_row, turn_sample = int(g["step_y"]), int(g["step_x"]), cols, n_pixels
    else:
        class_y, class_x, turn_row, turn_sample = 1, 1, width, int(g["in_height"]) * width
    pitch = ceil_div(ceil_div(width, class_x), banks)
    return [
        wg, int(g["transposes"]), int(g["n_result_blocks"]), int(g["n_stream_blocks"]), int(g["n_samples"]),
        int(g["first_pixel"]) // cols, int(g["first_pixel"]) % cols, n_pixels, cols, int(g["step_y"]), int(g["step_x"]),
        int(g["in_height"]), width, int(g["first_row"]), int(g["row_step"]), int(g["n_rows"]), int(g["first_tap"]),
        int(g["n_taps"]), class_y, class_x, turn_row % banks, turn_sample % banks, pitch, int(g["first_row"]) // int(g["step_y"]),
        *(int(compute[name]) for name in ("first", "last", "operand_half", "psum_half", "clears")), 0, 0, 0,
    ]  # fmt: skip


def _tap_rows(recording: Recording) -> list[list[int]]:
    """Kernel positions with their quotients by the strides of the chunks that use them."""
    program = recording.machine.program
    steps = np.ones((len(program.taps), 2), np.int64)
    for g in program.geometries:
        steps[g["first_tap"] : g["first_tap"] + g["n_taps"]] = g["step_y"], g["step_x"]
    rows = []
    for (dy, dx), (step_y, step_x) in zip(program.taps.tolist(), steps.tolist(), strict=True):
        rows.append([dy, dx, dy // step_y, dx // step_x, dx % step_x, 0])
    return rows


def _drain_fields(recording: Recording, row: int, chunk: int) -> list[int]:
    """A drain and the geometry of the pass that it sends, whose last chunk is ``chunk``."""
    program = recording.machine.program
    drain, g = program.drains[row], program.geometries[program.computes[chunk]["geometry"]]
    core, result = recording.values.machine.core, recording.values.machine.results.operations[drain["operation"]]
    shift = int(core.tensors.write_unit[result["tensor"]] - result["sum_unit"])
    return [
        int(g["reduces_pixels"]), int(drain["n_packets"]), int(drain["n_segments"]), int(drain["segments_per_packet"]),
        int(g["n_samples"] * g["n_pixels"]), int(g["n_taps"]), int(g["n_stream_blocks"]), int(drain["psum_half"]), shift,
        int(result["limit"]), 0, 0, 0, 0, 0, 0,
    ]  # fmt: skip


def _chunk_of_packet(recording: Recording, c: int) -> dict[tuple[int, int], int]:
    """The chunk (row) of a cluster for which each packet (feeder, number) of operands came: words are counted in its order."""
    program, n = recording.machine.program, len(recording.machine.specs.clusters.node)
    engine = engines_of(program).computes[c]
    rows = program.commands[program.engine_start[engine] : program.engine_start[engine + 1]]["row"]
    received = {stream: [words[2:] for _, _, words in recording.pushes["eject", int(recording.machine.specs.clusters.node[c])]
                         if words[2] == stream] for stream in (0, 1)}  # fmt: skip
    assert n > c
    chunk = {}
    for stream, name in enumerate(("stream", "stationary")):
        numbers = iter(received[stream])
        for row in rows.tolist():
            for _ in range(int(program.computes[row][f"{name}_words"])):
                chunk[stream, next(numbers)[1]] = row
    return chunk


def bench(recording: Recording, c: int) -> Bench:
    """The testbench of cluster ``c``."""
    machine = recording.machine
    program, spec, engines = machine.program, machine.specs.clusters, engines_of(machine.program)
    array, names, node = array_of(machine.architecture), recording.names, int(spec.node[c])
    compute_engine, drain_engine = engines.computes[c], engines.drains[c]
    lines: list[tuple[int, str]] = []
    found: list[Observation] = []
    chunks = _chunk_of_packet(recording, c)
    case = {row: names[program.computes[row]["operation"]] for row in range(len(program.computes))}
    pushes, pops = recording.pushes, recording.pops
    for push, popped in zip(pushes["eject", node], pops["eject", node], strict=True):
        stream, number = push.words[2:]
        words, row = recording.sent[stream, number], chunks[stream, number]
        half = int(program.feeds[words.row]["halves"]) >> c & 1
        data = words.data[::-1].hex()
        lines.append((push.cycle, f"W {stream} {half} {row} {words.first // array.lanes} {len(words.data) // array.lanes} {data}"))
        found.append(Observation(popped, "received", "", case[row]))
    for push, popped in zip(pushes["commands", compute_engine], pops["commands", compute_engine], strict=True):
        lines.append((push.cycle, f"C {push.words[1]}"))
        found.append(Observation(popped, "accepted", "", case[push.words[1]]))
    last_chunks = [push.words[1] for push in pushes["commands", compute_engine] if program.computes[push.words[1]]["last"]]
    drains = [[0] * DRAIN_FIELDS for _ in program.drains]
    for push, popped, chunk in zip(pushes["commands", drain_engine], pops["commands", drain_engine], last_chunks, strict=True):
        row = push.words[1]
        drains[row] = _drain_fields(recording, row, chunk)
        lines.append((push.cycle, f"D {row}"))
        found.append(Observation(popped, "drain_accepted", "", names[program.drains[row]["operation"]]))
    lines += [(cycle, "c") for cycle in pops["completions", compute_engine]]
    lines += [(cycle, "i") for cycle in pops["inject", node]]
    for sweep in recording.sweeps[c]:
        found.append(Observation(sweep.cycle, "sweep", f"{sweep.row} {sweep.number}", case[sweep.row]))
    taken = [push.words[1] for push in pushes["commands", compute_engine]]
    for push, row in zip(pushes["completions", compute_engine], taken, strict=True):
        found.append(Observation(push.cycle, "completed", f"{row}", case[row]))
    for push in pushes["inject", node]:
        row, packet = push.words[2:]
        found.append(Observation(push.cycle, "drained", f"{packet} {_packet_hex(recording, array, row, packet)}",
                                 names[program.drains[row]["operation"]]))  # fmt: skip
    chunk_rows = [_chunk_fields(recording, array, row) for row in range(len(program.computes))]
    files = {
        "stimuli.txt": stimuli(recording.end, lines),
        "chunks.hex": hex_rows(chunk_rows), "drains.hex": hex_rows(drains), "taps.hex": hex_rows(_tap_rows(recording)),
    }  # fmt: skip
    return Bench("cluster_tb", SOURCES, _parameters(recording, array), files, found)


def _packet_hex(recording: Recording, array: ArraySizes, row: int, packet: int) -> str:
    """Bytes of a packet of results as `cluster.v` prints them; what no segment fills is zero."""
    drain = recording.machine.program.drains[row]
    n_segments = min(int(drain["segments_per_packet"]), int(drain["n_segments"]) - packet * int(drain["segments_per_packet"]))
    n_bytes = n_segments * array.lanes * 2
    return (recording.drained[row, packet][:n_bytes].ljust(array.word_bytes, b"\0"))[::-1].hex()


def _parameters(recording: Recording, array: ArraySizes) -> dict[str, int]:
    architecture = recording.machine.architecture
    return {
        "LANES": array.lanes, "COLUMNS": array.columns, "PES": array.pes, "WORD": array.word_bytes, "DEPTH": array.psum_depth,
        "ACC": array.accumulator_bits, "SEGMENTED": int(architecture.numerics.activation_segments == 2), "PIPELINE": array.pipeline_cycles,
        "QUEUE": architecture.controller.queue_depth, "SV": VECTOR_LIMIT, "TV": VECTOR_LIMIT,
    }  # fmt: skip
