"""One cycle of one input-queued router: VC allocation, switch allocation, traversal.

Both allocators are separable, input first, with round-robin arbiters whose pointers move only when a grant is used in the
match (the scheme of BookSim 2). Times are worked out when a flit is moved, so a stage is one comparison with ``now``:
a head flit that is at the front in cycle c asks for a VC in c + routing_delay, the switch follows, and the flit is written
into the next buffer with the cycle of its arrival. Speculation asks for the switch together with the VC, at lower priority.

A multicast packet holds its input VC until the last branch has sent its tail. Every branch asks for its own output VC and
sends at its own pace; branches that are at the same flit cross the switch in one cycle.
"""

from etasim.core.channel import NEVER
from etasim.core.jit import kernel
from etasim.noc import columns as col
from etasim.noc.buffers import credit_at, deliver, front, open_packet, release


@kernel
def _turns_after(index, granted, size):
    """Round-robin distance of ``index`` from the one granted last (-1: none yet); the smallest goes first."""
    distance = index - granted - 1
    return distance if distance >= 0 else distance + size


@kernel
def _is_due(ready, delay, now):
    """An allocator of ``delay`` cycles takes a request again only after it has finished with it."""
    return ready <= now and (delay == 1 or (now - ready) % delay == 0)


@kernel
def _pick_vc(spec, state, vc, first_output_vc, port, now):
    """Input arbiter of VC allocation: the next free output VC of ``port`` after the one granted last, -1 if none.

    Also marks the port for speculation if one of the free VCs has a credit.
    """
    granted = state.vcs[vc, col.INPUT_GRANT] - port * spec.n_vcs
    lane = granted + 1 if 0 <= granted < spec.n_vcs - 1 else 0
    choice = -1
    has_credit = False
    for _ in range(spec.n_vcs):
        if state.vcs[vc, col.ALLOWED] >> lane & 1 and state.vcs[first_output_vc + lane, col.TAKEN] == 0:
            if choice < 0:
                choice = lane
            if spec.speculative and credit_at(state, first_output_vc + lane) <= now:
                has_credit = True
        lane = lane + 1 if lane + 1 < spec.n_vcs else 0
    if has_credit:
        state.vcs[vc, col.SPECULATIVE] |= 1 << port
    return choice


@kernel
def _ask_for_vcs(spec, state, router, index, now, n_asked):
    """Requests of the branches of one input VC; keeps the best request for each output VC. Returns how many are asked for."""
    scratch = state.scratch
    vc = router * spec.n_ports * spec.n_vcs + index
    size = spec.n_ports * spec.n_vcs
    ports = state.vcs[vc, col.PENDING]
    port = 0
    while ports:
        if ports & 1:
            first_output_vc = spec.downstream[router * spec.n_ports + port] * spec.n_vcs
            lane = _pick_vc(spec, state, vc, first_output_vc, port, now)
            if lane >= 0:
                output_vc = port * spec.n_vcs + lane
                distance = _turns_after(index, state.vcs[first_output_vc + lane, col.OUTPUT_GRANT], size)
                asked = 0
                while asked < n_asked and scratch[col.VC_ASKED, asked] != output_vc:
                    asked += 1
                if asked == n_asked:
                    scratch[col.VC_ASKED, asked] = output_vc
                    n_asked += 1
                    scratch[col.VC_DISTANCE, output_vc] = size
                if distance < scratch[col.VC_DISTANCE, output_vc]:
                    scratch[col.VC_DISTANCE, output_vc] = distance
                    scratch[col.VC_WINNER, output_vc] = index
        ports >>= 1
        port += 1
    return n_asked


@kernel
def _grant_vc(spec, state, router, output_vc, now):
    """Output VC ``output_vc`` goes to the input VC that won it; it may ask for the switch from the next cycle on."""
    index = state.scratch[col.VC_WINNER, output_vc]
    vc = router * spec.n_ports * spec.n_vcs + index
    port = output_vc // spec.n_vcs
    target = spec.downstream[router * spec.n_ports + port] * spec.n_vcs + output_vc - port * spec.n_vcs
    state.vcs[vc, col.PENDING] ^= 1 << port
    state.vcs[vc, col.ACTIVE] |= 1 << port
    state.vcs[vc, col.INPUT_GRANT] = output_vc
    state.vcs[target, col.TAKEN] = 1
    state.vcs[target, col.OUTPUT_GRANT] = index
    branch = vc * spec.n_ports + port
    state.branches[branch, col.TARGET] = target
    state.branches[branch, col.BRANCH_SENT] = 0
    state.branches[branch, col.BRANCH_READY] = now + spec.switch_allocation_delay
    state.counters[state.packets[front(state, vc), col.CLASS]]["vc_stall_cycles"] += now - state.vcs[vc, col.READY]


@kernel
def _allocate_vcs(spec, state, router, now):
    """VC allocation. Returns the number of grants."""
    first = router * spec.n_ports * spec.n_vcs
    busy = state.sites[router, col.BUSY]
    n_asked = 0
    index = 0
    while busy:
        if busy & 1:
            state.vcs[first + index, col.SPECULATIVE] = 0
            if state.vcs[first + index, col.PENDING] and _is_due(state.vcs[first + index, col.READY], spec.vc_allocation_delay, now):
                n_asked = _ask_for_vcs(spec, state, router, index, now, n_asked)
        busy >>= 1
        index += 1
    for asked in range(n_asked):
        _grant_vc(spec, state, router, state.scratch[col.VC_ASKED, asked], now)
    return n_asked


@kernel
def _ready_outputs(spec, state, vc, now):
    """Output ports for which ``vc`` holds a VC, a flit and a credit, as bits."""
    ports = state.vcs[vc, col.ACTIVE]
    ready = 0
    bit = 1
    branch = vc * spec.n_ports
    while ports:
        is_due = ports & 1 and _is_due(state.branches[branch, col.BRANCH_READY], spec.switch_allocation_delay, now)
        if is_due and credit_at(state, state.branches[branch, col.TARGET]) <= now:
            ready |= bit
        ports >>= 1
        bit <<= 1
        branch += 1
    return ready


@kernel
def _claim_lane(state, outputs, claimed, lane, offset, n_vcs):
    """For each port in ``outputs`` keep the VC that comes first after the last winner, among VCs of one priority."""
    port = 0
    while outputs:
        if outputs & 1:
            holder = state.scratch[col.LANE_OF_OUTPUT, port]
            if not claimed >> port & 1 or (lane - offset) % n_vcs < (holder - offset) % n_vcs:
                state.scratch[col.LANE_OF_OUTPUT, port] = lane
        outputs >>= 1
        port += 1


@kernel
def _next_port(outputs, granted):
    """Round robin over the set bits of ``outputs``, beginning behind bit ``granted``."""
    later = outputs >> (granted + 1) << (granted + 1)
    candidates = later if later else outputs
    port = 0
    while not candidates & 1:
        candidates >>= 1
        port += 1
    return port


@kernel
def _nominate(spec, state, router, port, input_port, lane, is_speculative, contested):
    """An input port asks the output arbiter of ``port``; returns the ports asked for so far."""
    scratch = state.scratch
    distance = _turns_after(input_port, state.ports[router * spec.n_ports + port, col.INPUT_OF_OUTPUT], spec.n_ports)
    if is_speculative:
        distance += spec.n_ports
    if not contested >> port & 1 or distance < scratch[col.DISTANCE, port]:
        scratch[col.DISTANCE, port] = distance
        scratch[col.WINNER, port] = input_port
        scratch[col.WINNER_LANE, port] = lane
    return contested | 1 << port


@kernel
def _nominate_siblings(spec, state, router, input_port, port, lane, now, contested):
    """The other branches of a multicast packet that are at the same flit as the one chosen cross the switch with it."""
    vc = (router * spec.n_ports + input_port) * spec.n_vcs + lane
    ready = _ready_outputs(spec, state, vc, now)
    asked = ready | state.vcs[vc, col.SPECULATIVE]
    branch = vc * spec.n_ports
    sent = state.branches[branch + port, col.BRANCH_SENT] if ready >> port & 1 else 0
    for sibling in range(spec.n_ports):
        if sibling != port and asked >> sibling & 1:
            is_speculative = not ready >> sibling & 1
            if sent == (0 if is_speculative else state.branches[branch + sibling, col.BRANCH_SENT]):
                contested = _nominate(spec, state, router, sibling, input_port, lane, is_speculative, contested)
    return contested


@kernel
def _ask_for_switch(spec, state, router, input_port, lanes, now, contested):
    """Input arbiter of switch allocation: one VC of the input port and its output; returns the ports asked for so far."""
    group = router * spec.n_ports + input_port
    outputs = 0
    priority = -1  # 0: VCs granted earlier, 1: speculation, which loses to these at the input already
    while not outputs and priority < spec.speculative:
        priority += 1
        for lane in range(spec.n_vcs):
            if lanes >> lane & 1:
                vc = group * spec.n_vcs + lane
                asked = state.vcs[vc, col.SPECULATIVE] if priority else _ready_outputs(spec, state, vc, now)
                if asked:
                    _claim_lane(state, asked, outputs, lane, state.ports[group, col.VC_OFFSET], spec.n_vcs)
                    outputs |= asked
    if not outputs:
        return contested
    port = _next_port(outputs, state.ports[group, col.OUTPUT_OF_INPUT])
    lane = state.scratch[col.LANE_OF_OUTPUT, port]
    contested = _nominate(spec, state, router, port, input_port, lane, priority, contested)
    vc = group * spec.n_vcs + lane
    asked = state.vcs[vc, col.ACTIVE] | state.vcs[vc, col.SPECULATIVE]
    if asked & (asked - 1):
        contested = _nominate_siblings(spec, state, router, input_port, port, lane, now, contested)
    return contested


@kernel
def _book_switch(state, link, branch, packet_class, now):
    """Split the wait of the flit that leaves now into missing credits and lost arbitration."""
    ready = state.branches[branch, col.BRANCH_READY]
    waited = now - ready
    if waited <= 0:
        return
    without_credit = min(max(credit_at(state, state.branches[branch, col.TARGET]) - ready, 0), waited)
    state.counters[packet_class]["credit_stall_cycles"] += without_credit
    state.counters[packet_class]["switch_stall_cycles"] += waited - without_credit
    state.links[link]["credit_stall_cycles"] += without_credit
    state.links[link]["switch_stall_cycles"] += waited - without_credit


@kernel
def _is_sent_by_all(spec, state, vc):
    """Whether every branch has sent the oldest flit of ``vc``."""
    if state.vcs[vc, col.PENDING]:
        return False
    ports = state.vcs[vc, col.ACTIVE]
    branch = vc * spec.n_ports
    while ports:
        if ports & 1 and state.branches[branch, col.BRANCH_SENT] <= state.vcs[vc, col.SENT]:
            return False
        ports >>= 1
        branch += 1
    return True


@kernel
def _retire_flit(spec, state, router, group, vc, packet, now):
    """The oldest flit has left by every branch: free its slot, and open the next packet behind a tail."""
    residence_cycles = release(spec, state, group, vc, now)
    state.counters[state.packets[packet, col.CLASS]]["buffer_flit_cycles"] += residence_cycles
    state.vcs[vc, col.SENT] += 1
    is_packet_end = state.vcs[vc, col.SENT] == state.packets[packet, col.FLITS]
    if is_packet_end:
        state.vcs[vc, col.SENT] = 0
    if state.vcs[vc, col.COUNT] == 0:
        state.sites[router, col.BUSY] ^= 1 << (vc - router * spec.n_ports * spec.n_vcs)
    elif is_packet_end:
        at = state.slots[vc, state.vcs[vc, col.HEAD], col.AT]
        open_packet(spec, state, router, vc, max(at, now + 1))


@kernel
def _send(spec, state, router, port, vc, now):
    """The next flit of branch ``port`` of ``vc`` crosses the switch."""
    group = vc // spec.n_vcs
    branch = vc * spec.n_ports + port
    target = state.branches[branch, col.TARGET]
    sent = state.branches[branch, col.BRANCH_SENT]
    ahead = sent - state.vcs[vc, col.SENT]
    slot = state.vcs[vc, col.HEAD] + ahead
    slot = slot if slot < spec.buffer_depth else slot - spec.buffer_depth
    packet = state.slots[vc, slot, col.PACKET]
    packet_class = state.packets[packet, col.CLASS]
    link = router * spec.n_ports + port
    _book_switch(state, link, branch, packet_class, now)
    downstream = spec.downstream[link]
    deliver(spec, state, downstream, target - downstream * spec.n_vcs, packet, now)
    state.links[link]["flits"] += 1
    if downstream < spec.n_routers * spec.n_ports:
        state.counters[packet_class]["flit_hops"] += 1
    state.branches[branch, col.BRANCH_SENT] = sent + 1
    if sent + 1 == state.packets[packet, col.FLITS]:
        state.vcs[vc, col.ACTIVE] ^= 1 << port
        state.vcs[target, col.TAKEN] = 0
    elif ahead + 1 < state.vcs[vc, col.COUNT]:
        slot = slot + 1 if slot + 1 < spec.buffer_depth else 0
        state.branches[branch, col.BRANCH_READY] = max(state.slots[vc, slot, col.AT], now + 1) + spec.switch_allocation_delay - 1
    else:
        state.branches[branch, col.BRANCH_READY] = NEVER
    if ahead == 0 and _is_sent_by_all(spec, state, vc):
        _retire_flit(spec, state, router, group, vc, packet, now)


@kernel
def _allocate_switch(spec, state, router, now):
    """Switch allocation and traversal. Returns the number of flits sent."""
    contested = 0
    busy = state.sites[router, col.BUSY]
    lane_mask = (1 << spec.n_vcs) - 1
    for input_port in range(spec.n_ports):
        if busy & lane_mask:
            contested = _ask_for_switch(spec, state, router, input_port, busy & lane_mask, now, contested)
        busy >>= spec.n_vcs
    n_sent = 0
    port = 0
    while contested:
        if contested & 1:
            input_port = state.scratch[col.WINNER, port]
            lane = state.scratch[col.WINNER_LANE, port]
            group = router * spec.n_ports + input_port
            vc = group * spec.n_vcs + lane
            state.ports[group, col.OUTPUT_OF_INPUT] = port
            state.ports[router * spec.n_ports + port, col.INPUT_OF_OUTPUT] = input_port
            state.ports[group, col.VC_OFFSET] = lane + 1 if lane + 1 < spec.n_vcs else 0
            is_granted = state.vcs[vc, col.ACTIVE] >> port & 1
            if is_granted and credit_at(state, state.branches[vc * spec.n_ports + port, col.TARGET]) <= now:
                _send(spec, state, router, port, vc, now)
                n_sent += 1
        contested >>= 1
        port += 1
    return n_sent


@kernel
def step_router(spec, state, router, now):
    """One cycle of ``router``; returns whether a VC was granted or a flit sent."""
    state.sites[router, col.WAKE] = NEVER
    n_granted = _allocate_vcs(spec, state, router, now)
    n_sent = _allocate_switch(spec, state, router, now)
    if state.sites[router, col.BUSY] and state.sites[router, col.WAKE] > now + 1:
        state.sites[router, col.WAKE] = now + 1
    return n_granted + n_sent > 0
