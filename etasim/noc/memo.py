"""What `etasim.noc.automaton` remembers: states of the network that have been, and what their next cycle did.

All of it lies in one array of words, a record after the other, and two tables find a record by its digest. The array is bounded: when it is
full, everything is forgotten.
"""

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from etasim.core.arrays import Integers, int64
from etasim.core.jit import kernel

if TYPE_CHECKING:
    from etasim.noc.spec import NocSpec

SWITCH = "ETASIM_NOC_MEMO"
"""The environment variable that switches the memory off, if it is ``off``; results are the same."""

_MOST_WORDS = 1 << 22
_WORDS_OF_A_PLACE = 32
"""A table has a place for so many words."""

# registers. USED: words taken; STATE: the record of the state after the cycle stepped last, 0 if it is not known; AT: that cycle; IS_TRUE:
# whether the arrays of the state are as in that record, else the record alone is true; N_NAMES: packets in the network; SIDE: the row of
# ``names`` that has them; N_RECORDS; LOOKED_UP, FOUND: steps asked for since the memory was judged last, and those that it knew; REST:
# steps for which it is not asked; MOST_WORDS: of the records of a state and a step together
USED, STATE, AT, IS_TRUE, N_NAMES, SIDE, N_RECORDS, LOOKED_UP, FOUND, REST, MOST_WORDS = range(11)

MATTERS = 2
"""Words of the record of a state in front of what matters to its next step."""

_MASK, _FACTOR = (1 << 31) - 1, 0x2545F491


class Memo(NamedTuple):
    """``words``: the records; ``states``, ``steps``: places of records by their digests, 0 for none; ``registers``; ``names`` [side, name]:
    packets in the network by the names that the record gives them, twice over; ``name_of`` [packet]: -1 for none; ``counters``, ``links``,
    ``link_flits``: those of the state as plain words; ``adds`` [word of ``counters``]: whether a step always adds the same;
    ``before``: all of them before a step, ``under_way`` [interface]: whether it had begun a packet.
    """

    words: np.ndarray
    states: np.ndarray
    steps: np.ndarray
    registers: np.ndarray
    names: np.ndarray
    name_of: np.ndarray
    counters: np.ndarray
    links: np.ndarray
    link_flits: np.ndarray
    adds: np.ndarray
    before: np.ndarray
    under_way: np.ndarray


def memo_words(spec: "NocSpec") -> int:
    """Words that the memory of a network may have: none, if it is switched off, or for a network that adds packets, that is
    several, or whose routers are larger than a word."""
    is_able = spec.n_interfaces == spec.n_nodes and max(spec.router_vcs, spec.n_ports) < 32 and spec.buffer_depth < 1 << 12
    return 0 if os.environ.get(SWITCH) == "off" or spec.reduces or spec.ideal or not is_able else _MOST_WORDS


def memo_of(spec: "NocSpec", n_packets: int, counted: tuple[np.ndarray, ...], own: tuple[str, ...], n_words: int) -> Memo:
    """A memory of about ``n_words``, with nothing in it. ``counted``: counters, links and link_flits of the state; ``own``: counters
    that are not the same whenever a step is taken again."""
    counters, tables = counted[0], [table.view(np.int64).reshape(-1) for table in counted]
    n_counters = sum(map(len, tables))
    most = _most_words(spec, n_packets, n_counters) if n_words else 1
    n_words = max(n_words, 3 * most) if n_words else 1
    places = 1 << (n_words // _WORDS_OF_A_PLACE).bit_length()
    registers = np.zeros(11, np.int64)
    registers[[USED, IS_TRUE, MOST_WORDS]] = 1, 1, most
    adds = np.tile([name not in own for name in counters.dtype.names or ()], counters.size).astype(np.int64)
    return Memo(
        words=np.zeros(n_words, np.int32),
        states=np.zeros(places, np.int32),
        steps=np.zeros(places, np.int32),
        registers=registers,
        names=np.zeros((2, n_packets + spec.n_interfaces), np.int64),
        name_of=np.full(n_packets, -1, np.int64),
        counters=tables[0],
        links=tables[1],
        link_flits=tables[2],
        adds=adds,
        before=np.zeros(n_counters, np.int64),
        under_way=np.zeros(spec.n_interfaces, np.int64),
    )


def no_memo() -> Memo:
    """A memory that holds nothing at all, for a state whose arrays are true."""
    return Memo(*[np.zeros(0, np.int64)] * len(Memo._fields))


def _most_words(spec: "NocSpec", n_packets: int, n_counters: int) -> int:
    """No record of a state and one of a step are longer together."""
    n_sites, n_vcs = spec.n_routers + spec.n_interfaces, len(spec.downstream) * spec.n_vcs + spec.n_interfaces * spec.n_vcs
    state = 24 + 6 * spec.n_interfaces + len(spec.downstream) + n_sites + 2 * spec.wheel_slots * n_sites + 2 * n_packets
    state += n_vcs * (12 + 3 * spec.buffer_depth + 3 * spec.n_ports)
    return state + 16 + 24 * spec.n_interfaces + 2 * n_counters + n_packets


@kernel
def _mixed(h: int, word: int) -> int:
    mixed = ((int64(word) ^ h) & _MASK) * _FACTOR
    return mixed ^ (mixed >> 32)


@kernel
def digest(words: Integers, begin: int, end: int) -> int:
    """A number of 31 bits of the words from ``begin`` up to ``end``, in four strands, which a processor mixes at once."""
    a, b, c, d, at = end - begin, 1, 2, 3, begin
    while at + 4 <= end:
        a, b, c, d = _mixed(a, words[at]), _mixed(b, words[at + 1]), _mixed(c, words[at + 2]), _mixed(d, words[at + 3])
        at += 4
    while at < end:
        a = _mixed(a, words[at])
        at += 1
    return _mixed(_mixed(_mixed(a, b), c), d) & _MASK


@kernel
def are_equal(words: Integers, one: int, other: int, count: int) -> bool:
    """Whether the ``count`` words at ``one`` are those at ``other``; compared in runs that take a processor few instructions."""
    at = 0
    while at + 32 <= count:
        differing = int64(0)
        for i in range(at, at + 32):
            differing |= words[one + i] ^ words[other + i]
        if differing:
            return False
        at += 32
    while at < count:
        if words[one + at] != words[other + at]:
            return False
        at += 1
    return True


@kernel
def place_of(words: Integers, table: Integers, begin: int, first: int, end: int, number: int) -> Any:
    """The place in ``table`` of a record whose words from ``first`` up to ``end`` are those of the one at ``begin``, with the digest
    ``number``: a free one, if there is none."""
    place = number & (table.shape[0] - 1)
    while table[place] and not are_equal(words, table[place] + first, begin + first, end - first):
        place = (place + 1) & (table.shape[0] - 1)
    return place
