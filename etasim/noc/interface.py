"""Network interfaces: packets become flits at the source, and messages again at the destination.

The injection and ejection wires have latency 1 whatever the links of the network have.
"""

from etasim.core.arrays import Integers
from etasim.core.channel import Channels, can_pop, can_push, pop, visible_at
from etasim.core.jit import kernel
from etasim.core.message import packet_bits, packet_route, packet_words, send_packet
from etasim.noc import columns as col
from etasim.noc.buffers import credit_at, deliver, due, front, release, schedule
from etasim.noc.flits import flits_of
from etasim.noc.spec import ACCEPTED, HANDED_OVER, NocSpec, NocState

_flits_of = kernel(flits_of)


@kernel
def injection_lane(spec: NocSpec, state: NocState, interface: int, route: int, now: int) -> int:
    """The next allowed VC with a credit after the one used last, -1 if there is none."""
    lane = state.interfaces[interface, col.INJECTION_VC]
    for _ in range(spec.n_vcs):
        lane = lane + 1 if lane + 1 < spec.n_vcs else 0
        is_allowed = spec.injection_vcs[route] >> lane & 1
        if is_allowed and credit_at(state.vcs, state.slots, spec.injection_group[interface] * spec.n_vcs + lane) <= now:
            return lane
    return -1


@kernel
def book_latency(latencies: Integers, packet_class: int, cycles: int) -> None:
    """Count a packet that took ``cycles`` from its offer to the ejection of its tail."""
    index = 0
    while cycles >> index and index < latencies.shape[1] - 1:
        index += 1
    latencies[packet_class, index] += 1


@kernel
def packet_flits(spec: NocSpec, inject: Channels, node: int) -> int:
    """Flits of the oldest message of ``node`` on the links that it will take."""
    return _flits_of(packet_bits(inject, node), spec.class_flit_bits[spec.route_class[packet_route(inject, node)]])


@kernel
def serves(spec: NocSpec, inject: Channels, interface: int, node: int) -> bool:
    """Whether the oldest message of ``node`` takes the network of ``interface``."""
    return spec.class_interface[spec.route_class[packet_route(inject, node)]] + node == interface


@kernel
def accept_packet(spec: NocSpec, state: NocState, inject: Channels, node: int, route: int, now: int) -> int:
    """Take the oldest message of the node into a packet slot; returns the slot."""
    state.free_packets[0] -= 1
    packet = state.free_packets[state.free_packets[0] + 1]
    n_flits = packet_flits(spec, inject, node)
    packet_class = spec.route_class[route]
    state.packets[packet, col.ROUTE] = route
    state.packets[packet, col.FLITS] = n_flits
    state.packets[packet, col.BITS] = packet_bits(inject, node)
    state.packets[packet, col.WORD2], state.packets[packet, col.WORD3] = packet_words(inject, node)
    state.packets[packet, col.COPIES] = spec.route_copies[route]
    state.packets[packet, col.CLASS] = packet_class
    state.packets[packet, col.OFFERED_AT] = visible_at(inject, node)
    counters = state.counters[packet_class]
    counters["packets_injected"] += 1
    counters["flits_expected"] += n_flits * spec.route_copies[route]
    counters["source_queue_cycles"] += now - visible_at(inject, node)
    pop(inject, node, now + 1)
    return packet


@kernel
def refuses(spec: NocSpec, inject: Channels, node: int) -> bool:
    """Whether the oldest message of ``node`` may not enter: longer than a buffer, a multicast could block its own branches, and a packet
    that is to be added to others would never be whole."""
    route = packet_route(inject, node)
    return (spec.route_copies[route] > 1 or spec.route_group[route] >= 0) and packet_flits(spec, inject, node) > spec.buffer_depth


@kernel
def inject_flit(spec: NocSpec, state: NocState, inject: Channels, interface: int, now: int) -> bool:
    """Send one flit into the router if a packet is there and a credit is left; returns whether one was sent."""
    row = state.interfaces[interface]
    packet = row[col.CURRENT]
    if packet >= 0:
        lane = row[col.INJECTION_VC]
        if credit_at(state.vcs, state.slots, spec.injection_group[interface] * spec.n_vcs + lane) > now:
            return False
    else:
        node = spec.interface_node[interface]
        if not can_pop(inject, node, now) or not serves(spec, inject, interface, node):
            return False
        route = packet_route(inject, node)
        if refuses(spec, inject, node):
            state.counters[spec.route_class[route]]["refused_packets"] = 1
            return False
        lane = injection_lane(spec, state, interface, route, now)
        if lane < 0:
            return False
        packet = accept_packet(spec, state, inject, node, route, now)
        _note_handed(state, interface, ACCEPTED, packet)
        row[col.INJECTION_VC] = lane
        row[col.CURRENT] = packet
        row[col.CURRENT_SENT] = 0
    deliver(spec, state, spec.injection_group[interface], lane, packet, now)
    state.counters[state.packets[packet, col.CLASS]]["flits_injected"] += 1
    row[col.CURRENT_SENT] += 1
    if row[col.CURRENT_SENT] == state.packets[packet, col.FLITS]:
        row[col.CURRENT] = -1
    return True


@kernel
def _is_ejectable(spec: NocSpec, state: NocState, eject: Channels, node: int, vc: int, now: int) -> int:
    """Whether the oldest flit of ejection buffer ``vc`` is there, and, if it is a tail, the receiver can take the packet."""
    if state.vcs[vc, col.COUNT] == 0 or state.slots[vc, state.vcs[vc, col.HEAD], col.AT] > now:
        return False
    if state.vcs[vc, col.SENT] + 1 < state.packets[front(state.vcs, state.slots, vc), col.FLITS]:
        return True
    return can_push(eject, node, now)


@kernel
def hand_over_packet(state: NocState, eject: Channels, node: int, packet: int, now: int) -> None:
    """A packet is complete at ``node``; it is forgotten with its last copy."""
    row = state.packets[packet]
    state.counters[row[col.CLASS]]["packets_ejected"] += 1
    book_latency(state.latencies, row[col.CLASS], now - row[col.OFFERED_AT])
    send_packet(eject, node, now + 1, row[col.ROUTE], row[col.BITS], row[col.WORD2], row[col.WORD3])
    row[col.COPIES] -= 1
    if row[col.COPIES] == 0:
        state.free_packets[0] += 1
        state.free_packets[state.free_packets[0]] = packet


@kernel
def _note_handed(state: NocState, interface: int, what: int, packet: int) -> None:
    """Keep until the next cycle that ``interface`` took a packet or handed one over."""
    handed = state.handed
    handed[0, 0] += 1
    handed[handed[0, 0], 0] = interface << 2 | what
    handed[handed[0, 0], 1] = packet


@kernel
def _take_flit(spec: NocSpec, state: NocState, eject: Channels, node: int, group: int, vc: int, now: int) -> None:
    """Count the oldest flit of ``vc``; a tail completes the packet."""
    packet = front(state.vcs, state.slots, vc)
    waited_cycles = release(state.vcs, state.slots, vc, spec.buffer_depth, now + spec.credit_cycles[group], now)
    row = state.packets[packet]
    counters = state.counters[row[col.CLASS]]
    counters["flits_ejected"] += 1
    counters["ejection_stall_cycles"] += waited_cycles
    state.vcs[vc, col.SENT] += 1
    if state.vcs[vc, col.SENT] == row[col.FLITS]:
        state.vcs[vc, col.SENT] = 0
        hand_over_packet(state, eject, node, packet, now)
        _note_handed(state, group - spec.n_routers * spec.n_ports, HANDED_OVER, packet)


@kernel
def eject_flit(spec: NocSpec, state: NocState, eject: Channels, interface: int, now: int) -> bool:
    """Take one flit out of the ejection buffers of ``interface``, round robin over its VCs; returns whether there was one."""
    site = spec.n_routers + interface
    if not due(state.attention, state.wheel, site, now):
        return False
    node = spec.interface_node[interface]
    group = spec.n_routers * spec.n_ports + interface
    lane = state.interfaces[interface, col.EJECTION_VC]
    for _ in range(spec.n_vcs):
        lane = lane + 1 if lane + 1 < spec.n_vcs else 0
        vc = group * spec.n_vcs + lane
        if _is_ejectable(spec, state, eject, node, vc, now):
            _take_flit(spec, state, eject, node, group, vc, now)
            state.interfaces[interface, col.EJECTION_VC] = lane
            at = state.slots[vc, state.vcs[vc, col.HEAD], col.AT]
            if state.vcs[vc, col.COUNT] == 0 or at > now + 1:
                state.attention[site] &= ~(1 << lane)
                if state.vcs[vc, col.COUNT]:
                    schedule(state.wheel, site, lane, at)
            return True
    return False
