"""Systolic arrays of SCALE-Sim and STONNE as configurations: cycles of each layer beside their rules of folds and skew (docs/parity.md).

A fold is what the array holds at once. Output stationary: rows of pixels x columns of filters, T = C R S cycles of products; weight
stationary: rows of terms of the sum x columns of filters, T = P Q pixels. Operands come skewed and results leave before the next fold
begins, which takes the same time whatever part of the array a fold fills.
"""

from collections.abc import Callable
from typing import Any

from etasim.config import Architecture, load_architecture
from etasim.machine import simulate
from etasim.workload import Layer, load_network

NETWORK = "resnet20_cifar_a"
"""ResNet20 without projections: 19 convolutions."""


def comparison(name: str, ours: float, reference: float, bar_percent: float) -> dict[str, Any]:
    """A row of `etasim validate`."""
    error = 100.0 * (ours - reference) / reference
    return {
        "name": name, "ours": ours, "reference": reference, "error_percent": error, "bar_percent": bar_percent,
        "pass": abs(error) <= bar_percent,
    }  # fmt: skip


def _folds(a: int, b: int, rows: int, columns: int) -> int:
    return -(-a // rows) * -(-b // columns)


def output_stationary_cycles(layer: Layer, rows: int, columns: int) -> int:
    """SCALE-Sim's: each fold multiplies T terms, and its last PE begins rows + columns - 2 cycles after its first."""
    terms = layer.in_channels * layer.kernel_height * layer.kernel_width
    return _folds(layer.out_height * layer.out_width, layer.out_channels, rows, columns) * (terms + rows + columns - 2)


def weight_stationary_cycles(layer: Layer, rows: int, columns: int) -> int:
    """SCALE-Sim's: before the T pixels of a fold come its weights, row by row; pixels come skewed, sums leave at the last column."""
    terms, pixels = layer.in_channels * layer.kernel_height * layer.kernel_width, layer.out_height * layer.out_width
    return _folds(terms, layer.out_channels, rows, columns) * (pixels + 2 * rows + columns - 2)


def mesh_cycles(layer: Layer, rows: int, columns: int) -> int:
    """STONNE's output-stationary mesh whose tiles are full: as SCALE-Sim's, and five cycles to configure a tile and collect its results."""
    terms = layer.in_channels * layer.kernel_height * layer.kernel_width
    return _folds(layer.out_height * layer.out_width, layer.out_channels, rows, columns) * (terms + rows + columns + 3)


RULES: dict[str, tuple[Callable[[Layer, int, int], int], Callable[[Architecture], int]]] = {
    "scale_sim_os": (output_stationary_cycles, lambda machine: machine.array.columns),
    "scale_sim_ws": (weight_stationary_cycles, lambda machine: machine.array.lanes),
    "stonne_os_mesh": (mesh_cycles, lambda machine: machine.array.columns),
}
"""By configuration: the rule, and how many rows the array has; its columns are PEs."""


def rows() -> list[dict[str, Any]]:
    """Cycles in which the array multiplies, fills or drains, of each layer and array."""
    found, network = [], load_network(NETWORK)
    for name, (rule, rows_of) in RULES.items():
        machine = load_architecture(name)
        for row in simulate(machine, network, phases=("ff",)).layers:
            if row["kind"] == "conv":
                ours = row["cluster_busy_cycles"] + row["fill_drain_cycles"]
                reference = rule(network[row["layer"]], rows_of(machine), machine.array.pes_per_cluster)
                found.append(comparison(f"{name} {row['layer']} ff (cycle model), cycles", ours, reference, 0.0))
    return found
