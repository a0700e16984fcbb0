"""A DRAM scheduler is a file: those of etasim, and one that another package adds."""

import os
import subprocess
import sys

import pytest

import etasim
from etasim.core.clock import Clocks
from etasim.core.registry import DRAM_SCHEDULERS
from etasim.memory.dram.replay import reference_parameters, replay_config
from etasim.memory.dram.spec import build

OUTSIDE = """
import numpy as np
from etasim.core.jit import kernel
from etasim.core.registry import DRAM_SCHEDULERS
from etasim.memory import replay
from etasim.memory.dram.schedule import MAY_CLOSE, NO_CHOICE, offer_bank, oldest_age
from etasim.memory.dram.scheduler import of_queues

@kernel
def best_queued(spec, state, channel, first_clock, slot, queue):
    best = NO_CHOICE
    for i in range(state.registers[channel]["n_busy"][queue]):
        limit = oldest_age(state, channel, queue) + 1
        best = offer_bank(spec, state, channel, first_clock, slot, queue, state.busy[channel, queue, i], limit, MAY_CLOSE, best)
    return best

DRAM_SCHEDULERS.add("in_order", of_queues(best_queued))
generator = np.random.default_rng(3)
trace = generator.integers(0, 1 << 9, 60) * 64, generator.integers(0, 2, 60)
for name in ("in_order", "fcfs", "fr_fcfs"):
    log = replay("DDR3_1866M", "ro:16,ba:3,bg:0,co:7", trace, "sat", scheduler=name, log_capacity=1000).log
    print(hash(log.tobytes()))
"""


def test_another_package_adds_a_scheduler_with_one_file():
    """In order and never closing a row that is needed anyway is ``fcfs``; ``fr_fcfs`` issues something else."""
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONHASHSEED": "0", "PYTHONPATH": os.path.dirname(etasim.__path__[0])}
    ran = subprocess.run([sys.executable, "-c", OUTSIDE], capture_output=True, text=True, env=environment, check=True)
    in_order, fcfs, fr_fcfs = ran.stdout.split()
    assert in_order == fcfs != fr_fcfs


def spec_of(scheduler: str, **choices):
    config = replay_config(reference_parameters("DDR3_1866M"), "ra:1,ro:16,ba:3,bg:0,co:7", scheduler=scheduler, **choices)
    return build(config, Clocks(1, 1, 1), 1)


@pytest.mark.parametrize("name", DRAM_SCHEDULERS.names)
def test_a_specification_says_what_its_scheduler_counts_on(name):
    scheduler, spec = DRAM_SCHEDULERS[name], spec_of(name)
    assert spec.scheduler == DRAM_SCHEDULERS.number(name)
    assert (spec.hands_over, spec.joins_reads) == (scheduler.hands_over, scheduler.joins_reads)
    assert spec.refreshes_at_once == (1 if scheduler.refreshes_in_turn else spec.n_ranks)


def test_an_unknown_scheduler_is_refused_where_the_machine_is_read():
    message = r"dram\.scheduler: unknown DRAM scheduler 'fcsf'; allowed: .*; did you mean 'fcfs'\?"
    with pytest.raises(etasim.config.InputError, match=message):
        etasim.load_architecture("eta_vc709", {"dram.scheduler": "fcsf"})
