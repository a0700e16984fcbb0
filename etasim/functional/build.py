"""Builds the functional machine of a mapped iteration: tables of numbers, geometry and operations."""

from collections.abc import Mapping as Dictionary

import numpy as np

from etasim.config import Architecture
from etasim.config.data import CODES
from etasim.functional.activations import number_of
from etasim.functional.execute import Functional
from etasim.functional.memories import memories
from etasim.functional.multiply import Formats
from etasim.functional.packing import Key, Packing
from etasim.functional.results import RESULT, Results
from etasim.functional.tables import UNIT, UNSEEN, Constants, CoreValues, Tensors, core_values, registers
from etasim.mapping import Mapping
from etasim.numerics.arithmetic import exponential_table, integer_limit, integer_unit, normal, reciprocal_table
from etasim.numerics.format import Code, SquareFormat, TableFormat
from etasim.numerics.running import running_share
from etasim.numerics.scheme import Scheme
from etasim.program.roles import ROLES, tensor_number
from etasim.schedule.array import array_of
from etasim.workload import Network

SURVIVING = ("weight", "master_weight", "momentum", "parameter", "parameter_momentum", "spread", "radial")
"""Roles of tensors that an iteration finds and leaves."""

PLAIN = ("mask", "window", "label")
"""Roles of tensors without an exponent: their integers are what they are."""

PRODUCTS = {"ff": ("output", "weight"), "bp": ("error", "weight"), "wg": ("output", "error")}
"""Roles of the operands (streamed, stationary) of each phase."""

FORMAT_OF_ROLE = {"output": 0, "weight": 1, "error": 2}


class TableBuilder:
    """Tables of an iteration of ``network``; exponents come as ``found`` (by key: what survives, and the input) and ``written`` (all)."""

    def __init__(self, architecture: Architecture, network: Network, mapping: Mapping, scheme: Scheme) -> None:
        self.architecture, self.network, self.mapping, self.scheme = architecture, network, mapping, scheme
        assert mapping.layout is not None, "a program written by hand has no values"
        self.layout = mapping.layout
        self.units, self.lanes, self.batch = self.layout.units, self.layout.lanes, self.layout.batch
        self.packing = Packing(self.layout)
        self.possible_keys: list[Key] = [(index, role) for index in range(-1, len(self.units)) for role in ROLES]

    def form(self, key: Key) -> Code | int:
        """Format of a tensor's codes, or the bits of its integers."""
        if key[1] in PLAIN:
            return self.layout.tensors[key].content.bits if key in self.layout.tensors else 1
        return self.scheme.format(key[1])

    def bits(self, key: Key) -> int:
        """Bits of an element in memory."""
        form = self.form(key)
        return form if isinstance(form, int) else form.bits

    def tensors(self, found: Dictionary[Key, int], written: Dictionary[Key, int]) -> Tensors:
        """Numbers of all tensors; an exponent that nobody gives belongs to a tensor that nobody touches."""
        n = (len(self.units) + 1) * len(ROLES)
        columns = {name: np.zeros(n, np.int64) for name in Tensors._fields[:-3]}
        tables = list({getattr(self.scheme, name): None for name in CODES if isinstance(getattr(self.scheme, name), TableFormat)})
        for key in self.possible_keys:
            number, form = tensor_number(*key), self.form(key)
            columns["bits"][number] = self.bits(key)
            columns["table"][number] = tables.index(form) if isinstance(form, TableFormat) else -1
            if isinstance(form, TableFormat):
                columns["segments"][number] = 1
            elif isinstance(form, SquareFormat):
                columns["row_elements"][number] = self.row_elements(key)
            elif not isinstance(form, int):
                columns["segments"][number], columns["magnitude_bits"][number] = form.segments, form.magnitude_bits
            columns["read_unit"][number] = self.unit(key, found.get(key, written.get(key, 0)))
            columns["write_unit"][number] = self.unit(key, written.get(key, found.get(key, 0)))
        sizes = np.array([len(code.magnitudes) for code in tables], np.int64)
        magnitudes = np.zeros((len(tables), sizes.max(initial=0)), np.int64)
        for row, code in zip(magnitudes, tables, strict=True):
            row[: len(code.magnitudes)] = code.magnitudes
        return Tensors(**columns, seen=np.full(n, UNSEEN), magnitudes=magnitudes, n_magnitudes=sizes)

    def row_elements(self, key: Key) -> int:
        """Elements of a row of codes that share scales; 0 for a tensor that there is not."""
        tensor = self.layout.tensors.get(key)
        return 0 if tensor is None or tensor.content.stored is None else tensor.content.stored.row_elements

    def unit(self, key: Key, exponent: int) -> int:
        """The integer i stands for i * 2^unit."""
        form = self.form(key)
        return integer_unit(exponent, form) if isinstance(form, int) else form.unit(exponent)

    def n_contributions(self, index: int) -> int:
        """Readers of a unit's output that need an error."""
        return sum(self.units[reader].needs_error for reader in self.units[index].consumers)

    def unit_table(self) -> np.ndarray:
        """Geometry of all units, of UNIT."""
        table = np.zeros(len(self.units), UNIT)
        first_block = 0
        for unit, row in zip(self.units, table, strict=True):
            head = unit.head
            for name in ("kernel", "stride", "pad", "in", "out"):
                for axis in ("height", "width"):
                    row[f"{name}_{axis}"] = getattr(head, f"{name}_{axis}")
            row["activation"] = number_of(unit.activation.kind) if unit.activation else 0
            row["has_bias"] = head.bias and unit.norm is None
            row["n_contributions"] = max(self.n_contributions(unit.index), 1)
            row["first_block"], row["n_blocks"] = first_block, self.layout.blocks[unit.index]
            first_block += self.layout.blocks[unit.index]
        return table

    def filters(self, table: np.ndarray) -> np.ndarray:
        """Input channels of the units with a running scale, one unit behind the other; ``table``, of UNIT, gets what their filters need."""
        channels: list[np.ndarray] = [np.zeros(0, np.int64)]
        for unit, row in zip(self.units, table, strict=True):
            if unit.norm is None or not self.scheme.is_running:
                continue
            head, groups, source = unit.head, self.layout.groupings[unit.index], self.packing.channels[unit.inputs[0]]
            weights = self.layout.tensors.get((unit.index, "weight"))
            row["filter_weights"] = unit.head.weights // head.out_channels
            row["input_blocks"], row["output_blocks"] = groups.input_blocks, groups.output_blocks
            if weights is not None:
                row["positions"] = weights.content.plane_elements // (groups.input_blocks * self.lanes**2)
            row["first_input"] = sum(map(len, channels))
            if head.groups > 1:
                row["group_outputs"], row["group_inputs"] = head.out_channels // head.groups, head.in_channels // head.groups
            count = self.batch * head.out_height * head.out_width
            row["radial_mantissa"], row["radial_shift"] = normal(running_share(self.batch) / count)
            channels.append(source)
        return np.concatenate(channels).astype(np.int64)

    def core(self, tensors: Tensors, error_buffer: np.ndarray) -> CoreValues:
        """What the unified core works on."""
        units, scheme = self.unit_table(), self.scheme
        inputs = self.filters(units)
        lanes_of = [(self.packing.channels[unit.index].reshape(-1, self.lanes) >= 0).sum(axis=1) for unit in self.units]
        table = reciprocal_table() if scheme.reciprocal == "table" else np.zeros(0, np.int64)
        constants = Constants(
            group=scheme.normalization_group,
            reciprocal_table=table.astype(np.int64),
            rate=np.array(normal(scheme.learning_rate / self.batch), np.int64),
            decay=np.array(normal(scheme.weight_decay * self.batch) if scheme.weight_decay else (0, 0), np.int64),
            momentum=round(scheme.momentum * 2**16),
            exponential_table=exponential_table().astype(np.int64),
            running_share=round(running_share(self.batch) * 2**16),
        )
        valid = np.concatenate(lanes_of).astype(np.int64)
        return core_values(
            error_buffer, tensors, units, valid, registers(len(valid), self.batch, self.lanes), constants,
            self.lanes, self.batch, array_of(self.architecture).word_bytes, inputs,
        )  # fmt: skip

    @property
    def integers(self) -> np.dtype:
        """What holds the integers of all codes: 32 bits, but for floating point of wide range."""
        narrow = np.iinfo(np.int32).max
        return np.dtype(np.int32 if all(getattr(self.scheme, name).greatest <= narrow for name in CODES) else np.int64)

    def formats(self) -> Formats:
        """Decoding of the array's operands."""
        codes = [getattr(self.scheme, name) for name in CODES]
        tables = np.zeros((len(codes), 1 << max(code.bits for code in codes)), self.integers)
        for row, code in zip(tables, codes, strict=True):
            row[: 1 << code.bits] = code.table
        kinds = [[FORMAT_OF_ROLE[role] for role in PRODUCTS.get(op.phase, ("output", "output"))] for op in self.mapping.operations]
        has_squares = np.array([isinstance(code, SquareFormat) for code in codes], np.int64)
        return Formats(tables, np.array([code.bits // 8 for code in codes], np.int64), has_squares, np.array(kinds, np.int64))

    def results(self, tensors: Tensors) -> Results:
        """What the sums of each convolution become in each phase."""
        table = np.zeros(len(self.mapping.operations), RESULT)
        table["summed_unit"] = table["centred_unit"] = -1
        channels: list[np.ndarray] = [np.zeros(1, np.int64)]
        for operation, row in zip(self.mapping.operations, table, strict=True):
            unit = self.units[operation.unit]
            if operation.phase not in PRODUCTS or not unit.is_convolution or operation.layer != unit.name:
                continue
            source = unit.inputs[0]
            if operation.phase == "bp" and not self.network.has_input_gradient(unit.name):
                continue
            operands = {"output": (source, "output"), "weight": (unit.index, "weight"), "error": (unit.index, "error")}
            result = {"ff": (unit.index, "pre_normalization"), "bp": (source, "partial"), "wg": (unit.index, "weight_gradient")}
            key = result[operation.phase]
            row["tensor"] = tensor_number(*key)
            row["sum_unit"] = sum(tensors.read_unit[tensor_number(*operands[role])] for role in PRODUCTS[operation.phase])
            row["n_contributions"] = self.n_contributions(source) if operation.phase == "bp" else 1
            row["limit"] = integer_limit(self.bits(key)) // int(row["n_contributions"])
            row["bytes"] = self.bits(key) // 8
            drains_sums = self.architecture.unified_core.lane.drained_sums and not self.scheme.is_running
            if operation.phase == "ff" and unit.norm is not None and drains_sums:
                row["summed_unit"] = unit.index
            if operation.phase == "wg" and unit.norm is not None and self.scheme.is_running:
                row["centred_unit"] = unit.index
            if operation.phase == "wg" and unit.head.groups > 1:
                row["group_outputs"] = unit.head.out_channels // unit.head.groups
                row["group_inputs"] = unit.head.in_channels // unit.head.groups
                row["first_channel"] = sum(map(len, channels))
                channels.append(self.packing.channels[source])
        return Results(table, np.concatenate(channels).astype(np.int64))

    def machine(self, found: Dictionary[Key, int], written: Dictionary[Key, int]) -> Functional:
        """A functional machine with empty memories."""
        array, program = array_of(self.architecture), self.mapping.program
        image_bytes = max(t.address + t.n_blocks * t.pitch_bytes for t in self.mapping.tensors)
        held = memories(program, image_bytes, array.buffer_bytes, array.word_bytes, self.lanes, self.integers)
        tensors = self.tensors(found, written)
        node_of = self.architecture.noc.placement.clusters
        reaches = np.array([[node in route.destinations for node in node_of] for route in self.mapping.routes])
        return Functional(held, self.core(tensors, held.error), self.formats(), self.results(tensors), program, reaches)
