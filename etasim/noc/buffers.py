"""Flits enter and leave input VCs: kernels shared by routers and network interfaces.

A slot carries the cycle at which its flit is there and the cycle from which the sender may reuse it. Slots are freed in the
order in which they are filled, so "the next slot is free" is exactly "a credit is left", credit latency included.
"""

from etasim.core.channel import NEVER
from etasim.core.jit import kernel
from etasim.noc import columns as col


@kernel
def credit_at(state, vc):
    """Cycle from which one more flit may be sent to input VC ``vc``, NEVER while it is full."""
    return state.slots[vc, state.vcs[vc, col.NEXT], col.FREE]


@kernel
def front(state, vc):
    """Packet of the oldest flit of input VC ``vc``."""
    return state.slots[vc, state.vcs[vc, col.HEAD], col.PACKET]


@kernel
def wake(state, site, at):
    """Make sure that ``site`` is stepped in cycle ``at``."""
    if at < state.sites[site, col.WAKE]:
        state.sites[site, col.WAKE] = at


@kernel
def open_packet(spec, state, router, vc, at):
    """Look up the route of the packet at the front of ``vc``; its head is there, and the VC at its disposal, from ``at`` on.

    Speculation asks for the switch while it asks for the VC, so the slower of the two allocators counts.
    """
    route = state.packets[front(state, vc), col.ROUTE]
    delay = spec.vc_allocation_delay
    if spec.speculative and spec.switch_allocation_delay > delay:
        delay = spec.switch_allocation_delay
    state.vcs[vc, col.PENDING] = spec.route_ports[route, router]
    state.vcs[vc, col.ALLOWED] = spec.route_vcs[route]
    state.vcs[vc, col.READY] = at + spec.routing_delay + delay - 1


@kernel
def _feed_branches(spec, state, vc, n_flits, at):
    """A flit arrives behind ``n_flits`` others of its packet: branches that have sent all of these can go on at ``at``."""
    ports = state.vcs[vc, col.ACTIVE]
    branch = vc * spec.n_ports
    while ports:
        if ports & 1 and state.branches[branch, col.BRANCH_SENT] - state.vcs[vc, col.SENT] == n_flits:
            state.branches[branch, col.BRANCH_READY] = at + spec.switch_allocation_delay - 1
        ports >>= 1
        branch += 1


@kernel
def deliver(spec, state, group, lane, packet, now):
    """Send a flit of ``packet`` to VC ``lane`` of port group ``group``; the sender has checked ``credit_at``."""
    vc = group * spec.n_vcs + lane
    at = now + spec.arrival_cycles[group]
    slot = state.vcs[vc, col.NEXT]
    state.slots[vc, slot, col.AT] = at
    state.slots[vc, slot, col.FREE] = NEVER
    state.slots[vc, slot, col.PACKET] = packet
    state.vcs[vc, col.NEXT] = slot + 1 if slot + 1 < spec.buffer_depth else 0
    count = state.vcs[vc, col.COUNT]
    state.vcs[vc, col.COUNT] = count + 1
    n_router_groups = spec.n_routers * spec.n_ports
    if group >= n_router_groups:
        site = spec.n_routers + group - n_router_groups
        first = group * spec.n_vcs
    else:
        site = group // spec.n_ports
        first = site * spec.n_ports * spec.n_vcs
        if state.vcs[vc, col.ACTIVE]:
            _feed_branches(spec, state, vc, count, at)
        elif count == 0:
            open_packet(spec, state, site, vc, at)
    if count == 0:
        state.sites[site, col.BUSY] |= 1 << (vc - first)
    wake(state, site, at)


@kernel
def release(spec, state, group, vc, now):
    """Remove the oldest flit of ``vc`` and return its credit; returns the cycles that it spent in the buffer."""
    slot = state.vcs[vc, col.HEAD]
    state.slots[vc, slot, col.FREE] = now + spec.credit_cycles[group]
    state.vcs[vc, col.HEAD] = slot + 1 if slot + 1 < spec.buffer_depth else 0
    state.vcs[vc, col.COUNT] -= 1
    return now - state.slots[vc, slot, col.AT]


@kernel
def retire_copy(state, packet):
    """One destination has the whole packet; forget the packet after the last one."""
    state.packets[packet, col.COPIES] -= 1
    if state.packets[packet, col.COPIES] == 0:
        state.free_packets[0] += 1
        state.free_packets[state.free_packets[0]] = packet
