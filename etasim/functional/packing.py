"""How tensors lie in DRAM: from logical arrays to bytes and back. The layout is that of `etasim.mapping.tensors`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from etasim.functional import squares
from etasim.mapping.folding import Fold
from etasim.mapping.tensors import Content, Tensor
from etasim.mapping.values import Layout
from etasim.schedule.tiling import ceil_div

MAPS = ("output", "pre_normalization", "mask", "window", "error", "partial")
PER_CHANNEL = (
    "statistic", "parameter", "parameter_gradient", "parameter_momentum", "magnitude", "spread", "radial", "filter_mean",
)  # fmt: skip
BYTE_BITS = 8

Key = tuple[int, str]
"""Unit (-1: the network's input) and role (`etasim.program.roles.ROLES`)."""


class Packing:
    """Places of all values of an iteration.

    ``channels[unit]`` [block * lanes + lane]: the channel that lies there, -1 for none; ``unit`` -1 is the network's input.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.channels: Mapping[int, np.ndarray] = {index: self._channels(dense) for index, dense in layout.dense_channels.items()}

    def _channels(self, dense: tuple[int, ...]) -> np.ndarray:
        """Channels that follow each other, ``dense`` of them at a time in blocks of their own."""
        lanes, first, parts = self.layout.lanes, 0, []
        for n_channels in dense:
            part = np.full(ceil_div(n_channels, lanes) * lanes, -1)
            part[:n_channels] = first + np.arange(n_channels)
            parts.append(part)
            first += n_channels
        return np.concatenate(parts)

    def places(self, index: int) -> np.ndarray:
        """Where each channel lies: block * lanes + lane; shape [channels]."""
        return np.flatnonzero(self.channels[index] >= 0)

    def pack(self, key: Key, array: np.ndarray) -> np.ndarray:
        """Elements (codes, or integers) of a logical array as they lie in DRAM: [block, plane, element], zero where no value is."""
        index, role = key
        if role == "label":
            return array[None, None, :]
        if role in MAPS:
            return self._pack_maps(index, self.layout.fold.inputs(array) if index < 0 and self.layout.fold else array)
        if role in PER_CHANNEL:
            return self._pack_channels(index, array.reshape(self._rows(key), -1, array.shape[-1]))
        elements = np.zeros(self._weights_shape(index), array.dtype)
        if fold := self._fold_of(index):
            array = fold.weights(array)
        elements[self._weight_places(index)] = array.reshape(*array.shape[:2], -1)
        return elements.reshape(len(elements), 1, -1)

    def unpack(self, key: Key, elements: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The logical array of ``shape`` whose elements lie as [block, plane, element]; not of the input, which nothing changes."""
        index, role = key
        lanes = self.layout.lanes
        n_blocks, n_planes, _ = elements.shape
        if role == "label":
            return elements.reshape(shape)
        if role in MAPS:
            physical = elements.reshape(n_blocks, n_planes, -1, lanes).transpose(0, 3, 1, 2).reshape(n_blocks * lanes, n_planes, -1)
            return physical[self.places(index)].transpose(1, 0, 2).reshape(shape)
        if role in PER_CHANNEL:
            n_rows = self._rows(key)
            physical = elements.reshape(n_blocks, n_planes, n_rows, lanes).transpose(2, 1, 0, 3).reshape(n_rows, n_planes, -1)
            return physical[:, :, self.places(index)].reshape(shape)
        weights = elements.reshape(self._weights_shape(index))[self._weight_places(index)]
        fold = self._fold_of(index)
        return (fold.unfolded(weights) if fold else weights).reshape(shape)

    def _fold_of(self, index: int) -> Fold | None:
        """The fold of the network's input, if a unit is the first layer and there is one."""
        fold = self.layout.fold
        return fold if fold is not None and self.layout.units[index].head is fold.head else None

    def _pack_maps(self, index: int, array: np.ndarray) -> np.ndarray:
        """[N, C, H, W] -> [block, sample, pixel * lanes + lane]."""
        lanes, n_places = self.layout.lanes, len(self.channels[index])
        samples = array.shape[0]
        physical = np.zeros((n_places, samples, array.shape[2] * array.shape[3]), array.dtype)
        physical[self.places(index)] = array.reshape(*array.shape[:2], -1).transpose(1, 0, 2)
        return physical.reshape(n_places // lanes, lanes, samples, -1).transpose(0, 2, 3, 1).reshape(n_places // lanes, samples, -1)

    def _rows(self, key: Key) -> int:
        """Values of each channel in a tensor of PER_CHANNEL."""
        return self.layout.tensors[key].content.plane_elements // self.layout.lanes

    def _pack_channels(self, index: int, array: np.ndarray) -> np.ndarray:
        """[rows, planes, C] -> [block, plane, (lanes of the first row, of the second, ...)]."""
        lanes, n_places = self.layout.lanes, len(self.channels[index])
        physical = np.zeros((*array.shape[:2], n_places), array.dtype)
        physical[:, :, self.places(index)] = array
        by_block = physical.reshape(len(array), -1, n_places // lanes, lanes).transpose(2, 1, 0, 3)
        return by_block.reshape(n_places // lanes, -1, len(array) * lanes)

    def _weights_shape(self, index: int) -> tuple[int, ...]:
        """[output block, input block of the group, kernel position, output lane, input lane]."""
        groups, lanes = self.layout.groupings[index], self.layout.lanes
        plane = self.layout.tensors[index, "weight"].content.plane_elements
        positions = plane // (groups.input_blocks * lanes**2)
        return groups.n_groups * groups.output_blocks, groups.input_blocks, positions, lanes, lanes

    def _weight_places(self, index: int) -> tuple[Any, ...]:
        """Index of the weights [K, C / groups] of a unit into an array of `_weights_shape`, kernel positions last."""
        unit, groups, lanes = self.layout.units[index], self.layout.groupings[index], self.layout.lanes
        outputs, inputs = self.places(index), self.places(unit.inputs[0])
        per_input = len(inputs) // unit.head.groups
        output = np.arange(len(outputs))[:, None]
        channel = output // (len(outputs) // unit.head.groups) * per_input + np.arange(per_input)[None, :]
        place = inputs[channel]
        first_block = output // (groups.output_blocks * lanes) * groups.input_blocks if groups.n_groups > 1 else 0
        return output // lanes, place // lanes - first_block, slice(None), output % lanes, place % lanes


def to_bytes(elements: np.ndarray, content: Content) -> np.ndarray:
    """Bytes of [block, plane, element] as [block, plane, byte]: little endian, two's complement, small elements from the lowest bit on."""
    if content.stored is not None:
        return squares.to_bytes(elements, content.stored.row_elements)
    if content.bits >= BYTE_BITS:
        return np.ascontiguousarray(elements.astype(f"<i{content.bits // BYTE_BITS}")).view(np.uint8)
    per_byte = BYTE_BITS // content.bits
    padded = np.zeros((*elements.shape[:2], content.plane_bytes * per_byte), np.uint8)
    padded[:, :, : elements.shape[2]] = elements
    shifts = (np.arange(per_byte) * content.bits).astype(np.uint8)
    return np.bitwise_or.reduce(padded.reshape(*elements.shape[:2], -1, per_byte) << shifts, axis=-1)


def from_bytes(data: np.ndarray, content: Content, signed: bool) -> np.ndarray:
    """Elements [block, plane, element], int64, of bytes [block, plane, byte]."""
    if content.stored is not None:
        return squares.from_bytes(data, content.stored.row_elements)
    if content.bits >= BYTE_BITS:
        kind = f"<{'i' if signed else 'u'}{content.bits // BYTE_BITS}"
        return np.ascontiguousarray(data).view(kind).astype(np.int64)
    per_byte = BYTE_BITS // content.bits
    shifts = np.arange(per_byte) * content.bits
    elements = (data[..., None].astype(np.int64) >> shifts) & ((1 << content.bits) - 1)
    return elements.reshape(*data.shape[:2], -1)[:, :, : content.plane_elements]


def region(image: np.ndarray, tensor: Tensor) -> np.ndarray:
    """The bytes of ``tensor`` in DRAM as a view [block, plane, byte]."""
    end = tensor.address + tensor.n_blocks * tensor.pitch_bytes
    planes = image[tensor.address : end].reshape(tensor.n_blocks, tensor.n_planes, tensor.plane_pitch_bytes)
    return planes[:, :, : tensor.plane_bytes]
