"""Skipping clocks changes nothing: the same commands, answers and counters as stepping every clock; with and without the JIT."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dram_bench import Memory

import etasim


def traffic(memory, seed, n=150):
    random = np.random.default_rng(seed)
    at = np.cumsum(random.integers(0, 40, n))
    for i in range(n):
        address = int(random.integers(0, 64)) * 64 + int(random.integers(0, 3)) * 65536 * 5
        memory.push(address, bool(random.integers(0, 2)), at=int(at[i]), tag=i, requester=int(random.integers(0, 2)))
    return int(at[-1]) + 12_000


@pytest.mark.parametrize("scheduler", ["fr_fcfs", "fr_fcfs_row_hit", "fcfs", "bank_round_robin"])
@pytest.mark.parametrize("part", ["DDR3_1866M", "HBM2_2000"])
def test_skipping_clocks_changes_nothing(scheduler, part):
    runs = []
    for every_clock in (False, True):
        memory = Memory(part, n_requesters=2, scheduler=scheduler, read_queue=4, write_queue=4, page_policy="timeout")
        end = traffic(memory, seed=len(scheduler))
        memory.run(end, every_clock).settle(end)
        runs.append(memory)
    skipped, stepped = runs
    np.testing.assert_array_equal(skipped.commands(), stepped.commands())
    np.testing.assert_array_equal(skipped.responses.slots, stepped.responses.slots)
    assert skipped.counters() == stepped.counters()


def test_same_without_the_jit():
    script = (
        "from etasim.memory import replay; import zlib\n"
        "from etasim.memory.dram.traces import reference_trace\n"
        "a, w = reference_trace('rnd_rw21', 'ddr4', 64)\n"
        "r = replay('DDR4_2400R', 'RoBaCo', (a[:700], w[:700]), 'sat', log_capacity=4000)\n"
        "print(r.cycles, sorted(r.counters.items()), zlib.crc32(r.log.tobytes()))"
    )
    root = str(Path(etasim.__file__).parents[1])
    outputs = [
        subprocess.run(
            [sys.executable, "-c", script], env=os.environ | {"NUMBA_DISABLE_JIT": off, "PYTHONPATH": root},
            capture_output=True, text=True, check=True,
        ).stdout
        for off in ("0", "1")
    ]
    assert outputs[0] == outputs[1]
