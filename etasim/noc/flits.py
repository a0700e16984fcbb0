"""Bits and flits: a message counts bits, and the network of its class says how wide its links are.

The one reading of ``link_width``, for routers, mapper, estimate, energy and board. ``noc`` is the section of an architecture or a
`etasim.noc.NocParameters`.
"""

from typing import Any

from etasim.core.arrays import Whole
from etasim.noc.parameters import NocDescription, PhysicalNetwork
from etasim.noc.routing import NocError


def networks_of(noc: NocDescription, n_classes: int) -> list[PhysicalNetwork]:
    """The physical networks of the section ``noc``; one for all ``n_classes`` message classes if it names none.

    Raises NocError for a class that has no network or several.
    """
    networks = [PhysicalNetwork(tuple(sorted(network.message_classes)), network.link_width_bits) for network in noc.networks or ()]
    if not networks:
        return [PhysicalNetwork(tuple(range(n_classes)), noc.link_width_bits)]
    carried = [message_class for network in networks for message_class in network.message_classes]
    for message_class in range(n_classes):
        if carried.count(message_class) != 1:
            raise NocError(f"noc.networks: message class {message_class} needs one network, and has {carried.count(message_class)}")
    return networks


def class_widths_bits(noc: NocDescription, n_classes: int) -> tuple[int, ...]:
    """Width of the links that carry each message class: the bits of one of its flits."""
    networks = networks_of(noc, n_classes)
    return tuple(next(n.link_width_bits for n in networks if c in n.message_classes) for c in range(n_classes))


def flits_of(bits: Whole, width_bits: Whole) -> Any:
    """Flits of a packet of ``bits`` on links of ``width_bits``; numbers or arrays."""
    return (bits + width_bits - 1) // width_bits


def flit_hop_energies_pj(noc: NocDescription, n_classes: int) -> tuple[float, ...] | None:
    """Picojoules of a flit hop of each message class, None if that is not known.

    ``energy_per_flit_hop`` is that of a flit of ``link_width``. Buffers, switch and wires are as many times as wide as the flit, so a
    flit of another network takes its share by width.
    """
    each_pj = noc.energy_per_flit_hop_pj
    return None if each_pj is None else tuple(each_pj * (width / noc.link_width_bits) for width in class_widths_bits(noc, n_classes))
