"""A unified core without a machine: tensors lie in a buffer of bytes, a command runs, and its results are read back.

Maps are arrays of integers [block, sample, element] as they are stored; element = pixel * lanes + lane.
"""

from dataclasses import dataclass

import numpy as np
from exact_arithmetic import EXPONENTIALS, RECIPROCALS, Codes, Integers, exponent

from etasim.functional import tables
from etasim.functional.passes import execute_pass
from etasim.ops.passes import pass_number
from etasim.program.commands import MAX_READS, OPERANDS, VECTOR
from etasim.program.roles import ROLES, tensor_number

WORD_BYTES = 8
PER_BLOCK = ROLES[ROLES.index("weight") :]
CODES = ("output", "error", "weight")
PLAIN = {"mask": 1, "window": 4, "label": 32}


@dataclass
class Stored:
    """A tensor, or a part of it, in the buffer: ``data`` [run, element] as stored; ``first_element`` of each plane."""

    unit: int
    role: str
    data: np.ndarray
    first_element: int = 0
    address: int = -1


class Bench:
    """``units``: dictionaries of the fields of UNIT that differ from a map of one pixel, and ``channels``."""

    def __init__(self, units, lanes=4, batch=2, group=2, by_table=True, piece_elements=48, bits=8, segments=2, seed=0,
                 rate=(40000, 20), decay=(0, 0), momentum=58982, buffer_bytes=1 << 16):  # fmt: skip
        self.rng = np.random.default_rng(seed)
        self.lanes, self.batch, self.group, self.by_table = lanes, batch, group, by_table
        self.channels = [unit["channels"] for unit in units]
        self.units = self._units(units)
        n_tensors = (len(units) + 1) * len(ROLES)
        self.formats = {}
        *columns, _, _ = tables.Tensors._fields
        tensors = tables.Tensors(
            **{name: np.zeros(n_tensors, np.int64) for name in columns}, magnitudes=np.zeros((1, 1), np.int64), n_magnitudes=np.ones(1, int)
        )
        tensors.table[:] = -1
        for unit in range(-1, len(units)):
            for role in ROLES:
                self._format(tensors, unit, role, bits, segments)
        tensors.seen[:] = tables.UNSEEN
        valid = [min(lanes, c - b * lanes) for c in self.channels for b in range(-(-c // lanes))]
        values = tables.core_values(
            buffer=np.full(buffer_bytes, 0xA5, np.uint8),
            tensors=tensors,
            units=self.units,
            valid_lanes=np.array(valid),
            registers=tables.registers(len(valid), batch, lanes),
            constants=tables.Constants(
                group=group,
                reciprocal_table=np.array(RECIPROCALS if by_table else [], np.int64),
                rate=np.array(rate),
                decay=np.array(decay),
                momentum=momentum,
                exponential_table=np.array(EXPONENTIALS),
            ),
            lanes=lanes,
            batch=batch,
            word_bytes=WORD_BYTES,
        )
        self.values = values._replace(pieces=np.zeros((OPERANDS, piece_elements), np.int64))
        self._free_word = 1

    def _units(self, units):
        rows = np.zeros(len(units), tables.UNIT)
        first = 0
        for row, unit in zip(rows, units, strict=True):
            for name in ("in_height", "in_width", "out_height", "out_width", "kernel_height", "kernel_width", "stride_height",
                         "stride_width", "n_contributions"):  # fmt: skip
                row[name] = 1
            for name, value in unit.items():
                if name != "channels":
                    row[name] = value
            row["first_block"], row["n_blocks"] = first, -(-unit["channels"] // self.lanes)
            first += row["n_blocks"]
        return rows

    def _format(self, tensors, unit, role, bits, segments):
        number = tensor_number(unit, role)
        read, write = self.rng.integers(-20, -8, 2)
        survives = role in ("weight", "master_weight", "momentum", "parameter", "parameter_momentum")
        tensors.read_unit[number], tensors.write_unit[number] = read, write if survives else read
        tensors.bits[number] = bits if role in CODES else PLAIN.get(role, 16)
        if role in CODES:
            tensors.segments[number] = segments
            tensors.magnitude_bits[number] = Codes(bits, segments, 0).magnitude_bits

    def set_unit(self, unit, role, value):
        """Let a tensor's integers stand for i * 2^value, before and after."""
        number = tensor_number(unit, role)
        self.values.tensors.read_unit[number] = self.values.tensors.write_unit[number] = value

    def format(self, unit, role, written=False):
        """Format of a tensor that the iteration finds, or writes."""
        tensors, number = self.values.tensors, tensor_number(unit, role)
        value = int((tensors.write_unit if written else tensors.read_unit)[number])
        bits, segments = int(tensors.bits[number]), int(tensors.segments[number])
        return Codes(bits, segments, value) if segments else Integers(bits, value)

    def seen(self, unit, role):
        """Exponent seen, None if none."""
        value = int(self.values.tensors.seen[tensor_number(unit, role)])
        return None if value == tables.UNSEEN else value

    def n_blocks(self, unit):
        return int(self.units[unit]["n_blocks"])

    def exists(self, unit, block, element):
        """Whether an element of a map lies in a channel of ``unit``."""
        return block * self.lanes + element % self.lanes < self.channels[unit]

    def random_map(self, unit, role, pixels, formatted_as=None):
        """Any elements of a format (of unit ``formatted_as``) in the channels of ``unit``: many extremes, many zeros."""
        form = self.format(unit if formatted_as is None else formatted_as, role)
        shape = (self.n_blocks(unit), self.batch, pixels * self.lanes)
        data = self.random(form, shape, role)
        for b, e in np.ndindex(shape[0], shape[2]):
            if not self.exists(unit, b, e):
                data[b, :, e] = 0
        return data

    def random_parameters(self, unit):
        """Any scales and offsets [block, 1, element], zero where the channel does not exist."""
        data = self.random(self.format(unit, "parameter"), (self.n_blocks(unit), 1, 2 * self.lanes))
        for b, e in np.ndindex(data.shape[0], data.shape[2]):
            if not self.exists(unit, b, e):
                data[b, :, e] = 0
        return data

    def random(self, form, shape, role=""):
        """Any elements of a format."""
        if isinstance(form, Codes):
            return np.vectorize(lambda code: code if form.integer(code) else 0)(self.rng.integers(0, 2**form.bits, shape))
        if role in PLAIN:
            return self.rng.integers(0, 2**form.bits, shape)
        limit, size = 2 ** (form.bits - 1) - 1, self.rng.choice(3, shape, p=(0.5, 0.3, 0.2))
        large, small, sign = self.rng.integers(-limit, limit + 1, shape), self.rng.integers(-9, 10, shape), self.rng.integers(0, 2, shape)
        return np.choose(size, [large, small, limit * (2 * sign - 1)])

    def _bits(self, stored):
        return int(self.values.tensors.bits[tensor_number(stored.unit, stored.role)])

    def place(self, stored):
        """Write the runs to their place; give them one if they have none."""
        bits = self._bits(stored)
        shifts = np.arange(bits)
        raw = (stored.data.reshape(-1, stored.data.shape[-1])[..., None] >> shifts & 1).reshape(-1, stored.data.shape[-1] * bits)
        packed = np.packbits(raw.astype(np.uint8), axis=1, bitorder="little").ravel()
        if stored.address < 0:
            stored.address = self._free_word
            self._free_word += -(-len(packed) // WORD_BYTES) + 1
        start = stored.address * WORD_BYTES
        self.values.buffer[start : start + len(packed)] = packed

    def _fetch(self, stored):
        """Elements of the runs as they now are."""
        bits, shape = self._bits(stored), stored.data.shape
        n_runs, run_bytes = int(np.prod(shape[:-1])), -(-shape[-1] * bits // 8)
        start = stored.address * WORD_BYTES
        packed = self.values.buffer[start : start + n_runs * run_bytes].reshape(n_runs, run_bytes)
        raw = np.unpackbits(packed, axis=1, bitorder="little", count=shape[-1] * bits).reshape(n_runs, shape[-1], bits)
        data = (raw.astype(np.int64) << np.arange(bits)).sum(axis=-1).reshape(shape)
        is_signed = stored.role not in (*CODES, "mask", "window")
        return np.where(data >> (bits - 1) & 1, data - (1 << bits), data) if is_signed else data

    def prepare(self, kind, unit, reads, writes=(), blocks=None, samples=None):
        """A function that executes a command. A result with the address of an operand takes its place."""
        blocks, samples = blocks or (0, self.n_blocks(unit)), samples or (0, self.batch)
        vectors = np.zeros(2, VECTOR)
        row = vectors[1]
        row["kind"], row["unit"] = pass_number(kind), unit
        row["n_reads"], row["n_writes"] = len(reads), len(writes)
        row["first_block"], row["n_blocks"] = blocks[0], blocks[1] - blocks[0]
        row["first_sample"], row["n_samples"] = samples[0], samples[1] - samples[0]
        for stored in reads:
            self.place(stored)
        for stored in writes:
            if stored.address < 0:
                stored.data = np.full_like(stored.data, -1)
                self.place(stored)
        for i, stored in [*enumerate(reads), *enumerate(writes, MAX_READS)]:
            row["address"][i], row["tensor"][i] = stored.address, tensor_number(stored.unit, stored.role)
            row["first_element"][i], row["n_elements"][i] = stored.first_element, stored.data.shape[-1]
        return lambda: execute_pass(self.values, vectors, 1)

    def run(self, kind, unit, reads, writes=(), blocks=None, samples=None):
        """Execute a command; returns what lies where the results are."""
        self.prepare(kind, unit, reads, writes, blocks, samples)()
        return [self._fetch(stored) for stored in writes]

    def configure(self, unit, role, data):
        """Bring parameters [block, 1, element] or statistics [block, sample, element] of all blocks of a unit."""
        self.run("configure", unit, [Stored(unit, role, data)])


def seen_of(values):
    """Greatest exponent of (value, unit) pairs, None if all are zero."""
    return max((exponent(v, u) for v, u in values if v), default=None)
