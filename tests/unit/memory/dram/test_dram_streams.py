"""What the rows of a long run take, beside replays of one."""

import numpy as np
import pytest

from etasim.config import load_architecture
from etasim.memory.dram.replay import run_trace
from etasim.memory.dram.streams import row_clocks_per_burst, rows_per_burst

N_BURSTS = 4096
MAPS = {
    "ro:16,ba:3,bg:0,co:7": 0.05, "ro:16,co:7,bg:0,ba:3": 0.05, "ba:3,ro:16,bg:0,co:7": 0.1, "co:7,ba:3,bg:0,ro:16": 0.05,
    "co:7,ro:16,bg:0,ba:3": 0.05, "co:7,ro:14,ba:3,bg:0,ro:2": 0.05, "co:5,ba:3,bg:0,ro:16,co:2": 0.3, "ro:12,co:7,ba:3,bg:0,ro:4": 0.6,
    "ro:13,ba:3,bg:0,co:7,ro:3": 0.5,
}  # fmt: skip
"""Address maps of a channel, and how far the closed form may be off: by more where what waits covers few banks."""


@pytest.mark.parametrize("is_store", [False, True])
@pytest.mark.parametrize("scheduler", ["fr_fcfs", "fcfs"])
@pytest.mark.parametrize("mapping", MAPS)
def test_a_long_run_takes_what_its_rows_do(mapping, scheduler, is_store):
    keys = {"dram.mapping": mapping, "dram.scheduler": scheduler, "dram.channels": 1, "dram.refresh": False}
    dram = load_architecture("eta_vc709", keys).dram
    found = run_trace(dram, np.arange(N_BURSTS) * 64, np.full(N_BURSTS, int(is_store)), "sat")
    expected = max(float(row_clocks_per_burst(dram, is_store)), dram.part.timing_clocks.BL)
    assert found.cycles / N_BURSTS == pytest.approx(expected, rel=MAPS[mapping])


@pytest.mark.parametrize("mapping", MAPS)
def test_rows_of_a_long_run_are_those_that_it_opens(mapping):
    dram = load_architecture("eta_vc709", {"dram.mapping": mapping, "dram.channels": 1, "dram.refresh": False}).dram
    found = run_trace(dram, np.arange(N_BURSTS) * 64, np.zeros(N_BURSTS), "sat")
    assert found.commands["ACT"] / N_BURSTS == pytest.approx(float(rows_per_burst(dram)), rel=0.6, abs=0.015)
