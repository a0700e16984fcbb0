"""The unified core of the machine as a testbench: its passes, the answers of the error buffer, the room that its requests found."""

import numpy as np

from etasim.machine.elaborate import UNIFIED_FIFO_WORDS
from etasim.program.commands import MAX_READS, OPERANDS
from etasim.rtl import passes
from etasim.rtl.bench import Bench, Observation, hex_rows, stimuli
from etasim.rtl.record import Recording
from etasim.schedule.array import array_of

SOURCES = ("unified.v", "fifo.v", "arithmetic.vh")
_SLOTS = 4096


def bench(recording: Recording, c: int = 0) -> Bench:
    """The testbench of core ``c``."""
    machine, program, names = recording.machine, recording.machine.program, recording.names
    spec, array, core = machine.specs.unified, array_of(machine.architecture), recording.values.machine.core
    engine, requesters = int(spec.engine[c]), spec.requester[c].tolist()
    rows = [push.words[1] for push in recording.pushes["commands", engine]]
    cases = [names[program.vectors[row]["operation"]] for row in rows]
    summed = {int(program.vectors[row]["unit"]) for row in rows if passes.kind_of(program.vectors[row]) == passes.SUM}
    operands, of_row = bytearray(), {}
    sums: list[int] = []
    for row in rows:
        vector, found = program.vectors[row], recording.passed[row]
        base = []
        for data in found.operands:
            base.append(len(operands))
            operands += data
        offset = len(sums) // core.lanes
        sums += found.sums
        of_row[row] = passes.pass_of(core, vector, base, int(vector["unit"]) not in summed, offset)
    lines, expected = [], []
    for push, popped, case in zip(recording.pushes["commands", engine], recording.pops["commands", engine], cases, strict=True):
        lines.append((push.cycle, f"C {push.words[1]}"))
        expected.append(Observation(popped, "accepted", "", case))
    for push, row, case in zip(recording.pushes["completions", engine], rows, cases, strict=True):
        expected.append(Observation(push.cycle, "completed", "", case))
        for r in range(int(program.vectors[row]["n_writes"])):
            data = _result(recording, of_row[row], row, r)
            for i in range(len(data) // array.word_bytes):
                word = data[i * array.word_bytes : (i + 1) * array.word_bytes][::-1].hex()
                expected.append(Observation(push.cycle, f"result.{r}", f"{row} {i} {word}", case))
    lines += [(cycle, "c") for cycle in recording.pops["completions", engine]]
    case_of = dict(zip(rows, cases, strict=True))
    expected += [Observation(cycle, "group", f"{row} {begun}", case_of[row]) for cycle, row, begun in recording.groups[c]]
    for s, port in enumerate(requesters):
        lines += [(cycle, f"r {s}") for cycle in recording.pops["buffer_requests", port]]
        lines += [(push.visible_at - 1, f"a {s}") for push in recording.pushes["buffer_responses", port]]
        of_words = [row for row in rows if s in _streams(program.vectors[row]) for _ in range(int(program.vectors[row]["words"][s]))]
        answers = recording.pops["buffer_responses", port]
        for push, popped, row in zip(recording.pushes["buffer_requests", port], answers, of_words, strict=True):
            expected.append(Observation(popped, f"answered.{s}", "", case_of[row]))
            if s < MAX_READS:
                expected.append(Observation(push.cycle, f"asked.{s}", str(push.words[0]), case_of[row]))
            else:
                expected.append(Observation(push.cycle, f"written.{s}", str(push.words[0]), case_of[row]))
    table = core.constants.reciprocal_table.tolist() or [0]
    fields = [of_row[row].fields if row in of_row else [0] * passes.FIELDS for row in range(len(program.vectors))]
    files = {
        "stimuli.txt": stimuli(recording.end, lines), "passes.hex": hex_rows(fields), "reciprocals.hex": hex_rows(([x] for x in table), 16),
        "operands.hex": operands.hex("\n") + "\n", "sums.hex": hex_rows(([x] for x in sums or [0]), 64),
        "valid.hex": hex_rows([x] for x in core.valid_lanes.tolist()),
    }  # fmt: skip
    depth = machine.architecture.unified_core.pipeline_depth
    parameters = {
        "WORD": array.word_bytes, "LANES": core.lanes, "PIPELINE": depth, "FIFO": UNIFIED_FIFO_WORDS + depth, "BATCH": core.batch,
        "QUEUE": int(machine.links.commands.depth[engine]), "ANSWERS": int(machine.links.buffer_responses.depth[0]),
        "REQUESTS": int(machine.links.buffer_requests.depth[0]), "BYTES": len(operands) + 64,
    }  # fmt: skip
    return Bench("unified_tb", SOURCES, parameters, files, expected)


def _streams(vector: np.void) -> list[int]:
    """Streams that a pass uses."""
    return [s for s in range(OPERANDS) if s < vector["n_reads"] or 0 <= s - MAX_READS < vector["n_writes"]]


def _result(recording: Recording, described: passes.DescribedPass, row: int, r: int) -> bytes:
    """Bytes of a result as `unified.v` leaves them: zero behind the result's last byte, and where it computes no values."""
    vector, n_bytes = recording.machine.program.vectors[row], len(recording.passed[row].results[r])
    known = 0 if passes.kind_of(vector) == passes.NOTHING else described.result_bytes[r]
    return recording.passed[row].results[r][:known].ljust(n_bytes, b"\0")
