"""One cycle of one input-queued router: VC allocation, switch allocation, traversal.

Both allocators are separable, input first, with round-robin arbiters whose pointers move only when a grant is used in the
match (the scheme of BookSim 2). Times are worked out when a flit is moved, so a stage is one comparison with ``now``:
a head flit that is at the front in cycle c asks for a VC in c + routing_delay, the switch follows, and the flit is written
into the next buffer with the cycle of its arrival. Speculation asks for the switch with the VC, at lower priority.

A multicast packet holds its input VC until the last branch has sent its tail. Every branch asks for its own output VC and
sends at its own pace; branches that are at the same flit cross the switch in one cycle.
"""

from etasim.core.arrays import Integers
from etasim.core.channel import NEVER
from etasim.core.jit import kernel, lowest_bit
from etasim.noc import columns as col
from etasim.noc.buffers import credit_at, deliver, due, front, open_packet, release, schedule, set_taken, was_free
from etasim.noc.joins import join_packets
from etasim.noc.spec import NocSpec, NocState


@kernel
def _turns_after(index: int, granted: int, size: int) -> int:
    """Round-robin distance of ``index`` from the one granted last (-1: none yet); the smallest goes first."""
    distance = index - granted - 1
    return distance if distance >= 0 else distance + size


@kernel
def _is_due(ready: int, delay: int, now: int) -> bool:
    """An allocator of ``delay`` cycles takes a request again only after it has finished with it."""
    return ready <= now and (delay == 1 or (now - ready) % delay == 0)


@kernel
def _request_age(spec: NocSpec, vcs: Integers, vc: int, now: int) -> int:
    """Cycles since a head that speculates asked for the switch last, which it does with the VC and then after each answer."""
    delay = spec.switch_allocation_delay
    return 0 if delay == 1 else (now - vcs[vc, col.READY] + spec.vc_allocation_delay - 1) % delay  # a division takes long


@kernel
def open_ports(spec: NocSpec, state: NocState, router: int, vc: int, at: int) -> int:
    """Output ports for which input VC ``vc`` waits for a VC, and one that it may take is free and has a credit by cycle ``at``, as bits."""
    ports, found = state.vcs[vc, col.PENDING], 0
    while ports:
        port = lowest_bit(ports)
        ports &= ports - 1
        link = router * spec.n_ports + port
        first_output_vc = spec.downstream[link] * spec.n_vcs
        lanes = spec.route_vcs[state.vcs[vc, col.TABLE_ROW], link]
        while lanes:
            output_vc = first_output_vc + lowest_bit(lanes)
            lanes &= lanes - 1
            if not state.vcs[output_vc, col.TAKEN] and credit_at(state.vcs, state.slots, output_vc) <= at:
                found |= 1 << port
    return found


@kernel
def _pick_vc(vcs: Integers, vc: int, allowed: int, first_output_vc: int, port: int, n_vcs: int, delay: int, now: int) -> int:
    """Input arbiter of VC allocation: of the output VCs ``allowed`` at ``port``, the next one after the one granted last that was
    free when the allocator began, ``delay`` - 1 cycles ago; -1 if none."""
    granted = vcs[vc, col.INPUT_GRANT] - port * n_vcs
    lane = granted + 1 if 0 <= granted < n_vcs - 1 else 0
    for _ in range(n_vcs):
        if allowed >> lane & 1 and was_free(vcs, first_output_vc + lane, now + 1 - delay):
            return lane
        lane = lane + 1 if lane + 1 < n_vcs else 0
    return -1


@kernel
def _ask_for_vcs(spec: NocSpec, state: NocState, router: int, index: int, now: int, n_asked: int) -> int:
    """Requests of the branches of one input VC; keeps the best request for each output VC. Returns how many are asked for."""
    scratch, vcs, vc = state.scratch, state.vcs, router * spec.router_vcs + index
    ports = vcs[vc, col.PENDING]
    while ports:
        port = lowest_bit(ports)
        ports &= ports - 1
        link = router * spec.n_ports + port
        first_output_vc = spec.downstream[link] * spec.n_vcs
        allowed = spec.route_vcs[vcs[vc, col.TABLE_ROW], link]
        lane = _pick_vc(vcs, vc, allowed, first_output_vc, port, spec.n_vcs, spec.vc_allocation_delay, now)
        if lane >= 0:
            state.branches[vc * spec.n_ports + port, col.BRANCH_ASKED] += 1
            output_vc = port * spec.n_vcs + lane
            distance = _turns_after(index, vcs[first_output_vc + lane, col.OUTPUT_GRANT], spec.router_vcs)
            asked = 0
            while asked < n_asked and scratch[col.VC_ASKED, asked] != output_vc:
                asked += 1
            if asked == n_asked:
                scratch[col.VC_ASKED, asked] = output_vc
                scratch[col.VC_PORT, output_vc] = port
                scratch[col.VC_DISTANCE, output_vc] = spec.router_vcs
                n_asked += 1
            if distance < scratch[col.VC_DISTANCE, output_vc]:
                scratch[col.VC_DISTANCE, output_vc] = distance
                scratch[col.VC_WINNER, output_vc] = index
    return n_asked


@kernel
def _grant_vc(spec: NocSpec, state: NocState, router: int, output_vc: int, now: int) -> bool:
    """Output VC ``output_vc`` goes to the input VC that won it, which asks for the switch from the next cycle on.

    A VC that was taken while the allocator worked is refused. Returns whether it was granted.
    """
    vcs = state.vcs
    index = state.scratch[col.VC_WINNER, output_vc]
    vc = router * spec.router_vcs + index
    port = state.scratch[col.VC_PORT, output_vc]
    target = spec.downstream[router * spec.n_ports + port] * spec.n_vcs + output_vc - port * spec.n_vcs
    vcs[vc, col.INPUT_GRANT] = output_vc
    vcs[target, col.OUTPUT_GRANT] = index
    if vcs[target, col.TAKEN]:
        return False
    vcs[vc, col.PENDING] ^= 1 << port
    vcs[vc, col.ACTIVE] |= 1 << port
    set_taken(vcs, target, 1, now)
    branch = vc * spec.n_ports + port
    state.branches[branch, col.TARGET] = target
    state.branches[branch, col.BRANCH_SENT] = 0
    asked_at = now + 1
    if spec.speculative:  # what it has asked for already is answered first
        asked_at += spec.switch_allocation_delay - 1 - _request_age(spec, vcs, vc, now)
    state.branches[branch, col.BRANCH_READY] = asked_at + spec.switch_allocation_delay - 1
    counters = state.counters[state.packets[front(vcs, state.slots, vc), col.CLASS]]
    lost_cycles = (state.branches[branch, col.BRANCH_ASKED] - 1) * spec.vc_allocation_delay
    counters["buffer_conflict_stall_cycles"] += lost_cycles
    counters["buffer_busy_stall_cycles"] += now - vcs[vc, col.READY] - lost_cycles
    state.branches[branch, col.BRANCH_ASKED] = 0
    return True


@kernel
def _allocate_vcs(spec: NocSpec, state: NocState, router: int, attention: int, now: int) -> tuple[int, int]:
    """VC allocation among the input VCs in ``attention``. Returns the number of grants, and the input VCs that ask for the switch."""
    vcs, first = state.vcs, router * spec.router_vcs
    n_asked = 0
    candidates = 0
    while attention:
        index = lowest_bit(attention)
        attention &= attention - 1
        vc = first + index
        if spec.speculative and _request_age(spec, vcs, vc, now) == 0:
            vcs[vc, col.SPECULATIVE] = open_ports(spec, state, router, vc, now)
        if vcs[vc, col.PENDING]:
            if _is_due(vcs[vc, col.READY], spec.vc_allocation_delay, now):
                n_asked = _ask_for_vcs(spec, state, router, index, now, n_asked)
            if vcs[vc, col.ACTIVE] or spec.speculative:
                candidates |= 1 << index
        else:
            candidates |= 1 << index
    n_granted = 0
    for asked in range(n_asked):
        n_granted += _grant_vc(spec, state, router, state.scratch[col.VC_ASKED, asked], now)
    return n_granted, candidates


@kernel
def _ready_outputs(vcs: Integers, slots: Integers, branches: Integers, vc: int, n_ports: int, delay: int, now: int) -> int:
    """Output ports for which ``vc`` holds a VC and a flit, and had a credit when the allocator began, as bits."""
    ports = vcs[vc, col.ACTIVE]
    ready = 0
    while ports:
        port = lowest_bit(ports)
        ports &= ports - 1
        branch = vc * n_ports + port
        is_due = _is_due(branches[branch, col.BRANCH_READY], delay, now)
        if is_due and credit_at(vcs, slots, branches[branch, col.TARGET]) <= now + 1 - delay:
            ready |= 1 << port
    return ready


@kernel
def _claim_lane(lane_of_output: Integers, outputs: int, claimed: int, lane: int, offset: int, n_vcs: int) -> None:
    """For each port in ``outputs`` keep the VC that comes first after the last winner, among VCs of one priority."""
    while outputs:
        port = lowest_bit(outputs)
        outputs &= outputs - 1
        holder = lane_of_output[port]
        turns, holder_turns = lane - offset, holder - offset
        turns = turns if turns >= 0 else turns + n_vcs
        holder_turns = holder_turns if holder_turns >= 0 else holder_turns + n_vcs
        if not claimed >> port & 1 or turns < holder_turns:
            lane_of_output[port] = lane


@kernel
def _next_port(outputs: int, granted: int) -> int:
    """Round robin over the set bits of ``outputs``, beginning behind bit ``granted``."""
    later = outputs >> (granted + 1) << (granted + 1)
    return lowest_bit(later if later else outputs)


@kernel
def _nominate(scratch: Integers, port: int, asker: int, lane: int, granted: int, n_ports: int, is_speculative: int, contested: int) -> int:
    """An input port asks the output arbiter of ``port``, which granted ``granted`` last; returns the ports asked for so far."""
    distance = _turns_after(asker, granted, n_ports)
    if is_speculative:
        distance += n_ports
    if not contested >> port & 1 or distance < scratch[col.DISTANCE, port]:
        scratch[col.DISTANCE, port] = distance
        scratch[col.WINNER, port] = asker
        scratch[col.WINNER_LANE, port] = lane
    return contested | 1 << port


@kernel
def _outputs_at(branches: Integers, vc: int, n_ports: int, ports: int, sent: int) -> int:
    """Those of ``ports`` whose branch of ``vc`` has sent ``sent`` flits, as bits."""
    result = 0
    while ports:
        port = lowest_bit(ports)
        ports &= ports - 1
        if branches[vc * n_ports + port, col.BRANCH_SENT] == sent:
            result |= 1 << port
    return result


@kernel
def _choose_output(spec: NocSpec, state: NocState, group: int, lanes: int, now: int) -> tuple[int, int, int]:
    """Input arbiter of switch allocation. Returns the chosen lane and the ports that its flit asks for, both as found by round
    robin, and whether it speculates. For a multicast packet these are all branches that are ready and at the same flit.
    """
    vcs, lane_of_output = state.vcs, state.scratch[col.LANE_OF_OUTPUT]
    outputs, is_speculative = 0, 0  # speculation loses to VCs granted earlier at the input already
    while True:
        remaining = lanes
        while remaining:
            lane = lowest_bit(remaining)
            remaining &= remaining - 1
            vc = group * spec.n_vcs + lane
            if is_speculative:
                is_answered = _request_age(spec, vcs, vc, now) == spec.switch_allocation_delay - 1
                asked = vcs[vc, col.SPECULATIVE] if is_answered else 0
            else:
                asked = _ready_outputs(vcs, state.slots, state.branches, vc, spec.n_ports, spec.switch_allocation_delay, now)
            if asked:
                _claim_lane(lane_of_output, asked, outputs, lane, state.ports[group, col.VC_OFFSET], spec.n_vcs)
                outputs |= asked
        if outputs or is_speculative == spec.speculative:
            break
        is_speculative = 1
    if outputs & (outputs - 1) == 0:
        return outputs, lane_of_output[lowest_bit(outputs)] if outputs else 0, is_speculative
    port = _next_port(outputs, state.ports[group, col.OUTPUT_OF_INPUT])
    lane = lane_of_output[port]
    vc = group * spec.n_vcs + lane
    outputs = 1 << port
    if is_speculative:
        outputs = vcs[vc, col.SPECULATIVE]
    elif vcs[vc, col.ACTIVE] != outputs:
        ready = _ready_outputs(vcs, state.slots, state.branches, vc, spec.n_ports, spec.switch_allocation_delay, now)
        outputs = _outputs_at(state.branches, vc, spec.n_ports, ready, state.branches[vc * spec.n_ports + port, col.BRANCH_SENT])
    return outputs, lane, is_speculative


@kernel
def _book_switch(state: NocState, link: int, branch: int, packet_class: int, now: int) -> None:
    """Split the wait of the flit that leaves now into missing credits and lost arbitration."""
    ready = state.branches[branch, col.BRANCH_READY]
    waited = now - ready
    if waited > 0:
        available_at = credit_at(state.vcs, state.slots, state.branches[branch, col.TARGET])
        without_credit = min(max(available_at - ready, 0), waited)
        state.counters[packet_class]["buffer_full_stall_cycles"] += without_credit
        state.counters[packet_class]["crossbar_conflict_stall_cycles"] += waited - without_credit
        state.links[link]["buffer_full_stall_cycles"] += without_credit
        state.links[link]["crossbar_conflict_stall_cycles"] += waited - without_credit


@kernel
def _is_sent_by_all(vcs: Integers, branches: Integers, vc: int, n_ports: int) -> bool:
    """Whether every branch has sent the oldest flit of ``vc``."""
    if vcs[vc, col.PENDING]:
        return False
    ports = vcs[vc, col.ACTIVE]
    while ports:
        branch = vc * n_ports + lowest_bit(ports)
        ports &= ports - 1
        if branches[branch, col.BRANCH_SENT] <= vcs[vc, col.SENT]:
            return False
    return True


@kernel
def _retire_flit(spec: NocSpec, state: NocState, router: int, group: int, index: int, packet: int, now: int) -> None:
    """The oldest flit has left by every branch: free its slot, and open the next packet behind a tail."""
    vcs = state.vcs
    vc = router * spec.router_vcs + index
    residence_cycles = release(vcs, state.slots, vc, spec.buffer_depth, now + spec.credit_cycles[group], now)
    state.counters[state.packets[packet, col.CLASS]]["buffer_flit_cycles"] += residence_cycles
    sent = vcs[vc, col.SENT] + 1
    if sent < state.packets[packet, col.FLITS]:
        vcs[vc, col.SENT] = sent
        return
    vcs[vc, col.SENT] = 0
    state.attention[router] &= ~(1 << index)
    if vcs[vc, col.COUNT]:
        at = state.slots[vc, vcs[vc, col.HEAD], col.AT]
        open_packet(spec, state, router, index, max(at, now + 1))


@kernel
def _prepare_next_flit(spec: NocSpec, state: NocState, router: int, index: int, branch: int, slot: int, is_there: bool, now: int) -> None:
    """When the branch may ask for the switch again: with the flit in ``slot``, or when a flit is delivered."""
    vc = router * spec.router_vcs + index
    ready = NEVER
    if is_there:
        ready = max(state.slots[vc, slot, col.AT], now + 1) + spec.switch_allocation_delay - 1
    state.branches[branch, col.BRANCH_READY] = ready
    ports = state.vcs[vc, col.ACTIVE] | state.vcs[vc, col.PENDING]
    if ready > now + 1 and ports & (ports - 1) == 0:
        state.attention[router] &= ~(1 << index)
        if is_there:
            schedule(state.wheel, router, index, ready)


@kernel
def _send(spec: NocSpec, state: NocState, router: int, port: int, group: int, lane: int, now: int) -> None:
    """The next flit of branch ``port`` of VC ``lane`` of input ``group`` crosses the switch."""
    vcs = state.vcs
    vc = group * spec.n_vcs + lane
    index = vc - router * spec.router_vcs
    branch = vc * spec.n_ports + port
    target = state.branches[branch, col.TARGET]
    sent = state.branches[branch, col.BRANCH_SENT] + 1
    ahead = sent - vcs[vc, col.SENT]
    slot = vcs[vc, col.HEAD] + ahead - 1
    slot = slot if slot < spec.buffer_depth else slot - spec.buffer_depth
    packet = state.slots[vc, slot, col.PACKET]
    packet_class = state.packets[packet, col.CLASS]
    link = router * spec.n_ports + port
    downstream = spec.downstream[link]
    _book_switch(state, link, branch, packet_class, now)
    deliver(spec, state, downstream, target - downstream * spec.n_vcs, packet, now)
    state.link_flits[link, packet_class] += 1
    if downstream < spec.n_routers * spec.n_ports:
        state.counters[packet_class]["flit_hops"] += 1
    state.branches[branch, col.BRANCH_SENT] = sent
    if spec.speculative:
        vcs[vc, col.SPECULATIVE] &= ~(1 << port)
    if sent == state.packets[packet, col.FLITS]:
        vcs[vc, col.ACTIVE] ^= 1 << port
        set_taken(vcs, target, 0, now)
    else:
        slot = slot + 1 if slot + 1 < spec.buffer_depth else 0
        _prepare_next_flit(spec, state, router, index, branch, slot, ahead < vcs[vc, col.COUNT], now)
    if ahead == 1 and _is_sent_by_all(vcs, state.branches, vc, spec.n_ports):
        _retire_flit(spec, state, router, group, index, packet, now)


@kernel
def _allocate_switch(spec: NocSpec, state: NocState, router: int, attention: int, now: int) -> int:
    """Switch allocation among the input VCs in ``attention``, and traversal. Returns the number of flits sent."""
    scratch, ports = state.scratch, state.ports
    contested = 0
    first_group = router * spec.n_ports
    for input_port in range(spec.n_ports):
        lanes = attention & spec.lane_mask
        attention >>= spec.n_vcs
        if lanes:
            outputs, lane, is_speculative = _choose_output(spec, state, first_group + input_port, lanes, now)
            while outputs:
                port = lowest_bit(outputs)
                outputs &= outputs - 1
                granted = ports[first_group + port, col.INPUT_OF_OUTPUT]
                contested = _nominate(scratch, port, input_port, lane, granted, spec.n_ports, is_speculative, contested)
    n_sent = 0
    while contested:
        port = lowest_bit(contested)
        contested &= contested - 1
        input_port = scratch[col.WINNER, port]
        lane = scratch[col.WINNER_LANE, port]
        group = first_group + input_port
        vc = group * spec.n_vcs + lane
        ports[group, col.OUTPUT_OF_INPUT] = port
        ports[first_group + port, col.INPUT_OF_OUTPUT] = input_port
        ports[group, col.VC_OFFSET] = lane + 1 if lane + 1 < spec.n_vcs else 0
        is_granted = state.vcs[vc, col.ACTIVE] >> port & 1
        if is_granted and credit_at(state.vcs, state.slots, state.branches[vc * spec.n_ports + port, col.TARGET]) <= now:
            _send(spec, state, router, port, group, lane, now)
            n_sent += 1
    return n_sent


@kernel
def step_router(spec: NocSpec, state: NocState, router: int, now: int) -> bool:
    """One cycle of ``router``; returns whether packets were joined, a VC was granted or a flit sent."""
    attention = due(state.attention, state.wheel, router, now)
    if not attention:
        return False
    n_joins = 0
    if spec.reduces:
        n_joins, attention = join_packets(spec, state, router, attention, now)
    n_granted, candidates = _allocate_vcs(spec, state, router, attention, now)
    if candidates:
        n_granted += _allocate_switch(spec, state, router, candidates, now)
    return n_joins + n_granted > 0
