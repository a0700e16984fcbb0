"""``etasim validate parity``: an accelerator whose design is public, beside the closed form of its loops (docs/parity.md).

EF-Train keeps a tile of 16 output channels and some rows in its sums while all input channels pass by, 16 at a time. Loading a tile takes
its pixels, halo included, at four words a cycle; multiplying it takes the kernel's positions times its pixels. A load hides behind the tile
before it, but for the first of a pass.
"""

import csv
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from etasim.config import Architecture, InputError, Problem, load_architecture
from etasim.config.catalog import shipped_folder
from etasim.machine import simulate
from etasim.report import systolic
from etasim.report.metrics import summary
from etasim.report.naming import FIDELITY_NAMES
from etasim.report.systolic import comparison
from etasim.workload import INPUT, MAC_PHASES, Layer, Network, Shape, load_network

ARCHITECTURE, NETWORK, FILE = "ef_train_zcu102", "vgg16_bn_imagenet", "parity/ef_train_vgg16.csv"
CHANNELS, WORDS_PER_CYCLE, BYTES = 16, 4, 4
"""Channels of a tile on either side, words of a stream in a cycle, bytes of a word."""

ALL_PHASES_CYCLES = 394_000_000
"""Of the convolutions of FF, BP and WG, by the same loops (derived); rows of BP and WG are not compared one by one."""

PUBLISHED_GFLOPS = 46.99
"""arXiv 2202.10935, abstract; the clock behind it, 100 MHz, is remembered and not verified."""

LAYER_BAR, TOTAL_BAR, RATE_BAR = 3.5, 3.0, 8.0


class PublicLayer(NamedTuple):
    """A convolution of EF-Train: ``instances`` layers of the same shape, maps of ``rows`` x ``rows``; ``cycles`` of its FF on file."""

    layer: str
    instances: int
    inputs: int
    outputs: int
    rows: int
    kernel: int
    tile_rows: int
    cycles: int

    def _tiles(self) -> tuple[int, int]:
        """Tiles of results of a sample, and blocks of inputs."""
        return -(-self.outputs // CHANNELS) * -(-self.rows // self.tile_rows), -(-self.inputs // CHANNELS)

    @property
    def pixel_words(self) -> int:
        """Words of the inputs of a pixel: a block of channels, or as many as hold fewer."""
        return min(CHANNELS, -(-self.inputs // WORDS_PER_CYCLE) * WORDS_PER_CYCLE)

    def forward_cycles(self, batch: int) -> int:
        """The closed form: every tile as large as the first."""
        n_tiles, n_blocks = self._tiles()
        halo = self.kernel - 1
        loading = (self.tile_rows + halo) * (self.rows + halo) * self.pixel_words // WORDS_PER_CYCLE
        return batch * n_tiles * (loading + n_blocks * self.kernel**2 * self.tile_rows * self.rows)

    def forward_bytes(self, batch: int) -> dict[str, int]:
        """DRAM bytes that the loops move: rows of each tile that lie in the map, for every 16 outputs; weights once; results."""
        blocks, reach = (-(-self.outputs // CHANNELS), -(-self.inputs // CHANNELS)), self.kernel // 2
        read = sum(
            min(first + self.tile_rows + reach, self.rows) - max(first - reach, 0) for first in range(0, self.rows, self.tile_rows)
        )
        return {
            "dram_read_activation_bytes": batch * blocks[0] * blocks[1] * read * self.rows * self.pixel_words * BYTES,
            "dram_read_weight_bytes": blocks[0] * blocks[1] * (CHANNELS * self.kernel) ** 2 * BYTES,
            "dram_write_pre_normalization_bytes": batch * blocks[0] * self.rows**2 * CHANNELS * BYTES,
        }


def read_layers(folder: Path) -> list[PublicLayer]:
    """The table of EF-Train's convolutions. Raises InputError if it is not there."""
    path = folder / FILE
    if not path.is_file():
        raise InputError([Problem(str(path), None, "", "is no file; --references names a folder that has it")])
    with path.open(encoding="utf-8", newline="") as file:
        return [PublicLayer(row["layer"], *(int(row[name]) for name in PublicLayer._fields[1:])) for row in csv.DictReader(file)]


def alone(architecture: Architecture, network: Network, layer: str) -> tuple[Architecture, Network]:
    """A convolution of ``network``, with a normalization behind it, as a network of its own, and the machine with its pins alone."""
    own = network[layer]
    shape, out = Shape(own.in_channels, own.in_height, own.in_width), own.out_shape
    norm = Layer(f"{layer}_norm", "norm", (layer,), out.channels, out.channels, out.height, out.width)
    pins = {name: pin for name, pin in architecture.mapping.pins.items() if name == f"{layer}.ff"}
    single = Network(layer, shape, prod(out), (replace(own, inputs=(INPUT,)), norm))
    return architecture.model_copy(update={"mapping": architecture.mapping.with_pins(pins)}), single


def layer_rows(layer: PublicLayer, fidelity: str = "cycle") -> list[dict[str, Any]]:
    """FF of a convolution alone: cycles beside the closed form, DRAM bytes beside those of the loops."""
    machine = load_architecture(ARCHITECTURE)
    result = simulate(*alone(machine, load_network(NETWORK), layer.layer), phases=("ff",), fidelity=fidelity)
    row = next(row for row in result.layers if row["layer"] == layer.layer)
    name = f"EF-Train {layer.layer} ff ({FIDELITY_NAMES[fidelity]})"
    cycles = comparison(f"{name}, cycles", row["cycles"], layer.forward_cycles(machine.training.batch), LAYER_BAR)
    moved = layer.forward_bytes(machine.training.batch)
    own = sum(row[name] for name in moved)
    return [cycles, comparison(f"{name}, DRAM bytes", own, sum(moved.values()), 0.0)]


def iteration_rows(layers: list[PublicLayer], fidelity: str = "analytical") -> Iterator[dict[str, Any]]:
    """The whole iteration: convolutions of FF, of all phases, and the rate."""
    machine, network = load_architecture(ARCHITECTURE), load_network(NETWORK)
    result = simulate(machine, network, fidelity=fidelity)
    of_convolutions = [row for row in result.layers if row["kind"] == "conv"]
    cycles = {phase: sum(row["cycles"] for row in of_convolutions if row["phase"] == phase) for phase in MAC_PHASES}
    forward = sum(each.instances * each.forward_cycles(machine.training.batch) for each in layers)
    yield comparison("EF-Train, convolutions of ff in the iteration, cycles", cycles["ff"], forward, TOTAL_BAR)
    yield comparison("EF-Train, convolutions of ff, bp and wg, cycles", sum(cycles.values()), ALL_PHASES_CYCLES, TOTAL_BAR)
    rate = summary(result).number("throughput_gops")
    yield comparison("EF-Train, GFLOPS at 100 MHz (unverified)", rate, PUBLISHED_GFLOPS, RATE_BAR)


CYCLE_MODEL, ESTIMATE = "cycle", "analytical"
SIMULATED = "conv5_1"
"""The shape that the cycle model simulates: 3.7 M cycles; all 13 layers have 129 M."""


def rows(folder: Path | None = None) -> list[dict[str, Any]]:
    """The rows of ``etasim validate parity``: each shape of EF-Train's FF, and its iteration, by the estimate, one by the cycle model;
    every layer on the arrays of SCALE-Sim and STONNE by the cycle model."""
    layers = read_layers(shipped_folder("references") if folder is None else folder)
    found = [row for layer in layers for row in layer_rows(layer, ESTIMATE)]
    found += [row for layer in layers if layer.layer == SIMULATED for row in layer_rows(layer, CYCLE_MODEL)]
    return [*found, *iteration_rows(layers), *systolic.rows()]
