"""The section ``noc``: topology, links, routers, and where clusters and buffer ports sit."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from etasim.config.base import MOST_NODES, Delay, Latency, NameIn, Node, Nodes, Section, Slots, Switch, Violation, require
from etasim.config.energy import ActionEnergy
from etasim.config.units import Width
from etasim.core.registry import ROUTING_POLICIES, TOPOLOGIES

LONGEST_ALLOCATION = 31
"""Cycles: a router remembers as many, in the bits of a word (`etasim.noc.buffers`)."""

AllocationDelay = Annotated[int, Field(strict=True, ge=1, le=LONGEST_ALLOCATION)]


class Router(Section):
    """Cycles of each stage of a router's pipeline."""

    routing_delay: Delay
    vc_allocation_delay: AllocationDelay
    switch_allocation_delay: AllocationDelay
    speculative: Switch


class Placement(Section):
    """Node numbers of the clusters and of the buffers' ports; clusters alternate between the error ports."""

    clusters: Annotated[tuple[Node, ...], Field(min_length=1)]
    activation: Node
    weight: Node
    error: Annotated[tuple[Node, ...], Field(min_length=1)]

    def nodes(self) -> dict[tuple[str | int, ...], int]:
        """Node of each key path."""
        placed: dict[tuple[str | int, ...], int] = {("activation",): self.activation, ("weight",): self.weight}
        lists = {"clusters": self.clusters, "error": self.error}
        return {(name, i): node for name, nodes in lists.items() for i, node in enumerate(nodes)} | placed


MESSAGE_CLASSES = ("stream", "stationary", "psum")
"""What the network carries: operands that stream to the columns, stationary operands, results and partial sums."""


class ClassNetwork(Section):
    """Routers and links of their own for some message classes."""

    classes: tuple[Literal["stream", "stationary", "psum"], ...]
    link_width_bits: Width = Field(alias="link_width")

    @property
    def message_classes(self) -> tuple[int, ...]:
        """The classes by number."""
        return tuple(MESSAGE_CLASSES.index(name) for name in self.classes)


MOST_INPUT_VCS = 62
"""Virtual channels of all ports of a router: they are the bits of a word (`etasim.noc.spec`)."""

MOST_FLITS = 2**24
"""That all buffers of the network hold: their table has 24 bytes for each."""

VirtualChannels = Annotated[int, Field(strict=True, ge=1, le=MOST_INPUT_VCS)]


class Noc(Section):
    """The network on chip; ``concentration``: endpoints of a router.

    ``networks``: separate networks for message classes, all of this topology; without it one network of ``link_width`` carries all.
    ``energy_per_flit_hop`` is that of a flit of ``link_width``. `etasim.noc.flits` alone says what is as wide as which.
    """

    topology: Annotated[str, NameIn(TOPOLOGIES)]
    columns: Nodes
    rows: Nodes
    concentration: Nodes = 1
    link_width_bits: Width = Field(alias="link_width")
    link_latency: Latency
    virtual_channels: VirtualChannels
    buffer_depth: Slots
    routing: Annotated[str, NameIn(ROUTING_POLICIES)]
    multicast: Switch
    reduction: Switch = False
    router: Router
    placement: Placement
    ideal: Switch
    networks: tuple[ClassNetwork, ...] | None = None
    energy_per_flit_hop: ActionEnergy | None = None

    @property
    def energy_per_flit_hop_pj(self) -> float | None:
        """Picojoules of a flit hop, None if unknown."""
        return None if self.energy_per_flit_hop is None else float(self.energy_per_flit_hop.energy_joule * 10**12)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        require([*self._violations(), *self._network_violations()])
        return self

    def _network_violations(self) -> Iterable[Violation]:
        if self.networks is None:
            return
        carried: Counter[str] = Counter(name for network in self.networks for name in network.classes)
        for name in MESSAGE_CLASSES:
            if carried[name] != 1:
                yield ("networks",), f"must carry the class {name} once, and do so {carried[name]} times"
        for i, network in enumerate(self.networks):
            if not network.classes:
                yield ("networks", i, "classes"), "must name at least one class"
            if network.link_width_bits % 8:
                yield ("networks", i, "link_width"), f"must be whole bytes, got {network.link_width_bits} bit"

    def _violations(self) -> Iterable[Violation]:
        if self.link_width_bits % 8:
            yield ("link_width",), f"must be whole bytes, got {self.link_width_bits} bit"
        n_nodes = self.columns * self.rows * self.concentration
        size = f"{n_nodes}, the nodes of {self.columns} columns x {self.rows} rows"
        if self.concentration > 1:
            size += f" x concentration {self.concentration}"
        if n_nodes > MOST_NODES:
            yield ("columns",), f"with rows and concentration, at most {MOST_NODES} nodes, got {n_nodes}"
            return
        yield from self._router_violations(n_nodes)
        placed = self.placement.nodes()
        shared = {node for node, uses in Counter(placed.values()).items() if uses > 1}
        for path, node in placed.items():
            if node >= n_nodes:
                yield ("placement", *path), f"must be less than {size}, got {node}"
            elif node in shared:
                yield ("placement", *path), f"node {node} is used twice; each cluster and port needs a node of its own"

    def _router_violations(self, n_nodes: int) -> Iterable[Violation]:
        try:
            topology = TOPOLOGIES[self.topology](self.columns, self.rows, self.concentration)
        except ValueError as error:
            yield ("topology",), str(error)
            return
        if topology.n_nodes != n_nodes:
            yield ("topology",), f"a {self.topology} has {topology.n_nodes} nodes, columns x rows x concentration is {n_nodes}"
        n_routers, n_ports = topology.n_routers, topology.n_ports
        if n_ports * self.virtual_channels > MOST_INPUT_VCS:
            size = f"{n_ports} ports of a {self.topology} times {self.virtual_channels}"
            yield ("virtual_channels",), f"{size} exceed the {MOST_INPUT_VCS} input VCs that a router may have"
        n_classes = max((len(network.classes) for network in self.networks or ()), default=len(MESSAGE_CLASSES))
        if topology.wraps and self.virtual_channels < 2 * n_classes:
            needed = f"a {self.topology} needs two VCs for each of {n_classes} message classes"
            yield ("virtual_channels",), f"{needed}, got {self.virtual_channels}"
        n_flits = len(self.networks or (1,)) * n_routers * n_ports * self.virtual_channels * self.buffer_depth
        if n_flits > MOST_FLITS:
            yield ("buffer_depth",), f"with all ports and virtual channels, at most {MOST_FLITS:,} flits of the network, got {n_flits:,}"
