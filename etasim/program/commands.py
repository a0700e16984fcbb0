"""The tile program: what the mapper writes and the machine executes; commands for every engine with explicit dependencies.

An engine executes its commands in order. A command may start when, for each of its dependencies
``(engine, count)``, that engine has completed ``count`` commands. Dependencies always point to commands that
were appended earlier, so appending order is a valid serial order and the program cannot deadlock.
"""

from collections.abc import Collection
from itertools import pairwise
from typing import NamedTuple

import numpy as np

FIXED_ENGINES = ("load.activation", "load.weight", "load.error", "store", "feed.stream", "feed.stationary")
LOAD_ACTIVATION, LOAD_WEIGHT, LOAD_ERROR, STORE, FEED_STREAM, FEED_STATIONARY = range(len(FIXED_ENGINES))
"""Engines that every machine has; the others follow (`Engines`)."""
N_DMA = 4

BUFFERS = ("activation", "weight", "error")
ACTIVATION, WEIGHT, ERROR = range(len(BUFFERS))
SECOND = len(BUFFERS)
"""The second-level buffer, of a machine that has one."""

FILL = "load.second"
"""The DMA engine that brings a tensor from DRAM into the second-level buffer."""


class Mover(NamedTuple):
    """An engine that copies between two buffers, by number."""

    name: str
    source: int
    target: int


SECOND_MOVERS = (
    Mover("copy.activation", SECOND, ACTIVATION), Mover("copy.weight", SECOND, WEIGHT), Mover("copy.error", SECOND, ERROR),
    Mover("store.second", ERROR, SECOND),
)  # fmt: skip
"""Engines of a machine with a second-level buffer: `COPY` out of it for each global buffer, `KEEP` into it beside the store to DRAM."""

FORWARD_MOVERS = (
    Mover("hold.activation", ERROR, ACTIVATION), Mover("hold.weight", ERROR, WEIGHT), Mover("hold.error", ERROR, ERROR),
    Mover("forward.error", ERROR, ERROR),
)  # fmt: skip
"""Engines of a machine that forwards results on chip: `HOLD` for each buffer in which a tensor can live, and `FORWARD`, which brings a tile
of one that lives in the error buffer to where the unified core reads it."""

MOVERS = SECOND_MOVERS + FORWARD_MOVERS

COPY = {mover.target: i for i, mover in enumerate(SECOND_MOVERS) if mover.source == SECOND}
KEEP = next(i for i, mover in enumerate(SECOND_MOVERS) if mover.target == SECOND)
HOLD = {mover.target: len(SECOND_MOVERS) + i for i, mover in enumerate(FORWARD_MOVERS) if mover.name.startswith("hold.")}
FORWARD = len(MOVERS) - 1


class Port(NamedTuple):
    """A part of the machine at a buffer, by number, which it ``writes`` or reads. Several engines, or streams of one, can be a part."""

    part: str
    buffer: int
    writes: bool


PORTS = (
    Port("load.activation", ACTIVATION, True), Port("feed.stream", ACTIVATION, False),
    Port("load.weight", WEIGHT, True), Port("feed.stationary", WEIGHT, False),
    Port("load.error", ERROR, True), Port("store", ERROR, False), Port("collectors", ERROR, True),
    Port("unified operands", ERROR, False), Port("unified results", ERROR, True),
    Port(FILL, SECOND, True), *(Port(mover.name, *end) for mover in MOVERS for end in ((mover.source, False), (mover.target, True))),
)  # fmt: skip
"""Who meets which buffer, in the order in which a buffer numbers its requesters, those of a second level last: what mapping, elaboration,
laws, report and board read."""


def parts_at(buffer: int, writes: bool, parts: Collection[str]) -> list[str]:
    """Those of the ``parts`` of a machine that write, or read, buffer number ``buffer``."""
    return [port.part for port in PORTS if port.buffer == buffer and port.writes == writes and port.part in parts]


BUFFER_AT = {port.part: port.buffer for port in PORTS if port.part not in [mover.name for mover in MOVERS]}
"""The buffer that a part meets, of the parts that meet one."""

BUFFER_OF = {FIXED_ENGINES.index(port.part): port.buffer for port in PORTS if port.part in FIXED_ENGINES}
"""The buffer that a transfer or a feed of an engine meets; `Engines.buffer_of` has the fill too."""

TENSOR_CLASSES = (
    "activation", "weight", "error", "pre_normalization", "weight_gradient", "master_weight", "momentum", "mask", "statistic",
)  # fmt: skip
"""What a transfer moves, by number."""

RUN_DIMENSIONS = 3
TRANSFER = np.dtype([
    ("dram_address", "i8"), ("buffer_address", "i8"), ("run_bytes", "i8"), ("counts", "i8", (RUN_DIMENSIONS,)),
    ("dram_strides", "i8", (RUN_DIMENSIONS,)), ("buffer_strides", "i8", (RUN_DIMENSIONS,)),
    ("tensor_class", "i8"), ("operation", "i8"),
])  # fmt: skip
"""A strided copy between DRAM and a buffer, four-dimensional: runs of ``run_bytes`` in three dimensions, the last fastest."""

MOVE = np.dtype([
    ("source_address", "i8"), ("target_address", "i8"), ("run_bytes", "i8"), ("counts", "i8", (RUN_DIMENSIONS,)),
    ("source_strides", "i8", (RUN_DIMENSIONS,)), ("target_strides", "i8", (RUN_DIMENSIONS,)),
    ("tensor_class", "i8"), ("operation", "i8"),
])  # fmt: skip
"""A strided copy between the two buffers of a `Mover`, as a transfer is one between DRAM and a buffer."""

ARRIVAL = np.dtype([
    ("dram_address", "i8"), ("run_bytes", "i8"), ("counts", "i8", (1,)), ("dram_strides", "i8", (1,)), ("tensor_class", "i8"),
    ("operation", "i8"),
])  # fmt: skip
"""What the host's engine writes into DRAM: runs of ``run_bytes``, whole bursts, for the host lays tensors out as DRAM holds them."""

FEED_DIMENSIONS = 4
MOST_VALUED_CLUSTERS = 63
"""Clusters that the bits of ``halves`` tell apart. A machine of more has no values (`etasim.functional`), and so no use for them."""

FEED = np.dtype([
    ("buffer_address", "i8"), ("run_bytes", "i8"), ("counts", "i8", (FEED_DIMENSIONS,)), ("strides", "i8", (FEED_DIMENSIONS,)),
    ("route", "i8"), ("stream", "i8"), ("n_packets", "i8"), ("operation", "i8"), ("halves", "i8"),
])  # fmt: skip
"""Read runs of a buffer, the last dimension fastest, and send each of the ``n_packets`` words that they touch along ``route``.

The runs follow each other in a half of the scratchpads ``stream`` of the clusters: bit c of ``halves`` for cluster c.
"""

COMPUTE = np.dtype([
    ("n_sweeps", "i8"), ("sweep_table", "i8"), ("sweep_period", "i8"), ("word_table", "i8"),
    ("stream_base_words", "i8"), ("stream_words", "i8"), ("stationary_base_words", "i8"), ("stationary_words", "i8"),
    ("first", "i8"), ("last", "i8"), ("conflict_cycles", "i8"), ("operation", "i8"),
    ("geometry", "i8"), ("operand_half", "i8"), ("psum_half", "i8"), ("clears", "i8"), ("fill_cycles", "i8"),
])  # fmt: skip
"""One chunk of a pass: ``n_sweeps`` sweeps; sweep i lasts ``sweep_cycles[sweep_table + i % sweep_period]`` and begins when
``sweep_words[word_table + i]`` words of the chunk (streamed, stationary) are there, the last of them one that it reads.

The base fields count the words that the cluster has received before this chunk, so that arrival is a comparison. ``geometry`` says what it
multiplies, from which half of the scratchpads into which half of the psum memory, ``clears`` whether that starts from zero.
Behind its last sweep the cluster takes nothing in for ``fill_cycles``.
"""

GEOMETRY = np.dtype([
    ("reduces_pixels", "i8"), ("transposes", "i8"), ("n_result_blocks", "i8"), ("n_stream_blocks", "i8"),
    ("n_samples", "i8"), ("first_pixel", "i8"), ("n_pixels", "i8"), ("cols", "i8"), ("step_y", "i8"), ("step_x", "i8"),
    ("in_height", "i8"), ("in_width", "i8"), ("first_row", "i8"), ("row_step", "i8"), ("n_rows", "i8"),
    ("first_tap", "i8"), ("n_taps", "i8"),
])  # fmt: skip
"""What a chunk multiplies. ``reduces_pixels``: WG; ``transposes``: the blocks of weights are [result][stream] (FF), not [stream][result].

Pixels ``first_pixel ...`` (``n_pixels`` of them, row by row in a grid of ``cols``) of each of ``n_samples`` samples; pixel (i, j) meets
operand (i * step_y + dy, j * step_x + dx) for each of ``n_taps`` rows (dy, dx) of the program's ``taps``, zero outside
``in_height x in_width``. The scratchpads hold the streamed operand as [stream block][sample][row][column][lane], rows ``first_row`` and
every ``row_step``-th (``n_rows`` of them), and the stationary one as [stream block][result block][tap][lanes x lanes], in WG as
[result block][pixel][lane]. Results lie in the psum memory as [result block][pixel][lane], in WG as [result block][stream
block][tap][result lane][stream lane].
"""

DRAIN = np.dtype([
    ("n_packets", "i8"), ("n_segments", "i8"), ("segments_per_packet", "i8"), ("segment_table", "i8"), ("buffer_address", "i8"),
    ("engine", "i8"), ("partners", "i8"), ("engine_stride", "i8"), ("sum_bytes", "i8"), ("member", "i8"),
    ("route", "i8"), ("operation", "i8"),
    ("psum_half", "i8"), ("first_block", "i8"), ("block_segments", "i8"), ("first_sample", "i8"), ("sample_segments", "i8"),
    ("first_column", "i8"), ("column_segments", "i8"),
])  # fmt: skip
"""Send a finished pass to the error buffer; packet p holds the next ``segments_per_packet`` segments of the table (byte offsets from
``buffer_address``).

``engine``, and ``partners`` more every ``engine_stride``: the drains whose sums the network adds; ``member`` says which of them this one
is, and their rows follow each other. They are complete together. ``sum_bytes``: of a sum that travels as it is and is rounded when it is
written; 0 if sums are rounded before.

A segment is a row of lanes of the psum memory's ``psum_half``, in its order: ``block_segments`` for each result block from ``first_block``
on; of these ``sample_segments`` for each sample from ``first_sample`` on or, in WG, ``column_segments`` for each stream block from
``first_column`` on.
"""

MAX_READS, MAX_WRITES = 4, 3
OPERANDS = MAX_READS + MAX_WRITES
VECTOR = np.dtype([
    ("n_groups", "i8"), ("n_reads", "i8"), ("n_writes", "i8"), ("address", "i8", (OPERANDS,)), ("words", "i8", (OPERANDS,)),
    ("kind", "i8"), ("operation", "i8"), ("unit", "i8"), ("tensor", "i8", (OPERANDS,)),
    ("first_block", "i8"), ("n_blocks", "i8"), ("first_sample", "i8"), ("n_samples", "i8"),
    ("first_element", "i8", (OPERANDS,)), ("n_elements", "i8", (OPERANDS,)),
])  # fmt: skip
"""One pass of the unified core: ``n_groups`` vector groups; operand streams and result streams in the error buffer, in words.

Operand i (results from MAX_READS on) holds, from word ``address[i]``, elements ``first_element[i] ...`` (``n_elements[i]`` of them) of each
plane of the tile: blocks ``first_block ...`` and samples ``first_sample ...`` of ``unit``. ``tensor`` says which tensor it is
(`etasim.program.roles.tensor_number`), ``kind`` what is computed (`etasim.ops.passes`).
"""

ROWS = {
    "transfers": TRANSFER, "feeds": FEED, "vectors": VECTOR, "computes": COMPUTE, "drains": DRAIN, "moves": MOVE, "arrivals": ARRIVAL,
}  # fmt: skip
"""Types of the rows of the tables that commands execute."""

COMMAND = np.dtype([("row", "i8"), ("operation", "i8"), ("first_dependency", "i8"), ("n_dependencies", "i8"), ("order", "i8")])
DEPENDENCY = np.dtype([("engine", "i8"), ("count", "i8")])


class Program(NamedTuple):
    """All commands of an iteration, or a window of them: those that follow ``before`` [engine] others, which are in no table of it.

    Grouped by engine: those of engine e are ``commands[engine_start[e]:engine_start[e + 1]]``; engines grouped as in
    `Engines`: those of group k are ``first_engine[k] ... first_engine[k + 1] - 1``. Dependencies count all commands of an engine."""

    commands: np.ndarray
    engine_start: np.ndarray
    before: np.ndarray
    first_engine: np.ndarray
    dependencies: np.ndarray
    transfers: np.ndarray
    feeds: np.ndarray
    computes: np.ndarray
    drains: np.ndarray
    vectors: np.ndarray
    moves: np.ndarray
    arrivals: np.ndarray
    sweep_cycles: np.ndarray
    sweep_words: np.ndarray
    segment_offsets: np.ndarray
    geometries: np.ndarray
    taps: np.ndarray


class Engines(NamedTuple):
    """Numbers of a machine's engines, by the table that has the rows of their commands (`table_of`): DMA, feeders, unified cores, for each
    cluster a multiplying and a draining part; where there is a second-level buffer the DMA engine that fills it and the `SECOND_MOVERS`;
    where results are forwarded the `FORWARD_MOVERS`; where there is a host, its engine."""

    transfers: range
    feeds: range
    vectors: range
    computes: range
    drains: range
    fills: range
    moves: range
    arrivals: range

    @property
    def total(self) -> int:
        """All engines."""
        return self[-1].stop

    @property
    def dma(self) -> tuple[int, ...]:
        """Engines that execute transfers, as the DMA numbers them."""
        return (*self.transfers, *self.fills)

    @property
    def buffer_of(self) -> dict[int, int]:
        """The buffer that a transfer or a feed of an engine meets."""
        return BUFFER_OF | dict.fromkeys(self.fills, SECOND)

    @property
    def movers(self) -> range:
        """Numbers in `MOVERS` of the engines that execute moves."""
        first = 0 if self.fills else len(SECOND_MOVERS)
        return range(first, first + len(self.moves))

    def mover(self, number: int) -> int:
        """The engine that is mover ``number``."""
        return self.moves[self.movers.index(number)]

    def executing(self, table: str) -> tuple[int, ...]:
        """Engines whose commands have their rows in ``table``."""
        return tuple(engine for group, engines in self._asdict().items() if table_of(group) == table for engine in engines)


def table_of(group: str) -> str:
    """The table that has the rows of a group of engines."""
    return "transfers" if group == "fills" else group


class Present(NamedTuple):
    """Whether a machine has the parts that not every machine has: a second-level buffer, a host, movers that forward results."""

    second: bool = False
    host: bool = False
    forwards: bool = False

    @property
    def movers(self) -> tuple[Mover, ...]:
        """Its movers."""
        return SECOND_MOVERS * self.second + FORWARD_MOVERS * self.forwards


BARE = Present()


def numbered_engines(n_cores: int, n_clusters: int, present: Present = BARE) -> Engines:
    """The engines of a machine."""
    more = int(present.second), len(present.movers), int(present.host)
    ends = np.cumsum([N_DMA, len(FIXED_ENGINES) - N_DMA, n_cores, n_clusters, n_clusters, *more]).tolist()
    return Engines(*(range(first, end) for first, end in zip([0, *ends], ends, strict=False)))


def engines_of(program: Program) -> Engines:
    """The engines that a program is for."""
    first = program.first_engine.tolist()
    return Engines(*(range(a, b) for a, b in pairwise(first)))


def engine_names(engines: Engines) -> list[str]:
    """Names of the engines in the order of the program."""
    cores = ["unified"] if len(engines.vectors) == 1 else [f"unified.{c}" for c in range(len(engines.vectors))]
    clusters = range(len(engines.computes))
    more = [FILL] * len(engines.fills) + [MOVERS[number].name for number in engines.movers]
    more += ["host"] * len(engines.arrivals)
    return [*FIXED_ENGINES, *cores, *(f"cluster.{c}" for c in clusters), *(f"drain.{c}" for c in clusters), *more]


def waits_of(program: Program) -> tuple[np.ndarray, np.ndarray]:
    """(command, the one that it waits for) of every dependency of a whole program, by index into ``commands``."""
    command, place = dependencies_of(program)
    waited = program.dependencies[place]
    return command, program.engine_start[waited["engine"]] + waited["count"] - 1


def dependencies_of(program: Program) -> tuple[np.ndarray, np.ndarray]:
    """(command, by index into ``commands``; place in ``dependencies``) of every dependency."""
    n = program.commands["n_dependencies"]
    command = np.repeat(np.arange(len(n)), n)
    return command, np.repeat(program.commands["first_dependency"] - np.cumsum(n) + n, n) + np.arange(len(command))
