"""Global buffers of the machine as testbenches: with the feeder that reads one, with the collectors that write the error buffer."""

from collections import defaultdict, deque

from etasim.memory.buffer import PORTS
from etasim.memory.depths import WORDS_UNDER_WAY
from etasim.program.commands import BUFFERS, ERROR, engines_of
from etasim.rtl.bench import Bench, Observation, hex_rows, stimuli
from etasim.rtl.record import Push, Recording
from etasim.schedule.array import array_of

FEEDER_SOURCES = ("feeder.v", "buffer.v", "fifo.v")
COLLECTOR_SOURCES = ("collector.v", "buffer.v", "fifo.v")
OTHERS = "other ports"
"""The case of what a buffer does for those that are only played."""


def _members(recording: Recording, buffer: int) -> list[int]:
    spec = recording.machine.specs.buffers
    members: list[int] = spec.members[spec.first[buffer] : spec.first[buffer + 1]].tolist()
    return members


def _parameters(recording: Recording, buffer: int) -> dict[str, int]:
    """What a buffer is."""
    architecture, links = recording.machine.architecture, recording.machine.links
    own, array = getattr(architecture.buffers, BUFFERS[buffer]), array_of(architecture)
    (reads, writes, both), n_banks = PORTS[own.ports], own.banks
    return {
        "N": len(_members(recording, buffer)), "BANKS": n_banks, "DEPTH": array.buffer_bytes[buffer] // array.word_bytes // n_banks,
        "WORD": array.word_bytes, "LATENCY": own.read_latency, "READS": reads, "WRITES": writes, "BOTH": both,
        "QUEUE": int(links.buffer_requests.depth[0]), "ANSWERS": int(links.buffer_responses.depth[0]), "OUTSTANDING": WORDS_UNDER_WAY,
    }  # fmt: skip


def _written(recording: Recording, members: list[int]) -> dict[tuple[int, int], tuple[int, int]]:
    """(mask, value) that loads write with each request (requester, place in its order); of bursts, whose words are known when they end."""
    dma, word_bytes = recording.machine.specs.dma, array_of(recording.machine.architecture).word_bytes
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for e, first in enumerate(dma.first_port.tolist()):
        ports = [port for port in range(first, first + dma.n_channels) if port in members]
        asked: dict[int, deque[tuple[int, int]]] = defaultdict(deque)
        requests = [(push.cycle, port, i, push) for port in ports for i, push in enumerate(recording.pushes["buffer_requests", port])]
        for _, port, i, push in sorted(requests):
            if push.words[1]:
                asked[push.words[0]].append((port, i))
        for at, data in recording.loaded[e] if asked else []:
            for word in range(at // word_bytes, (at + len(data) - 1) // word_bytes + 1):
                start = max(at, word * word_bytes)
                part = data[start - at : (word + 1) * word_bytes - at]
                shift = start - word * word_bytes
                found[asked[word].popleft()] = ((1 << len(part)) - 1 << shift, int.from_bytes(part, "little") << 8 * shift)
    return found


def _grants(recording: Recording, members: list[int], own: dict[int, list[str]]) -> list[Observation]:
    """When each request is granted; ``own`` [requester]: the cases of its requests."""
    return [
        Observation(cycle, f"granted.{q}", "", own[requester][i] if requester in own else OTHERS)
        for q, requester in enumerate(members)
        for i, cycle in enumerate(recording.pops["buffer_requests", requester])
    ]


def feeder_bench(recording: Recording, f: int) -> Bench:
    """The testbench of feeder ``f`` and the buffer that it reads, which has the same number."""
    machine, program = recording.machine, recording.machine.program
    spec, members, names = machine.specs.feeders, _members(recording, f), recording.names
    engine, requester, node = int(spec.engine[f]), int(spec.requester[f]), int(spec.node[f])
    written, width = _written(recording, members), 2 * array_of(machine.architecture).word_bytes
    lines, found = [], []
    for q, port in enumerate(members):
        if port != requester:
            for i, push in enumerate(recording.pushes["buffer_requests", port]):
                mask, value = written[port, i]
                lines.append((push.cycle, f"W {q} {push.words[0]} {mask:x} {value:0{width}x}"))
            lines += [(cycle, f"A {q}") for cycle in recording.pops["buffer_responses", port]]
    lines += [(push.cycle, f"C {push.words[1]}") for push in recording.pushes["commands", engine]]
    lines += [(cycle, "i") for cycle in recording.pops["inject", node]] + [(cycle, "c") for cycle in recording.pops["completions", engine]]
    rows = [push.words[1] for push in recording.pushes["commands", engine]]
    cases = [names[program.feeds[row]["operation"]] for row in rows]
    asked = recording.pushes["buffer_requests", requester]
    case_of_ask = [names[program.feeds[push.words[2]]["operation"]] for push in asked]
    found += [Observation(cycle, "accepted", "", case) for cycle, case in zip(recording.pops["commands", engine], cases, strict=True)]
    found += [Observation(push.cycle, "asked", str(push.words[0]), case) for push, case in zip(asked, case_of_ask, strict=True)]
    found += [Observation(push.cycle, "completed", "", case)
              for push, case in zip(recording.pushes["completions", engine], cases, strict=True)]  # fmt: skip
    for push in recording.pushes["inject", node]:
        words = recording.sent[push.words[2], push.words[3]]
        data = int.from_bytes(words.data, "little")
        what = f"{words.row} {words.first} {len(words.data)} {data:0{width}x}"
        found.append(Observation(push.cycle, "sent", what, names[program.feeds[words.row]["operation"]]))
    found += _grants(recording, members, {requester: case_of_ask})
    feeds = [[row["buffer_address"], row["run_bytes"], *row["counts"], *row["strides"]] for row in program.feeds]
    files = {"stimuli.txt": stimuli(recording.end, lines), "feeds.hex": hex_rows([[int(x) for x in row] for row in feeds])}
    parameters = _parameters(recording, f) | {
        "FEEDER": members.index(requester), "COMMANDS": int(machine.links.commands.depth[engine]),
    }  # fmt: skip
    return Bench("feeder_tb", FEEDER_SOURCES, parameters, files, found)


def collector_bench(recording: Recording) -> Bench:
    """The testbench of the error buffer and its collectors."""
    machine, program, names = recording.machine, recording.machine.program, recording.names
    spec, members, engines = machine.specs.collectors, _members(recording, ERROR), engines_of(machine.program)
    width, own = array_of(machine.architecture).word_bytes, {}
    collectors: list[int] = spec.requester.tolist()
    lines, found = [], []
    for q, port in enumerate(members):
        if port not in collectors:
            lines += [(push.cycle, f"R {q} {push.words[0]} {push.words[1]}") for push in recording.pushes["buffer_requests", port]]
            lines += [(cycle, f"A {q}") for cycle in recording.pops["buffer_responses", port]]
    pieces = {row: iter(pieces) for row, pieces in recording.collected.items()}
    for k, (node, port) in enumerate(zip(spec.node.tolist(), collectors, strict=True)):
        packets = recording.pushes["eject", node]
        for push, popped in zip(packets, recording.pops["eject", node], strict=True):
            row, packet = push.words[2:]
            lines.append((push.cycle, f"P {k} {row} {packet} {recording.drained[row, packet][::-1].hex()}"))
            found.append(Observation(popped, f"taken.{k}", "", names[program.drains[row]["operation"]]))
        own[port] = [names[program.drains[push.words[2]]["operation"]] for push in recording.pushes["buffer_requests", port]]
        for push, case in zip(recording.pushes["buffer_requests", port], own[port], strict=True):
            found.append(Observation(push.cycle, f"written.{k}", _write(push, next(pieces[push.words[2]]), width), case))
    for q, engine in enumerate(engines.drains):
        lines += [(cycle, f"c {q}") for cycle in recording.pops["completions", engine]]
        rows = [push.words[1] for push in recording.pushes["commands", engine]]
        for push, row in zip(recording.pushes["completions", engine], rows, strict=True):
            found.append(Observation(push.cycle, f"completed.{q}", "", names[program.drains[row]["operation"]]))
    found += _grants(recording, members, own)
    drains = [
        [int(d["n_packets"]), int(d["n_segments"]), int(d["segments_per_packet"]), int(d["segment_table"]), int(d["buffer_address"]),
         int(d["engine"]) - engines.drains.start, 0, 0]
        for d in program.drains
    ]  # fmt: skip
    files = {
        "stimuli.txt": stimuli(recording.end, lines), "drains.hex": hex_rows(drains),
        "offsets.hex": hex_rows([offset] for offset in program.segment_offsets.tolist()),
    }  # fmt: skip
    parameters = _parameters(recording, ERROR) | {
        "FIRST": members.index(collectors[0]), "COLLECTORS": len(collectors), "ENGINES": len(engines.drains),
        "SEGMENT": 2 * array_of(machine.architecture).lanes,
    }  # fmt: skip
    return Bench("collector_tb", COLLECTOR_SOURCES, parameters, files, found)


def _write(push: Push, segments: list[tuple[int, bytes]], word_bytes: int) -> str:
    """A write of a collector: word, mask, value."""
    word, mask, value = push.words[0], 0, 0
    for at, data in segments:
        shift = at - word * word_bytes
        mask |= (1 << len(data)) - 1 << shift
        value |= int.from_bytes(data, "little") << 8 * shift
    return f"{word} {mask:0{(word_bytes + 3) // 4}x} {value:0{2 * word_bytes}x}"
