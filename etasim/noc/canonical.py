"""The state of a network between two cycles as a record: all that decides what it does next, times relative to the cycle stepped last.

Written once for both directions: `_carry` puts a value into the record, or takes it from there. Left out is what decides nothing: where in
its ring a buffer begins, the numbers of packets (they are named in the order in which they are met), what happened before every flit that
is there, what is only counted. Packets and counters themselves stay where they are, and true.
"""

from etasim.core.arrays import Integers, int64
from etasim.core.channel import NEVER
from etasim.core.jit import kernel, lowest_bit, routine
from etasim.noc import columns as col
from etasim.noc.memo import AT, IS_TRUE, MATTERS, N_NAMES, N_RECORDS, SIDE, STATE, USED, digest, place_of
from etasim.noc.spec import MAX_ALLOCATION_CYCLES, NocSpec, NocState

_LONG_AGO = -(1 << 40)
_NEVER = (1 << 31) - 1
_BITS, _LOW = 12, (1 << 12) - 1
"""Of numbers of VCs, and of flits in a buffer."""


@kernel
def _carry(words: Integers, at: int, value: int, restores: int) -> int:
    """Write ``value`` at ``at``, unless the record is to be restored; returns what is there."""
    if not restores:
        words[at] = value
    return int64(words[at])


@kernel
def _carry_time(words: Integers, at: int, time: int, origin: int, restores: int) -> int:
    value = _carry(words, at, time - origin if time < NEVER else _NEVER, restores)
    return value + origin if value < _NEVER else NEVER


@kernel
def _name(state: NocState, packet: int) -> int:
    """The name of a packet, a new one if it has none yet."""
    memo = state.memo
    if memo.name_of[packet] < 0:
        n = memo.registers[N_NAMES]
        memo.name_of[packet] = n
        memo.names[memo.registers[SIDE], n] = packet
        memo.registers[N_NAMES] = n + 1
    return memo.name_of[packet]


@kernel
def _carry_interfaces(spec: NocSpec, state: NocState, at: int, restores: int) -> int:
    words, names = state.memo.words, state.memo.names[state.memo.registers[SIDE]]
    for interface in range(spec.n_interfaces):
        row = state.interfaces[interface]
        lanes = _carry(words, at, (row[col.INJECTION_VC] + 1) << _BITS | row[col.EJECTION_VC] + 1, restores)
        row[col.INJECTION_VC], row[col.EJECTION_VC] = (lanes >> _BITS) - 1, (lanes & _LOW) - 1
        current = 0
        if not restores and row[col.CURRENT] >= 0:
            current = 1 + _name(state, row[col.CURRENT])
        current = _carry(words, at + 1, current, restores)
        at += 2
        row[col.CURRENT] = -1
        if current:
            row[col.CURRENT] = names[current - 1]
            row[col.CURRENT_SENT] = _carry(words, at, row[col.CURRENT_SENT], restores)
            at += 1
    return at


@kernel
def _carry_ports(spec: NocSpec, ports: Integers, words: Integers, at: int, restores: int) -> int:
    """Pointers of the switch allocators; they are at most `MAX_INPUT_VCS`."""
    for group in range(spec.n_routers * spec.n_ports):
        granted = (ports[group, col.OUTPUT_OF_INPUT] + 1) << 16 | (ports[group, col.INPUT_OF_OUTPUT] + 1) << 8 | ports[group, col.VC_OFFSET]
        granted = _carry(words, at, granted, restores)
        ports[group, col.OUTPUT_OF_INPUT] = (granted >> 16) - 1
        ports[group, col.INPUT_OF_OUTPUT] = (granted >> 8 & 255) - 1
        ports[group, col.VC_OFFSET] = granted & 255
        at += 1
    return at


@kernel
def _n_returning(spec: NocSpec, state: NocState, vc: int, before: int) -> int:
    """Credits of ``vc`` that are not back by cycle ``before``; they come back in the order in which they left."""
    n, slot = 0, state.vcs[vc, col.HEAD]
    for _ in range(spec.buffer_depth - state.vcs[vc, col.COUNT]):
        slot = slot - 1 if slot > 0 else spec.buffer_depth - 1
        if state.slots[vc, slot, col.FREE] <= before:
            break
        n += 1
    return n


@kernel
def _carry_slots(spec: NocSpec, state: NocState, vc: int, n_returning: int, origin: int, at: int, restores: int) -> int:
    """The flits of an input VC, and its last credits."""
    words, slots, depth, names = state.memo.words, state.slots, spec.buffer_depth, state.memo.names[state.memo.registers[SIDE]]
    slot = state.vcs[vc, col.HEAD]
    for _ in range(n_returning):
        slot = slot - 1 if slot > 0 else depth - 1
        slots[vc, slot, col.FREE] = _carry_time(words, at, slots[vc, slot, col.FREE], origin, restores)
        at += 1
    slot = state.vcs[vc, col.HEAD]
    for _ in range(state.vcs[vc, col.COUNT]):
        name = 0 if restores else _name(state, slots[vc, slot, col.PACKET])
        name = _carry(words, at, name, restores)
        slots[vc, slot, col.PACKET] = names[name]
        slots[vc, slot, col.AT] = _carry_time(words, at + 1, slots[vc, slot, col.AT], origin, restores)
        slots[vc, slot, col.FREE] = NEVER
        slot = slot + 1 if slot + 1 < depth else 0
        at += 2
    return at


@kernel
def _carry_branches(spec: NocSpec, state: NocState, vc: int, origin: int, at: int, restores: int) -> int:
    """Branches of the packet at the front of an input VC: those that hold an output VC, and those that wait for one."""
    words, branches, ports = state.memo.words, state.branches, state.vcs[vc, col.ACTIVE]
    while ports:
        branch = vc * spec.n_ports + lowest_bit(ports)
        ports &= ports - 1
        branches[branch, col.TARGET] = _carry(words, at, branches[branch, col.TARGET], restores)
        branches[branch, col.BRANCH_SENT] = _carry(words, at + 1, branches[branch, col.BRANCH_SENT], restores)
        branches[branch, col.BRANCH_READY] = _carry_time(words, at + 2, branches[branch, col.BRANCH_READY], origin, restores)
        at += 3
    ports = state.vcs[vc, col.PENDING]
    if ports:
        state.vcs[vc, col.TABLE_ROW] = _carry(words, at, state.vcs[vc, col.TABLE_ROW], restores)
        at += 1
    while ports:
        branch = vc * spec.n_ports + lowest_bit(ports)
        ports &= ports - 1
        branches[branch, col.BRANCH_ASKED] = _carry(words, at, branches[branch, col.BRANCH_ASKED], restores)
        at += 1
    return at


@kernel
def _carry_times_of_vc(spec: NocSpec, state: NocState, vc: int, origin: int, at: int, restores: int) -> int:
    """When the head may ask for a VC, and when the VC had an owner, as far as allocators still look."""
    words, vcs, delay = state.memo.words, state.vcs, spec.switch_allocation_delay
    if vcs[vc, col.PENDING]:
        vcs[vc, col.READY] = _carry_time(words, at, vcs[vc, col.READY], origin, restores)
        at += 1
    elif spec.speculative and delay > 1:
        vcs[vc, col.READY] = origin - _carry(words, at, (origin - vcs[vc, col.READY]) % delay, restores)
        at += 1
    if spec.vc_allocation_delay > 1:
        changed = max(vcs[vc, col.TAKEN_CHANGED] - origin, -MAX_ALLOCATION_CYCLES - 1)
        changed = _carry(words, at, changed, restores)
        history = vcs[vc, col.TAKEN_HISTORY] if changed >= -MAX_ALLOCATION_CYCLES else 0
        vcs[vc, col.TAKEN_CHANGED] = changed + origin
        vcs[vc, col.TAKEN_HISTORY] = _carry(words, at + 1, history, restores)
        at += 2
    return at


@kernel
def _is_open(vcs: Integers, vc: int) -> int:
    """Whether the packet at the front of an input VC asks for anything."""
    return int((vcs[vc, col.PENDING] | vcs[vc, col.ACTIVE] | vcs[vc, col.SPECULATIVE]) != 0)


@kernel
def _is_busy(spec: NocSpec, vcs: Integers, vc: int, held: int, origin: int) -> int:
    """Whether an input VC that holds flits or waits for credits, ``held``, or neither, is more than empty."""
    is_lately = spec.vc_allocation_delay > 1 and vcs[vc, col.TAKEN_CHANGED] >= origin - MAX_ALLOCATION_CYCLES
    return int((held | vcs[vc, col.SENT] | _is_open(vcs, vc)) != 0 or is_lately)


@kernel
def _clear_vc(spec: NocSpec, state: NocState, vc: int) -> None:
    """An input VC that was always empty, but for its grants and its owner."""
    for slot in range(spec.buffer_depth):
        state.slots[vc, slot, col.FREE] = _LONG_AGO
    for branch in range(vc * spec.n_ports, (vc + 1) * spec.n_ports):
        state.branches[branch, col.BRANCH_ASKED] = 0
    for column in (col.HEAD, col.NEXT, col.COUNT, col.PENDING, col.ACTIVE, col.SENT, col.SPECULATIVE):
        state.vcs[vc, column] = 0
    state.vcs[vc, col.TAKEN_CHANGED] = _LONG_AGO


@kernel
def _carry_vc(spec: NocSpec, state: NocState, vc: int, origin: int, before: int, at: int, restores: int) -> int:
    """One input VC; credits that are back by cycle ``before`` are all alike."""
    words, vcs, header, held = state.memo.words, state.vcs, int64(0), int64(0)
    if restores:
        if _n_returning(spec, state, vc, before) or _is_busy(spec, vcs, vc, vcs[vc, col.COUNT] | vcs[vc, col.HEAD], origin):
            _clear_vc(spec, state, vc)
    else:
        held = vcs[vc, col.COUNT] << _BITS | _n_returning(spec, state, vc, before)
        grants = (vcs[vc, col.INPUT_GRANT] + 1) << 8 | (vcs[vc, col.OUTPUT_GRANT] + 1)
        header = grants << 3 | _is_open(vcs, vc) << 2 | vcs[vc, col.TAKEN] << 1 | _is_busy(spec, vcs, vc, held, origin)
    header = _carry(words, at, header, restores)
    vcs[vc, col.TAKEN] = header >> 1 & 1
    vcs[vc, col.OUTPUT_GRANT] = (header >> 3 & 255) - 1
    vcs[vc, col.INPUT_GRANT] = (header >> 11) - 1
    if not header & 1:
        return at + 1
    held = _carry(words, at + 1, held, restores)
    vcs[vc, col.SENT] = _carry(words, at + 2, vcs[vc, col.SENT], restores)
    at += 3
    if header & 4:
        vcs[vc, col.PENDING] = _carry(words, at, vcs[vc, col.PENDING], restores)
        vcs[vc, col.ACTIVE] = _carry(words, at + 1, vcs[vc, col.ACTIVE], restores)
        vcs[vc, col.SPECULATIVE] = _carry(words, at + 2, vcs[vc, col.SPECULATIVE], restores)
        at += 3
    if restores:
        vcs[vc, col.COUNT] = held >> _BITS
        vcs[vc, col.NEXT] = vcs[vc, col.COUNT] if vcs[vc, col.COUNT] < spec.buffer_depth else 0
    at = _carry_slots(spec, state, vc, held & _LOW, origin, at, restores)
    at = _carry_times_of_vc(spec, state, vc, origin, at, restores)
    return _carry_branches(spec, state, vc, origin, at, restores)


@kernel
def _carry_calendar(spec: NocSpec, state: NocState, origin: int, at: int, restores: int) -> int:
    """Input VCs that have the attention of their site, and those that will, by cycle."""
    words, wheel, n_sites = state.memo.words, state.wheel, state.attention.shape[0]
    for site in range(n_sites):
        state.attention[site] = _carry(words, at + site, state.attention[site], restores)
    count = at + n_sites
    at = count + 1
    if restores:
        wheel[:] = 0
        for _ in range(words[count]):
            wheel[(origin + words[at] // n_sites) & (wheel.shape[0] - 1), words[at] % n_sites] = words[at + 1]
            at += 2
        return at
    for cycle in range(1, wheel.shape[0]):
        row = (origin + cycle) & (wheel.shape[0] - 1)
        for site in range(n_sites):
            if wheel[row, site]:
                words[at], words[at + 1] = cycle * n_sites + site, wheel[row, site]
                at += 2
    words[count] = (at - count - 1) >> 1
    return at


@kernel
def _longest_wait_since(spec: NocSpec, state: NocState) -> int:
    """Since when the oldest of the flits that could cross the switch waits; NEVER, if there is none. A credit is told from older ones if it
    came back while a flit waited for it."""
    since = NEVER
    for router in range(spec.n_routers):
        attention = state.attention[router]
        while attention:
            vc = router * spec.router_vcs + lowest_bit(attention)
            attention &= attention - 1
            ports = state.vcs[vc, col.ACTIVE]
            while ports:
                since = min(since, state.branches[vc * spec.n_ports + lowest_bit(ports), col.BRANCH_READY])
                ports &= ports - 1
    return since


@kernel
def _carry_state(spec: NocSpec, state: NocState, origin: int, at: int, restores: int) -> int:
    """All of it; returns the end of the record."""
    before = origin + 1 - max(spec.vc_allocation_delay, spec.switch_allocation_delay)
    if not restores:
        before = min(before, _longest_wait_since(spec, state))
    at = _carry_interfaces(spec, state, at, restores)
    at = _carry_ports(spec, state.ports, state.memo.words, at, restores)
    for vc in range(state.vcs.shape[0]):
        at = _carry_vc(spec, state, vc, origin, before, at, restores)
    return _carry_calendar(spec, state, origin, at, restores)


@kernel
def _skip_what_matters(words: Integers, at: int) -> int:
    at += 1 + words[at]
    return at + 1 + words[at]


@routine
def settle(spec: NocSpec, state: NocState) -> int:
    """Make the arrays of the state true. Returns 0."""
    registers = state.memo.registers
    if not registers[IS_TRUE]:
        _carry_state(spec, state, registers[AT], _skip_what_matters(state.memo.words, registers[STATE] + MATTERS), 1)
        registers[IS_TRUE] = 1
    return 0


@kernel
def _note_what_matters(spec: NocSpec, state: NocState, at: int) -> int:
    """How many interfaces could take a packet, which, how many could hand one over, which."""
    words, first = state.memo.words, at
    at += 1
    for interface in range(spec.n_interfaces):
        if state.interfaces[interface, col.CURRENT] < 0:
            words[at] = interface
            at += 1
    words[first] = at - first - 1
    second = at
    at += 1
    for interface in range(spec.n_interfaces):
        vc = (spec.n_routers * spec.n_ports + interface) * spec.n_vcs
        n_flits = 0
        for lane in range(spec.n_vcs):
            n_flits += state.vcs[vc + lane, col.COUNT]
        if n_flits:
            words[at] = interface
            at += 1
    words[second] = at - second - 1
    return at


@routine
def remember_state(spec: NocSpec, state: NocState, origin: int) -> int:
    """The record of the state after cycle ``origin``, a new one if it has not been before. Packets in the network get the names that it
    uses. A record: the step taken from it last, length of the rest, what matters to its next step, the state, packets."""
    memo, registers = state.memo, state.memo.registers
    words, begin = memo.words, registers[USED]
    registers[N_NAMES] = 0
    at = _carry_state(spec, state, origin, _note_what_matters(spec, state, begin + MATTERS), 0)
    for name in range(registers[N_NAMES]):
        packet = memo.names[registers[SIDE], name]
        memo.name_of[packet] = -1
        words[at], words[at + 1] = state.packets[packet, col.ROUTE], state.packets[packet, col.FLITS]
        at += 2
    words[begin], words[begin + 1] = 0, at - begin
    place = place_of(words, memo.states, begin, 1, at - begin, digest(words, begin + 1, at))
    if memo.states[place] == 0:
        memo.states[place] = begin
        registers[N_RECORDS] += 1
        registers[USED] = at
    return int64(memo.states[place])
