"""Marks: a request for an address whose mark no queued request has is not looked for in the queues, and no other is missed."""

import numpy as np
import pytest
from dram_bench import Memory

from etasim.memory.dram.queue import mark_of
from etasim.memory.dram.spec import MARKS


@pytest.mark.parametrize("stride", [32, 64, 128])
@pytest.mark.parametrize("first", [0, 7 * 8192, 2**31 - 4096])
def test_bursts_that_follow_each_other_have_different_marks(first, stride):
    assert len({mark_of(first + burst * stride) for burst in range(64)}) == 64


def test_marks_count_the_queued_requests_and_are_gone_with_them():
    memory = Memory()
    addresses = np.arange(12) * memory.spec.burst_bytes
    for tag, address in enumerate(addresses.tolist()):
        memory.push(address, write=tag % 2 == 0, at=0, tag=tag)
    memory.run(10)
    queued = memory.state.entries[0]["address"][: int(memory.state.marks.sum())]
    assert memory.state.marks.sum() == len(queued) > 4
    assert memory.state.marks[0].tolist() == np.bincount([mark_of(int(address)) for address in queued], minlength=MARKS).tolist()
    memory.run()
    assert memory.state.marks.sum() == 0


def test_addresses_that_share_a_mark_are_told_apart():
    """The second of each pair meets the first's mark, and then only a read of the same address is answered from the write."""
    memory, same = Memory(), 5 * 64
    other = next(address for address in range(0, 1 << 20, 64) if address != same and mark_of(address) == mark_of(same))
    memory.push(same, write=True, tag=0)
    memory.push(other, tag=1)
    memory.push(same, tag=2)
    memory.run()
    assert memory.counters()["forwarded_reads"] == 1
    assert sorted(tag for _, _, tag in memory.answers()) == [1, 2]
