"""Lowering: a network becomes units, each one step of the machine forward and backward.

A unit is a layer with what can follow it without leaving the chip: a normalization that only it feeds, then an activation
that only that feeds. Units are listed in topological order; BP visits them in reverse.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from etasim.ops import ACTIVATION, NORMALIZATION, OPERATIONS
from etasim.workload.graph import INPUT
from etasim.workload.layer import Layer
from etasim.workload.network import Network

PHASES = ("ff", "bp", "wg", "wu")
Node = TypeVar("Node")


@dataclass(frozen=True)
class Unit:
    """``head`` with its fused ``norm`` and ``activation``; ``inputs`` are indices of units, -1 the network's input.

    ``needs_error``: something before it, or in it, is trained.
    """

    index: int
    head: Layer
    norm: Layer | None
    activation: Layer | None
    inputs: tuple[int, ...]
    consumers: tuple[int, ...]
    needs_error: bool

    @property
    def name(self) -> str:
        """Name of the layer that heads the unit."""
        return self.head.name

    @property
    def is_convolution(self) -> bool:
        """Whether the PE array computes the head."""
        return self.head.schema.on_array

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The fused layers in order."""
        return tuple(layer for layer in (self.head, self.norm, self.activation) if layer is not None)


@lru_cache(maxsize=64)
def lower(network: Network) -> tuple[Unit, ...]:
    """Units of ``network`` in topological order."""
    groups: list[list[Layer]] = []
    taken: set[str] = set()
    for layer in network.layers:
        if layer.name not in taken:
            groups.append(fused(layer, lambda member: member.kind, lambda member: network.consumers(member.name)))
            taken.update(member.name for member in groups[-1])
    unit_of = {member.name: i for i, group in enumerate(groups) for member in group}
    unit_of[INPUT] = -1
    consumers: list[list[int]] = [[] for _ in groups]
    for i, group in enumerate(groups):
        for name in group[0].inputs:
            if unit_of[name] >= 0:
                consumers[unit_of[name]].append(i)
    return tuple(_unit(network, i, group, unit_of, consumers[i]) for i, group in enumerate(groups))


def fused(head: Node, kind_of: Callable[[Node], str], readers_of: Callable[[Node], Sequence[Node]]) -> list[Node]:
    """``head`` and what follows it on the chip: a normalization and an activation that only it, or only they, feed."""
    group = [head]
    for role in OPERATIONS[kind_of(head)].fuses:
        readers = readers_of(group[-1])
        if len(readers) == 1 and OPERATIONS[kind_of(readers[0])].fused_as == role:
            group.append(readers[0])
    return group


def _unit(network: Network, index: int, group: list[Layer], unit_of: dict[str, int], consumers: list[int]) -> Unit:
    head = group[0]
    trained = any(layer.parameters for layer in group) or network.has_input_gradient(head.name)
    return Unit(
        index=index,
        head=head,
        norm=next((layer for layer in group if layer.schema.fused_as == NORMALIZATION), None),
        activation=next((layer for layer in group if layer.schema.fused_as == ACTIVATION), None),
        inputs=tuple(unit_of[name] for name in head.inputs),
        consumers=tuple(consumers),
        needs_error=trained,
    )
