"""Whatever the traffic and the policy: legal commands, every request served once, conserved counters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etasim.core.registry import DRAM_SCHEDULERS
from etasim.memory import replay
from etasim.memory.dram.checker import check
from etasim.memory.dram.replay import reference_parameters, replay_config, run_trace
from etasim.memory.dram.spec import PAGE_POLICIES
from etasim.memory.dram.validate import logged_commands, rules_of

MAPPINGS = {
    "DDR3_1866M": ("ro:16,ba:3,co:7", "ro:16,co:7,ba:3", "ro:10,ra:1,ro:6,co:3,ba:3,co:4"),
    "DDR4_2400R": ("ro:16,ba:2,bg:2,co:7", "ro:16,ba:2,co:7,bg:2", "ro:16,ba:2,co:6,ra:1,bg:2,co:1"),
    "HBM2_2000": ("ro:14,ba:2,bg:2,co:5", "ro:14,ba:2,co:5,bg:2", "ro:14,ba:2,co:5,bg:2,ra:1"),
    "LPDDR4_2400_x16": ("ro:16,ba:3,co:6", "ro:16,co:6,ba:3", "ra:1,ro:16,ba:3,co:6"),
}


@st.composite
def runs(draw):
    part = draw(st.sampled_from(sorted(MAPPINGS)))
    mapping = draw(st.sampled_from(MAPPINGS[part]))
    choices = {
        "ranks": 2 if "ra" in mapping else 1, "scheduler": draw(st.sampled_from(DRAM_SCHEDULERS.names)),
        "page_policy": draw(st.sampled_from(PAGE_POLICIES)), "refresh": draw(st.booleans()),
        "read_queue": draw(st.integers(1, 40)), "write_queue": draw(st.integers(1, 40)),
    }
    mode = draw(st.sampled_from(["sat", "dep", "pace3", "pace37", "pace900"]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, spread = draw(st.integers(1, 250)), draw(st.sampled_from([4, 300, 1 << 20]))
    bursts = random.integers(0, spread, n) * draw(st.sampled_from([1, 128, 1024])) % (1 << 22)
    writes = random.random(n) < draw(st.sampled_from([0, 0.3, 1]))
    return part, mapping, choices, mode, bursts, writes


@settings(max_examples=60)
@given(runs())
def test_any_run_is_legal_and_conserved(run):
    part, mapping, choices, mode, bursts, writes = run
    parameters = reference_parameters(part)
    config = replay_config(parameters, mapping, **choices)
    result = run_trace(config, bursts * parameters["tx"], writes, mode, log_capacity=20 * len(bursts) + 4000)
    assert check(logged_commands(result.log, rules_of(parameters)), rules_of(parameters)).violations == ()
    counters = result.counters
    n_writes = int(writes.sum())
    assert counters["accepted_reads"] == len(bursts) - n_writes == counters["read_bursts"] + counters["forwarded_reads"]
    assert counters["accepted_writes"] == n_writes == counters["write_bursts"] + counters["merged_writes"]
    assert sum(result.latency_histogram) == counters["accepted_reads"]
    served = counters["read_bursts"] + counters["write_bursts"]
    assert counters["row_hits"] + counters["row_misses"] + counters["row_conflicts"] == served
    assert counters["busy_data_clocks"] == served * parameters["nBL"]
    assert counters["read_bytes"] + counters["write_bytes"] == served * parameters["tx"]
    assert counters["address_errors"] == counters["response_overflows"] == 0
    assert sum(result.commands.values()) == len(result.log)


@st.composite
def parts(draw):
    """A part that nobody sells: every timing of its own, within the rules; any organisation; the address bits in any order."""
    parameters = dict(reference_parameters(draw(st.sampled_from(sorted(MAPPINGS)))))
    t = {key: max(1, round(value * draw(st.floats(0.4, 2.5)))) for key, value in parameters.items() if key.startswith("n") and key != "nBL"}
    t["nCCDS"], t["nRAS"] = max(t["nCCDS"], parameters["nBL"]), max(t["nRAS"], t["nRCD"])
    for name in ("CCD", "RRD", "WTR"):
        t[f"n{name}L"] = max(t[f"n{name}L"], t[f"n{name}S"])
    t["nRC"], t["nFAW"] = max(t["nRC"], t["nRAS"] + t["nRP"]), max(t["nFAW"], t["nRRDS"])
    t["nREFI"] = max(t["nREFI"], 10 * t["nRC"] + t["nRFC"])
    bits = {"ro": draw(st.integers(3, 10)), "ba": draw(st.integers(0, 3)), "ra": draw(st.integers(0, 2)), "co": draw(st.integers(1, 5)),
            "bg": draw(st.integers(0, 2)) if parameters["kind"] in ("DDR4", "HBM2") else 0}
    burst_beats = parameters["tx"] * 8 // parameters["bus"]
    sizes = {key: 1 << bits[key] for key in ("ro", "ba", "bg")} | {"co": burst_beats << bits["co"]}
    mapping = ",".join(f"{field}:1" for field in draw(st.permutations([name for name, n in bits.items() for _ in range(n)])))
    return parameters | t | sizes, mapping, sum(bits.values())


@settings(max_examples=60)
@given(
    parts(), st.sampled_from(DRAM_SCHEDULERS.names), st.booleans(), st.integers(4, 64), st.sampled_from(["sat", "dep", "pace5"]),
    st.integers(0, 99),
)
def test_any_part_and_mapping_is_legal_and_below_the_pins(part, scheduler, refresh, depth, mode, seed):
    parameters, mapping, address_bits = part
    random = np.random.default_rng(seed)
    addresses, writes = random.integers(0, 1 << address_bits, 200) * parameters["tx"], random.random(200) < 0.3
    choices = {"scheduler": scheduler, "refresh": refresh, "read_queue": depth, "write_queue": depth}
    result = replay(parameters, mapping, (addresses, writes), mode, log_capacity=9999, **choices)
    assert check(logged_commands(result.log, rules_of(parameters)), rules_of(parameters)).violations == ()
    assert sum(result.commands.values()) == len(result.log)
    counters = result.counters
    assert counters["accepted_reads"] == len(addresses) - writes.sum() == counters["read_bursts"] + counters["forwarded_reads"]
    assert counters["accepted_writes"] == writes.sum() == counters["write_bursts"] + counters["merged_writes"]
    pins = 1 if parameters["kind"] != "HBM2" else 1 << mapping.count("ra")
    assert result.counters["busy_data_clocks"] <= pins * (result.cycles + parameters["nCWL"] + parameters["nBL"])
    one = replay(parameters, mapping, ([0], [0]), "sat", refresh=False, scheduler=scheduler)
    assert one.cycles == 1 + (parameters["kind"] == "HBM2") + parameters["nRCD"] + parameters["nCL"] + parameters["nBL"]


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(DRAM_SCHEDULERS.names), st.sampled_from(["sat", "pace5"]))
def test_reads_and_writes_of_an_address_keep_their_order(seed, scheduler, mode):
    """Column commands of an address come in the order of acceptance, where forwarding and merging leave any."""
    random = np.random.default_rng(seed)
    bursts, writes = random.integers(0, 3, 60) * 1024 + random.integers(0, 3, 60), random.random(60) < 0.5
    parameters = reference_parameters("DDR3_1866M")
    config = replay_config(parameters, "ro:16,ba:3,co:7", scheduler=scheduler, refresh=False)
    result = run_trace(config, bursts * 64, writes, mode, log_capacity=2000)
    for burst in np.unique(bursts):
        issued = "".join({3: "R", 4: "W"}[c] for c, a in zip(result.log["command"], result.log["address"], strict=True)
                         if c in (3, 4) and a == burst * 64)
        wanted = "".join("RW"[int(w)] for w in writes[bursts == burst])
        assert is_reduction(issued, wanted, joins=DRAM_SCHEDULERS[scheduler].joins_reads), (issued, wanted)


def is_reduction(issued: str, wanted: str, joins: bool = False) -> bool:
    """Whether dropping reads that follow a write, and all but the last of merged writes, turns ``wanted`` into ``issued``.

    ``joins``: a read may be dropped after a read, too.
    """
    states = {0}
    previous = ""
    for kind in wanted:
        reached = {i + 1 for i in states if i < len(issued) and issued[i] == kind}
        if "W" in previous or (joins and kind == "R" and previous):
            reached |= states
        states, previous = reached, previous + kind
    return len(issued) in states


@pytest.mark.parametrize(("issued", "wanted", "holds"), [("RW", "RW", True), ("WR", "RW", False), ("W", "WR", True), ("R", "RR", False)])
def test_is_reduction(issued, wanted, holds):
    assert is_reduction(issued, wanted) == holds
