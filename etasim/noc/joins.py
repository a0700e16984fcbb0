"""Reduction in a router: packets of a group that have come together become one, which carries their sum.

A packet waits at the front of its input VC until the packets of its group are whole at the front of all inputs of the join. Packets of one
source keep their order and every source sends the same sequence, so the packets at the fronts belong together. The one at the lowest
input leads and goes on as any packet; the others are read beside it, one flit a cycle, and are gone.
"""

from etasim.core.jit import kernel, lowest_bit, routine
from etasim.noc import columns as col
from etasim.noc.buffers import ask_for_vc, front, open_packet, release, tail_at
from etasim.noc.spec import NocSpec, NocState


@kernel
def note_absorbed(state: NocState, class_index: int, n_flits: int, lead_word2: int, lead_word3: int, word2: int, word3: int) -> None:
    """Count a packet that another one has absorbed, and keep the words of both until the next cycle."""
    state.reductions[class_index]["packets_reduced"] += 1
    state.reductions[class_index]["flits_reduced"] += n_flits
    state.absorbed[0, 0] += 1
    row = state.absorbed[state.absorbed[0, 0]]
    row[0] = lead_word2
    row[1] = lead_word3
    row[2] = word2
    row[3] = word3


@kernel
def _have_met(spec: NocSpec, state: NocState, first: int, inputs: int, now: int) -> bool:
    """Whether packets of one group, whole, are at the front of all ``inputs`` of the router whose first input VC is ``first``."""
    group = -1
    remaining = inputs
    while remaining:
        vc = first + lowest_bit(remaining)
        remaining &= remaining - 1
        if state.vcs[vc, col.COUNT] == 0 or state.vcs[vc, col.JOIN] != inputs:
            return False
        packet = front(state.vcs, state.slots, vc)
        if state.vcs[vc, col.COUNT] < state.packets[packet, col.FLITS] or tail_at(spec, state, vc) > now:
            return False
        own_group = spec.route_group[state.packets[packet, col.ROUTE]]
        if group >= 0 and own_group != group:
            return False
        group = own_group
    return True


@kernel
def _absorb(spec: NocSpec, state: NocState, router: int, index: int, lead: int, now: int) -> None:
    """The packet at the front of input VC ``index`` ends here: packet ``lead`` carries its values on."""
    vcs, vc = state.vcs, router * spec.router_vcs + index
    packet = front(vcs, state.slots, vc)
    row, leader = state.packets[packet], state.packets[lead]
    counters = state.counters[row[col.CLASS]]
    state.reductions[row[col.CLASS]]["join_stall_cycles"] += now - tail_at(spec, state, vc)
    for flit in range(row[col.FLITS]):
        free_at = now + flit + spec.credit_cycles[vc // spec.n_vcs]
        counters["buffer_flit_cycles"] += release(vcs, state.slots, vc, spec.buffer_depth, free_at, now + flit)
    counters["flits_expected"] -= row[col.FLITS]
    leader[col.OFFERED_AT] = min(leader[col.OFFERED_AT], row[col.OFFERED_AT])
    note_absorbed(state, row[col.CLASS], row[col.FLITS], leader[col.WORD2], leader[col.WORD3], row[col.WORD2], row[col.WORD3])
    state.free_packets[0] += 1
    state.free_packets[state.free_packets[0]] = packet
    vcs[vc, col.JOIN] = 0
    if vcs[vc, col.COUNT]:
        open_packet(spec, state, router, index, max(state.slots[vc, vcs[vc, col.HEAD], col.AT], now + 1))


@kernel
def _join(spec: NocSpec, state: NocState, router: int, inputs: int, now: int) -> None:
    """Packets at the front of ``inputs`` become one, which asks for its VC from now on."""
    lead = lowest_bit(inputs)
    vc = router * spec.router_vcs + lead
    packet = front(state.vcs, state.slots, vc)
    state.reductions[state.packets[packet, col.CLASS]]["join_stall_cycles"] += now - tail_at(spec, state, vc)
    state.vcs[vc, col.JOIN] = 0
    ask_for_vc(spec, state, router, lead, state.vcs[vc, col.TABLE_ROW], now)
    others = inputs & (inputs - 1)
    while others:
        _absorb(spec, state, router, lowest_bit(others), packet, now)
        others &= others - 1


@routine
def join_packets(spec: NocSpec, state: NocState, router: int, attention: int, now: int) -> tuple[int, int]:
    """Join what has met among the input VCs in ``attention``. Returns the number of joins, and the input VCs left for allocation: one
    whose packet still waits is looked at again when the packet that it waits for is whole."""
    n_joins = 0
    remaining = attention
    while remaining:
        index = lowest_bit(remaining)
        remaining &= remaining - 1
        inputs = state.vcs[router * spec.router_vcs + index, col.JOIN]
        if inputs:
            attention &= ~(1 << index)
            if _have_met(spec, state, router * spec.router_vcs, inputs, now):
                _join(spec, state, router, inputs, now)
                attention &= ~inputs
                n_joins += 1
                if spec.routing_delay == 0:
                    attention |= inputs & -inputs
    state.attention[router] = attention
    return n_joins, attention
