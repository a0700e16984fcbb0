"""Lowering: a network becomes units, each one step of the machine forward and backward.

A unit is a layer with what can follow it without leaving the chip: a normalization that only it feeds, then a ReLU
that only that feeds. Units are listed in topological order; BP visits them in reverse.
"""

from dataclasses import dataclass
from functools import lru_cache

from etasim.workload.graph import INPUT
from etasim.workload.layer import MAC_KINDS, Layer
from etasim.workload.network import Network

PHASES = ("ff", "bp", "wg", "wu")


@dataclass(frozen=True)
class Unit:
    """``head`` with its fused ``norm`` and ``relu``; ``inputs`` are indices of units, -1 the network's input.

    ``needs_error``: something before it, or in it, is trained.
    """

    index: int
    head: Layer
    norm: Layer | None
    relu: Layer | None
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
        return self.head.kind in MAC_KINDS

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The fused layers in order."""
        return tuple(layer for layer in (self.head, self.norm, self.relu) if layer is not None)


@lru_cache(maxsize=64)
def lower(network: Network) -> tuple[Unit, ...]:
    """Units of ``network`` in topological order."""
    groups: list[list[Layer]] = []
    taken: set[str] = set()
    for layer in network.layers:
        if layer.name not in taken:
            groups.append(_fuse(network, layer))
            taken.update(member.name for member in groups[-1])
    unit_of = {member.name: i for i, group in enumerate(groups) for member in group}
    unit_of[INPUT] = -1
    consumers: list[list[int]] = [[] for _ in groups]
    for i, group in enumerate(groups):
        for name in group[0].inputs:
            if unit_of[name] >= 0:
                consumers[unit_of[name]].append(i)
    return tuple(_unit(network, i, group, unit_of, consumers[i]) for i, group in enumerate(groups))


def _fuse(network: Network, head: Layer) -> list[Layer]:
    """``head`` and the normalization and ReLU that only it, or only they, feed."""
    group = [head]
    follow = {"conv": ("norm", "relu"), "linear": ("norm", "relu"), "norm": ("relu",), "add": ("relu",)}.get(head.kind, ())
    for kind in follow:
        readers = network.consumers(group[-1].name)
        if len(readers) == 1 and readers[0].kind == kind:
            group.append(readers[0])
    return group


def _unit(network: Network, index: int, group: list[Layer], unit_of: dict[str, int], consumers: list[int]) -> Unit:
    head = group[0]
    trained = any(layer.parameters for layer in group) or network.has_input_gradient(head.name)
    return Unit(
        index=index,
        head=head,
        norm=next((layer for layer in group if layer.kind == "norm"), None),
        relu=next((layer for layer in group if layer.kind == "relu"), None),
        inputs=tuple(unit_of[name] for name in head.inputs),
        consumers=tuple(consumers),
        needs_error=trained,
    )
