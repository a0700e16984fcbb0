"""Commands of instant engines as events: everything on their way is ideal, so all of it happens at once."""

from collections.abc import Iterator

import numpy as np

from etasim.program.commands import STORE, Program, engines_of
from etasim.program.events import COLLECTED, COMPLETED, DRAINED, LOADED, MOVED, PASSED, RECEIVED, REDUCED, SENT, STORED

Event = tuple[int, int, int, int, int]


def expanded(log: np.ndarray, program: Program, reaches: np.ndarray) -> np.ndarray:
    """``log`` with each COMPLETED command as the events that it consists of; ``reaches`` [route, cluster]: where routes lead."""
    if not (log[:, 0] == COMPLETED).any():
        return log
    rows: list[Event] = []
    for kind, engine, row, *others in log.tolist():
        rows += _events(program, reaches, engine, row) if kind == COMPLETED else [(kind, engine, row, *others)]
    return np.array(rows, np.int64).reshape(-1, log.shape[1])


def _events(program: Program, reaches: np.ndarray, engine: int, row: int) -> Iterator[Event]:
    engines = engines_of(program)
    if engine in engines.dma:
        return _bursts(program.transfers[row], engines.dma.index(engine))
    if engine in engines.moves:
        return _moves(program.moves[row], engines.movers[engine - engines.moves.start])
    if engine in engines.feeds:
        return _words(program.feeds[row], row, np.flatnonzero(reaches[program.feeds[row]["route"]]).tolist())
    if engine in engines.vectors:
        return iter([(PASSED, row, 0, 0, 0)])
    return _packets(program.drains[row], row, engines.drains.index(engine))


def _moves(move: np.void, mover: int) -> Iterator[Event]:
    for index in np.ndindex(*move["counts"]):
        source, target = (move[f"{end}_address"] + move[f"{end}_strides"] @ index for end in ("source", "target"))
        yield MOVED, mover, int(source), int(target), int(move["run_bytes"])


def _bursts(transfer: np.void, engine: int) -> Iterator[Event]:
    for index in np.ndindex(*transfer["counts"]):
        dram = transfer["dram_address"] + transfer["dram_strides"] @ index
        buffer = transfer["buffer_address"] + transfer["buffer_strides"] @ index
        yield STORED if engine == STORE else LOADED, engine, int(dram), int(buffer), int(transfer["run_bytes"])


def _words(feed: np.void, row: int, clusters: list[int]) -> Iterator[Event]:
    feeder = int(feed["stream"])
    for packet in range(feed["n_packets"]):
        yield SENT, feeder, row, packet, 0
        for cluster in clusters:
            yield RECEIVED, cluster, feeder, packet, 0


def _packets(drain: np.void, row: int, cluster: int) -> Iterator[Event]:
    """Drains whose sums are added are done at the same time; the first of them stands for all."""
    size, members = int(drain["segments_per_packet"]), range(int(drain["partners"]) + 1)
    if drain["member"]:
        return
    for packet in range(drain["n_packets"]):
        for member in members:
            yield DRAINED, cluster + member * int(drain["engine_stride"]), row + member, packet, 0
        for member in members[1:]:
            yield REDUCED, row, packet, row + member, packet
        yield COLLECTED, row, packet, 0, min(size, int(drain["n_segments"]) - packet * size)
