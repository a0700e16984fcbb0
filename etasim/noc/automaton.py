"""The network as an automaton that is found out while it runs: what a cycle does is looked up, if it has been before.

What a network does next is decided by its state (`etasim.noc.canonical`), by how long ago it was stepped, and by what its ends offer: the
oldest message of each node that may enter, and whether a receiver has room. A step that is taken for the first time is one of
`etasim.noc.cycle`, and what it changed is noted: the state behind it, what it added to counters, the packets that it took and handed over.
Results are the same with and without.
"""

from etasim.core.arrays import Integers, int64
from etasim.core.channel import Channels, can_pop, can_push
from etasim.core.jit import kernel, routine
from etasim.core.message import packet_bits, packet_route
from etasim.noc import columns as col
from etasim.noc.canonical import remember_state, settle
from etasim.noc.cycle import step_routers
from etasim.noc.interface import accept_packet, hand_over_packet
from etasim.noc.memo import (
    AT,
    FOUND,
    IS_TRUE,
    LOOKED_UP,
    MATTERS,
    MOST_WORDS,
    N_NAMES,
    N_RECORDS,
    REST,
    SIDE,
    STATE,
    USED,
    Memo,
    are_equal,
    digest,
    place_of,
)
from etasim.noc.spec import ACCEPTED, MAX_ALLOCATION_CYCLES, NocSpec, NocState

_JUDGED_AFTER, _REST = 4096, 16384
"""Steps; a memory that knows less than three quarters of them is left alone for a while: to learn a step costs several."""

_BITS, _LOW = 31, (1 << 31) - 1

_TURNED = 2  # what an interface does, beside taking and handing over a packet: it has one under way, or no longer


@kernel
def _forget(memo: Memo) -> None:
    """Begin again with nothing; the arrays of the state must be true."""
    memo.states[:] = 0
    memo.steps[:] = 0
    memo.registers[USED], memo.registers[N_RECORDS], memo.registers[STATE] = 1, 0, 0


@kernel
def _is_full(memo: Memo) -> bool:
    registers = memo.registers
    return registers[USED] + registers[MOST_WORDS] > memo.words.shape[0] or 2 * registers[N_RECORDS] + 4 > memo.states.shape[0]


@kernel
def _ask(spec: NocSpec, state: NocState, inject: Channels, eject: Channels, now: int) -> int:
    """Write what decides the step of cycle ``now`` behind all records; returns its length. To an empty network all times that are long ago
    are alike."""
    memo = state.memo
    words, begin, known = memo.words, memo.registers[USED], memo.registers[STATE]
    passed = now - memo.registers[AT]
    words[begin] = known
    words[begin + 1] = passed if memo.registers[N_NAMES] else min(passed, spec.wheel_slots + MAX_ALLOCATION_CYCLES + 1)
    noted, at = known + MATTERS, begin + 2
    for i in range(noted + 1, noted + 1 + words[noted]):
        words[at] = 0
        if can_pop(inject, words[i], now):
            n_bits = packet_bits(inject, words[i])
            words[at], words[at + 1], words[at + 2] = 1 + packet_route(inject, words[i]), n_bits & _LOW, n_bits >> _BITS
            at += 2
        at += 1
    noted += 1 + words[noted]
    for i in range(noted + 1, noted + 1 + words[noted]):
        words[at] = can_push(eject, words[i], now)
        at += 1
    return at - begin


@kernel
def _add(words: Integers, counters: Integers, at: int) -> int:
    """Add to counters what is listed from ``at`` on; returns the end of the list."""
    end = at + 1 + 2 * words[at]
    for i in range(at + 1, end, 2):
        counters[words[i]] += words[i + 1]
    return end


@kernel
def _repeat(spec: NocSpec, state: NocState, inject: Channels, eject: Channels, at: int, now: int) -> bool:
    """Take the step that is described from ``at`` on; returns whether anything moved."""
    memo, registers = state.memo, state.memo.registers
    words, side, n_names = memo.words, registers[SIDE], registers[N_NAMES]
    registers[STATE], registers[AT], registers[IS_TRUE] = words[at], now, 0
    progress = words[at + 1] != 0
    at = _add(words, memo.link_flits, _add(words, memo.links, _add(words, memo.counters, at + 2)))
    end = at + 1 + 2 * words[at]
    for i in range(at + 1, end, 2):
        interface, what = words[i] >> 2, words[i] & 3
        if what == ACCEPTED:
            memo.names[side, n_names] = accept_packet(spec, state, inject, interface, packet_route(inject, interface), now)
            n_names += 1
        elif what == _TURNED:
            state.interfaces[interface, col.CURRENT] = words[i + 1]
        else:
            hand_over_packet(state, eject, interface, memo.names[side, words[i + 1]], now)
    registers[SIDE], registers[N_NAMES] = 1 - side, words[end]
    for name in range(words[end]):
        memo.names[1 - side, name] = memo.names[side, words[end + 1 + name]]
    return progress


@kernel
def _note_added(words: Integers, at: int, counters: Integers, before: Integers, offset: int) -> int:
    """List what was added to ``counters`` since ``before``, which has them from ``offset`` on; returns the end of the list."""
    first = at
    at += 1
    for i in range(counters.shape[0]):
        if counters[i] != before[offset + i]:
            words[at], words[at + 1] = i, counters[i] - before[offset + i]
            at += 2
    words[first] = (at - first - 1) >> 1
    return at


@kernel
def _note_packets(spec: NocSpec, state: NocState, side: int, n_names: int, at: int) -> int:
    """List what interfaces did, and the names that packets had in row ``side`` by those that they have now; returns the end."""
    memo, handed, first = state.memo, state.handed, at
    words, name_of, before = memo.words, memo.name_of, memo.names[side]
    for name in range(n_names):
        name_of[before[name]] = name
    at += 1
    for i in range(1, handed[0, 0] + 1):
        packet = handed[i, 1]
        if handed[i, 0] & 3 == ACCEPTED:
            before[n_names], name_of[packet] = packet, n_names
            n_names += 1
        words[at], words[at + 1] = handed[i, 0], name_of[packet]
        at += 2
    for interface in range(spec.n_interfaces):
        is_under_way = state.interfaces[interface, col.CURRENT] >= 0
        if is_under_way != memo.under_way[interface]:
            words[at], words[at + 1] = interface << 2 | _TURNED, is_under_way - 1
            at += 2
    words[first] = (at - first - 1) >> 1
    words[at] = memo.registers[N_NAMES]
    for name in range(words[at]):
        words[at + 1 + name] = name_of[memo.names[1 - side, name]]
    for name in range(n_names):
        name_of[before[name]] = -1
    return at + 1 + words[at]


@kernel
def _judge(memo: Memo) -> None:
    """Leave a memory alone for a while that does not know enough. What is in it is kept."""
    registers = memo.registers
    if registers[LOOKED_UP] >= _JUDGED_AFTER:
        if 4 * registers[FOUND] < 3 * registers[LOOKED_UP]:
            registers[REST], registers[STATE] = _REST, 0
        registers[LOOKED_UP], registers[FOUND] = 0, 0


@routine
def _learn(spec: NocSpec, state: NocState, inject: Channels, eject: Channels, length: int, place: int, now: int) -> bool:
    """Take a step for the first time and remember it, at ``place`` of the table; what decides it, of ``length``, is written already."""
    memo, registers = state.memo, state.memo.registers
    settle(spec, state)
    words, begin, known, side, n_names = memo.words, registers[USED], registers[STATE], registers[SIDE], registers[N_NAMES]
    n_counters, n_links = memo.counters.shape[0], memo.links.shape[0]
    registers[USED] += length
    registers[SIDE] = 1 - side
    for i in range(n_counters):
        memo.before[i] = memo.counters[i]
    for i in range(n_links):
        memo.before[n_counters + i] = memo.links[i]
    for i in range(memo.link_flits.shape[0]):
        memo.before[n_counters + n_links + i] = memo.link_flits[i]
    for interface in range(spec.n_interfaces):
        memo.under_way[interface] = state.interfaces[interface, col.CURRENT] >= 0
    progress = step_routers(spec, state, inject, eject, now)
    for i in range(n_counters):
        if not memo.adds[i]:
            memo.before[i] = memo.counters[i]
    registers[STATE], registers[AT] = remember_state(spec, state, now), now
    step = at = registers[USED]
    for i in range(length):
        words[at + i] = words[begin + i]
    at += length
    words[at], words[at + 1] = registers[STATE], progress
    at = _note_added(words, at + 2, memo.counters, memo.before, 0)
    at = _note_added(words, at, memo.links, memo.before, n_counters)
    at = _note_added(words, at, memo.link_flits, memo.before, n_counters + n_links)
    registers[USED] = _note_packets(spec, state, side, n_names, at)
    memo.steps[place] = words[known] = step
    registers[N_RECORDS] += 1
    _judge(memo)
    return progress


@routine
def _recognize(spec: NocSpec, state: NocState, now: int) -> int:
    """Find out the state before cycle ``now``, with room for what may be learned from it. Returns 0."""
    settle(spec, state)
    if _is_full(state.memo):
        _forget(state.memo)
    state.memo.registers[STATE], state.memo.registers[AT] = remember_state(spec, state, now - 1), now - 1
    return 0


@kernel
def step_known(spec: NocSpec, state: NocState, inject: Channels, eject: Channels, now: int) -> bool:
    """One cycle of all interfaces and routers; returns whether anything moved."""
    memo, registers = state.memo, state.memo.registers
    if registers[REST] > 0:
        registers[REST] -= 1
        return step_routers(spec, state, inject, eject, now)
    if registers[STATE] == 0 or _is_full(memo):
        _recognize(spec, state, now)
    begin, known, length = registers[USED], registers[STATE], _ask(spec, state, inject, eject, now)
    registers[LOOKED_UP] += 1
    step = int64(memo.words[known])
    if step == 0 or not are_equal(memo.words, step, begin, length):
        place = place_of(memo.words, memo.steps, begin, 0, length, digest(memo.words, begin, begin + length))
        step = int64(memo.steps[place])
        if step == 0:
            return _learn(spec, state, inject, eject, length, place, now)
        memo.words[known] = step
    registers[FOUND] += 1
    return _repeat(spec, state, inject, eject, step + length, now)
