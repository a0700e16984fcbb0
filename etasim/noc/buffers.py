"""Flits enter and leave input VCs: kernels shared by routers and network interfaces.

A slot carries the cycle at which its flit is there and the cycle from which the sender may reuse it. Slots are freed in the
order in which they are filled, so "the next slot is free" is exactly "a credit is left", credit latency included.

A site (router or interface) looks only at input VCs that have asked for its attention. Each has a wheel of bit sets, one a
cycle, into which flits on their way write the cycle in which they need it.
"""

from etasim.core.arrays import Integers
from etasim.core.channel import NEVER
from etasim.core.jit import kernel, lowest_bit
from etasim.noc import columns as col
from etasim.noc.spec import NocSpec, NocState

_REMEMBERED = (1 << 31) - 1


@kernel
def credit_at(vcs: Integers, slots: Integers, vc: int) -> int:
    """Cycle from which one more flit may be sent to input VC ``vc``, NEVER while it is full."""
    return slots[vc, vcs[vc, col.NEXT], col.FREE]


@kernel
def front(vcs: Integers, slots: Integers, vc: int) -> int:
    """Packet of the oldest flit of input VC ``vc``."""
    return slots[vc, vcs[vc, col.HEAD], col.PACKET]


@kernel
def schedule(wheel: Integers, site: int, index: int, at: int) -> None:
    """Input VC ``index`` of ``site`` needs attention in cycle ``at``, which the wheel reaches before it comes round."""
    wheel[at & (wheel.shape[0] - 1), site] |= 1 << index


@kernel
def due(attention: Integers, wheel: Integers, site: int, now: int) -> int:
    """Input VCs of ``site`` that need attention in cycle ``now``, as bits."""
    slot = now & (wheel.shape[0] - 1)
    if wheel[slot, site]:
        attention[site] |= wheel[slot, site]
        wheel[slot, site] = 0
    return attention[site]


@kernel
def tail_at(spec: NocSpec, state: NocState, vc: int) -> int:
    """Cycle in which the last flit of the packet at the front of input VC ``vc``, which is whole, arrives."""
    slot = state.vcs[vc, col.HEAD] + state.packets[front(state.vcs, state.slots, vc), col.FLITS] - 1
    return state.slots[vc, slot if slot < spec.buffer_depth else slot - spec.buffer_depth, col.AT]


@kernel
def set_taken(vcs: Integers, vc: int, is_taken: int, now: int) -> None:
    """Output VC ``vc`` gets an owner or loses it."""
    passed = now - vcs[vc, col.TAKEN_CHANGED]
    before = (vcs[vc, col.TAKEN_HISTORY] & _REMEMBERED) << passed if passed < 32 else 0
    vcs[vc, col.TAKEN_HISTORY] = before ^ 1
    vcs[vc, col.TAKEN_CHANGED] = now
    vcs[vc, col.TAKEN] = is_taken


@kernel
def was_free(vcs: Integers, vc: int, at: int) -> int:
    """Whether output VC ``vc`` had no owner when cycle ``at`` began, which is less than 31 cycles ago."""
    is_free = vcs[vc, col.TAKEN] == 0
    passed = vcs[vc, col.TAKEN_CHANGED] - at
    if passed >= 0:
        changes = vcs[vc, col.TAKEN_HISTORY] & ((2 << passed) - 1)
        while changes:
            is_free = not is_free
            changes &= changes - 1
    return is_free


@kernel
def ask_for_vc(spec: NocSpec, state: NocState, router: int, index: int, route: int, at: int) -> None:
    """The head at the front of input VC ``index`` is routed from ``at`` on; then allocation begins."""
    vc = router * spec.router_vcs + index
    state.vcs[vc, col.PENDING] = spec.route_ports[route, router]
    state.vcs[vc, col.READY] = at + spec.routing_delay + spec.vc_allocation_delay - 1
    schedule(state.wheel, router, index, at + spec.routing_delay)


@kernel
def open_packet(spec: NocSpec, state: NocState, router: int, index: int, at: int) -> None:
    """Look up the route of the packet at the front of input VC ``index``, whose head is there, and the VC at its disposal, from ``at`` on.

    A packet that is added to others here waits for them; the router looks at it when it is whole.
    """
    vc = router * spec.router_vcs + index
    packet = front(state.vcs, state.slots, vc)
    route = state.packets[packet, col.ROUTE]
    state.vcs[vc, col.TABLE_ROW] = route
    if spec.reduces and spec.join_inputs[route, router]:
        state.vcs[vc, col.JOIN] = spec.join_inputs[route, router]
        if state.vcs[vc, col.COUNT] >= state.packets[packet, col.FLITS]:
            schedule(state.wheel, router, index, max(tail_at(spec, state, vc), at))
        return
    ask_for_vc(spec, state, router, index, route, at)


@kernel
def _feed_branches(vcs: Integers, branches: Integers, vc: int, n_ports: int, n_flits: int, ready: int) -> int:
    """A flit arrives behind ``n_flits`` others of its packet: branches that have sent all of these can go on at ``ready``.

    Returns whether there are any.
    """
    is_fed = False
    ports = vcs[vc, col.ACTIVE]
    while ports:
        branch = vc * n_ports + lowest_bit(ports)
        ports &= ports - 1
        if branches[branch, col.BRANCH_SENT] - vcs[vc, col.SENT] == n_flits:
            branches[branch, col.BRANCH_READY] = ready
            is_fed = True
    return is_fed


@kernel
def deliver(spec: NocSpec, state: NocState, group: int, lane: int, packet: int, now: int) -> None:
    """Send a flit of ``packet`` to VC ``lane`` of port group ``group``; the sender has checked ``credit_at``."""
    vcs, slots = state.vcs, state.slots
    vc = group * spec.n_vcs + lane
    at = now + spec.arrival_cycles[group]
    slot = vcs[vc, col.NEXT]
    slots[vc, slot, col.AT] = at
    slots[vc, slot, col.FREE] = NEVER
    slots[vc, slot, col.PACKET] = packet
    vcs[vc, col.NEXT] = slot + 1 if slot + 1 < spec.buffer_depth else 0
    count = vcs[vc, col.COUNT]
    vcs[vc, col.COUNT] = count + 1
    site = spec.group_site[group]
    index = spec.group_first[group] + lane
    if vcs[vc, col.ACTIVE]:
        ready = at + spec.switch_allocation_delay - 1
        if _feed_branches(vcs, state.branches, vc, spec.n_ports, count, ready):
            schedule(state.wheel, site, index, ready)
    elif count == 0:
        if site < spec.n_routers:
            open_packet(spec, state, site, index, at)
        else:
            schedule(state.wheel, site, index, at)
    elif vcs[vc, col.JOIN] and count + 1 == state.packets[front(vcs, slots, vc), col.FLITS]:
        schedule(state.wheel, site, index, at)


@kernel
def release(vcs: Integers, slots: Integers, vc: int, depth: int, free_at: int, now: int) -> int:
    """Remove the oldest flit of ``vc`` and return its credit; returns the cycles that it spent in the buffer."""
    slot = vcs[vc, col.HEAD]
    slots[vc, slot, col.FREE] = free_at
    vcs[vc, col.HEAD] = slot + 1 if slot + 1 < depth else 0
    vcs[vc, col.COUNT] -= 1
    return now - slots[vc, slot, col.AT]
