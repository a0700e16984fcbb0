"""One cycle of the whole network, and the next cycle in which it can act."""

from etasim.core.arrays import Integers
from etasim.core.channel import NEVER, Channels, can_pop, can_push, pop, sooner, visible_at
from etasim.core.jit import kernel, lowest_bit
from etasim.core.message import packet_bits, packet_route, packet_words, send_packet
from etasim.noc import columns as col
from etasim.noc.automaton import step_known
from etasim.noc.buffers import credit_at
from etasim.noc.canonical import settle
from etasim.noc.cycle import step_routers
from etasim.noc.interface import book_latency, packet_flits, refuses, serves
from etasim.noc.joins import note_absorbed
from etasim.noc.router import open_ports
from etasim.noc.spec import NocSpec, NocState


@kernel
def _reduce_ideally(spec: NocSpec, state: NocState, inject: Channels, eject: Channels, route: int, now: int) -> bool:
    """The oldest messages of all sources of a group are one message at its destination in the next cycle, if all are there."""
    group, destination = spec.route_group[route], spec.destinations[route, 0]
    n_members = 0
    for source in spec.group_sources[group]:
        if source >= 0:
            n_members += 1
            if not can_pop(inject, source, now) or spec.route_group[packet_route(inject, source)] != group:
                return False
    if not can_push(eject, destination, now) or state.absorbed[0, 0] + n_members > len(state.absorbed):
        return False
    lead, class_index = spec.group_sources[group, 0], spec.route_class[route]
    n_flits, words = packet_flits(spec, inject, lead), packet_words(inject, lead)
    send_packet(eject, destination, now + 1, packet_route(inject, lead), packet_bits(inject, lead), words[0], words[1])
    book_latency(state.latencies, class_index, now - visible_at(inject, lead))
    counters = state.counters[class_index]
    counters["packets_injected"] += n_members
    counters["flits_injected"] += n_flits * n_members
    counters["flits_expected"] += n_flits
    counters["flits_ejected"] += n_flits
    counters["packets_ejected"] += 1
    for member in range(n_members):
        source = spec.group_sources[group, member]
        counters["flit_hops"] += n_flits * spec.route_links[packet_route(inject, source)]
        if member > 0:
            row, packet = packet_words(inject, source)
            note_absorbed(state, class_index, n_flits, words[0], words[1], row, packet)
        pop(inject, source, now + 1)
    return True


@kernel
def _pass_ideally(spec: NocSpec, state: NocState, inject: Channels, eject: Channels, node: int, now: int) -> int:
    """Without contention: the oldest message of ``node`` is at all its destinations in the next cycle, if all have room."""
    route = packet_route(inject, node)
    if spec.route_group[route] >= 0:
        return _reduce_ideally(spec, state, inject, eject, route, now)
    n_copies = spec.route_copies[route]
    for copy in range(n_copies):
        if not can_push(eject, spec.destinations[route, copy], now):
            return False
    n_flits, words = packet_flits(spec, inject, node), packet_words(inject, node)
    for copy in range(n_copies):
        send_packet(eject, spec.destinations[route, copy], now + 1, route, packet_bits(inject, node), words[0], words[1])
    counters = state.counters[spec.route_class[route]]
    counters["packets_injected"] += 1
    counters["flits_injected"] += n_flits
    counters["flits_expected"] += n_flits * n_copies
    counters["flits_ejected"] += n_flits * n_copies
    counters["packets_ejected"] += n_copies
    counters["flit_hops"] += n_flits * spec.route_links[route]
    for _ in range(n_copies):
        book_latency(state.latencies, spec.route_class[route], now - visible_at(inject, node))
    pop(inject, node, now + 1)
    return True


@kernel
def _step_ideal(spec: NocSpec, state: NocState, inject: Channels, eject: Channels, now: int) -> int:
    progress = False
    for node in range(spec.n_nodes):
        while can_pop(inject, node, now) and _pass_ideally(spec, state, inject, eject, node, now):
            progress = True
    return progress


@kernel
def _is_idle(spec: NocSpec, state: NocState, inject: Channels, now: int) -> int:
    """Whether no packet is in the network and none can enter it."""
    is_idle = state.free_packets[0] == len(state.packets)
    for node in range(spec.n_nodes):
        is_idle = is_idle and not can_pop(inject, node, now)
    return is_idle


@kernel
def step(spec: NocSpec, state: NocState, inject: Channels, eject: Channels, now: int) -> int:
    """One core cycle of every interface and router that has something to do; returns whether anything moved.

    ``inject`` and ``eject`` are ``Channels`` indexed by node. A message is (route, bits, opaque, opaque). Cycles may be skipped
    only as far as ``next_timer`` allows.
    """
    state.absorbed[0, 0] = 0
    if _is_idle(spec, state, inject, now):
        return False
    if spec.ideal:
        return _step_ideal(spec, state, inject, eject, now)
    if state.memo.words.shape[0] > 1:
        return step_known(spec, state, inject, eject, now)
    return step_routers(spec, state, inject, eject, now)


@kernel
def _next_on_wheel(wheel: Integers, site: int, now: int) -> int:
    """First cycle after ``now`` in which an input VC of ``site`` asks for attention."""
    n_slots = wheel.shape[0]
    for at in range(now + 1, now + n_slots):
        if wheel[at & (n_slots - 1), site]:
            return at
    return NEVER


@kernel
def _next_try(ready: int, at: int, delay: int, now: int) -> int:
    """First cycle after ``now``, not before ``at``, in which an allocator of ``delay`` cycles takes a request ready at ``ready``."""
    first = max(at, now + 1)
    return ready if first <= ready else ready + (first - ready + delay - 1) // delay * delay


@kernel
def _router_timer(spec: NocSpec, state: NocState, router: int, now: int) -> int:
    """Earliest cycle after ``now`` in which a flit of ``router`` is due, or a credit that it waits for is back."""
    earliest = _next_on_wheel(state.wheel, router, now)
    attention = state.attention[router]
    while attention:
        vc = router * spec.router_vcs + lowest_bit(attention)
        attention &= attention - 1
        if state.vcs[vc, col.PENDING]:
            ready = state.vcs[vc, col.READY]
            is_open = spec.vc_allocation_delay > 1 and open_ports(spec, state, router, vc, NEVER)
            if ready > now or is_open:
                earliest = sooner(_next_try(ready, ready, spec.vc_allocation_delay, now), now, earliest)
            if is_open and spec.speculative:
                earliest = now + 1
        if state.vcs[vc, col.SPECULATIVE]:
            earliest = now + 1
        ports = state.vcs[vc, col.ACTIVE]
        while ports:
            branch = vc * spec.n_ports + lowest_bit(ports)
            ports &= ports - 1
            ready = state.branches[branch, col.BRANCH_READY]
            at = credit_at(state.vcs, state.slots, state.branches[branch, col.TARGET])
            if at != NEVER:
                at += spec.switch_allocation_delay - 1
            if ready != NEVER and at != NEVER and (ready > now or at > now or spec.switch_allocation_delay > 1):
                earliest = sooner(_next_try(ready, at, spec.switch_allocation_delay, now), now, earliest)
    return earliest


@kernel
def _interface_timer(spec: NocSpec, state: NocState, inject: Channels, interface: int, now: int) -> int:
    """Earliest cycle after ``now`` in which ``interface`` can send or take a flit."""
    node = spec.interface_node[interface]
    earliest = _next_on_wheel(state.wheel, spec.n_routers + interface, now)
    first = spec.injection_group[interface] * spec.n_vcs
    if state.interfaces[interface, col.CURRENT] >= 0:
        return sooner(credit_at(state.vcs, state.slots, first + state.interfaces[interface, col.INJECTION_VC]), now, earliest)
    if not can_pop(inject, node, now):
        return sooner(visible_at(inject, node), now, earliest)
    if not serves(spec, inject, interface, node) or refuses(spec, inject, node):
        return earliest
    for lane in range(spec.n_vcs):
        if spec.injection_vcs[packet_route(inject, node)] >> lane & 1:
            earliest = sooner(credit_at(state.vcs, state.slots, first + lane), now, earliest)
    return earliest


@kernel
def next_timer(spec: NocSpec, state: NocState, inject: Channels, eject: Channels, now: int) -> int:
    """Earliest cycle after ``now`` in which the network can act by itself, NEVER if it is empty or waits for others.

    To be asked when ``step`` made no progress at ``now``: then whatever is not waiting for a time waits for another flit or
    for the receiver of a packet.
    """
    earliest = NEVER
    if spec.ideal:
        for node in range(spec.n_nodes):
            earliest = sooner(visible_at(inject, node), now, earliest)
        return earliest
    settle(spec, state)
    for interface in range(spec.n_interfaces):
        earliest = min(earliest, _interface_timer(spec, state, inject, interface, now))
    if state.free_packets[0] < len(state.packets):
        for router in range(spec.n_routers):
            earliest = min(earliest, _router_timer(spec, state, router, now))
    return earliest
