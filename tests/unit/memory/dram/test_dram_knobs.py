"""Each knob of a memory changes a stated figure of a stated case in the stated direction, mostly by a closed form."""

import numpy as np
import pytest

from etasim.memory import replay
from etasim.memory.dram.parts import reference_parameters

PART = reference_parameters("DDR3_1866M")
CL, RCD, RP, BL, RC, RAS, RFC, REFI = (PART[f"n{name}"] for name in ("CL", "RCD", "RP", "BL", "RC", "RAS", "RFC", "REFI"))
BURST, ROW, BANK = 64, 64 * 128 * 8, 64 * 128
FIRST = 1 + RCD + CL + BL


def run(addresses, mode="sat", writes=None, changes=None, mapping="ro:16,ba:3,co:7", **choices):
    addresses = np.asarray(addresses, np.int64)
    writes = np.zeros_like(addresses) if writes is None else writes
    return replay(PART | (changes or {}), mapping, (addresses, writes), mode, **{"refresh": False} | choices)


def sequence(n=400):
    return np.arange(n) * BURST


def conflicts(n=100):
    return np.arange(n) * ROW


def scattered(n=2000, seed=1):
    return np.random.default_rng(seed).integers(0, 1 << 20, n) * BURST


CLOSED_FORMS = [
    ("one read", [0], "sat", lambda t: 1 + t["RCD"] + t["CL"] + t["BL"], ("RCD", "CL")),
    ("row conflicts", conflicts(50), "sat", lambda t: 1 + t["RCD"] + t["CL"] + t["BL"] + 49 * max(t["RC"], t["RCD"] + t["RTP"] + t["RP"]),
     ("RC", "CL", "RCD", "RTP", "RP")),
    ("a hit", [0, BURST], "pace200", lambda t: 200 + 1 + t["CL"] + t["BL"], ("CL",)),
    ("a conflict", [0, ROW], "pace200", lambda t: 200 + 1 + t["RP"] + t["RCD"] + t["CL"] + t["BL"], ("RP", "RCD", "CL")),
    ("five banks", np.arange(5) * BANK, "sat", lambda t: 1 + max(4 * t["RRDS"], t["FAW"]) + t["RCD"] + t["CL"] + t["BL"], ("FAW", "RRDS")),
]


@pytest.mark.parametrize(("name", "addresses", "mode", "cycles", "timings"), CLOSED_FORMS)
@pytest.mark.parametrize("factor", [1, 2])
def test_timings(name, addresses, mode, cycles, timings, factor):
    t = {key[1:]: value for key, value in PART.items() if key.startswith("n")}
    for timing in timings:
        changed = t | {timing: factor * t[timing]}
        changed["RAS"], changed["RRDL"] = max(changed["RAS"], changed["RCD"]), max(changed["RRDL"], changed["RRDS"])
        changed["RC"] = max(changed["RC"], changed["RAS"] + changed["RP"])
        result = run(addresses, mode, changes={f"n{key}": value for key, value in changed.items()})
        assert result.cycles == cycles(changed), timing


def test_turnarounds():
    """A write and then a read of the row: CWL + BL + WTR between them; and the other way round CL + BL + 2 - CWL."""
    cwl, wtr = PART["nCWL"], PART["nWTRS"]
    choices = {"write_queue": 1, "log_capacity": 9}
    log = run([0, BURST], "sat", [1, 0], **choices).log
    read, write = (int(log["clock"][log["command"] == kind][0]) for kind in (3, 4))
    assert (read, write) in ((1 + RCD, 1 + RCD + CL + BL + 2 - cwl), (1 + RCD + cwl + BL + wtr, 1 + RCD))
    longer = run([0, BURST], "sat", [1, 0], changes={"nWTRS": 2 * wtr, "nWTRL": 2 * wtr}, **choices).log
    moved = int(longer["clock"][longer["command"] == 3][0]) - read
    assert moved == (wtr if write < read else 0)


@pytest.mark.parametrize("refresh", [False, True])
def test_refresh_adds_its_time_to_a_sequence(refresh):
    n = 20_000
    result = run(sequence(n), refresh=refresh)
    undisturbed = FIRST + (n - 1) * BL
    rounds = result.commands["REF"]
    assert rounds == (result.cycles // REFI if refresh else 0)
    lost = result.cycles - undisturbed
    # each refresh: all banks closed and opened again around RFC, with the data bus still busy for a while
    assert rounds * RFC <= lost <= rounds * (RP + RFC + RCD + CL + BL + RAS)


@pytest.mark.parametrize("latency", [0, 7, 40])
def test_controller_latency_adds_to_every_dependent_read(latency):
    addresses = conflicts(30)
    base = run(addresses, "dep")
    late = run(addresses, "dep", controller_latency=latency)
    period = max(RC, 1 + RP + RCD + CL + BL + 1 + latency)
    assert late.cycles == FIRST + 29 * period
    assert late.counters["read_bursts"] == base.counters["read_bursts"]


def test_queue_depth():
    """What is not in the queue cannot be chosen: deeper queues serve scattered reads sooner; one entry serves them one by one."""
    cycles = [run(scattered(), read_queue=depth).cycles for depth in (1, 2, 4, 8, 16, 32, 64)]
    assert cycles == sorted(cycles, reverse=True)
    assert len(set(cycles)) == len(cycles)
    assert cycles[0] > 2 * cycles[-1]
    assert run(conflicts(), read_queue=1).cycles == run(conflicts(), read_queue=32).cycles


def test_write_watermarks():
    """The longer a burst of writes may be, the fewer turnarounds of the bus."""
    addresses, writes = scattered(3000), np.arange(3000) % 3 == 2

    def turns(high, low):
        log = run(addresses, writes=writes, write_high_watermark=high, write_low_watermark=low, log_capacity=20_000).log
        kinds = log["command"][np.isin(log["command"], (3, 4))]
        return int((np.diff(kinds) != 0).sum())

    assert turns(0.9, 0.1) < turns(0.8, 0.4) < turns(0.5, 0.45)


def test_write_drain_starts_above_the_high_watermark():
    """Reads keep coming: a write issues only once more than 0.5 x 8 of them wait, and until fewer than 0.25 x 8 do."""
    for count, drained in ((4, False), (5, True)):
        addresses = np.concatenate([sequence(20), ROW + sequence(count), sequence(300)[20:]])
        writes = np.concatenate([np.zeros(20), np.ones(count), np.zeros(280)])
        choices = {"write_queue": 8, "write_high_watermark": 0.5, "write_low_watermark": 0.25, "log_capacity": 999}
        log = run(addresses, writes=writes, **choices).log
        kinds = log["command"][np.isin(log["command"], (3, 4))].tolist()
        before_last_read = kinds[: len(kinds) - kinds[::-1].index(3)]
        assert before_last_read.count(4) == (count - 1 if drained else 0)


PAGE_CASES = [
    ("open", [0, ROW], 200 + 1 + RP + RCD + CL + BL), ("closed", [0, ROW], 200 + FIRST), ("timeout", [0, ROW], 200 + FIRST),
    ("open", [0, BURST], 200 + 1 + CL + BL), ("closed", [0, BURST], 200 + FIRST), ("timeout", [0, BURST], 200 + FIRST),
]


@pytest.mark.parametrize(("policy", "addresses", "cycles"), PAGE_CASES)
def test_page_policy(policy, addresses, cycles):
    assert run(addresses, "pace200", page_policy=policy, page_timeout=100).cycles == cycles


@pytest.mark.parametrize("timeout", [50, 150, 184, 185, 186, 500])
def test_page_timeout(timeout):
    """The row is closed ``timeout`` after the read in clock 1 + RCD, unless the next request is there first; then it is in the way."""
    closed_at = 1 + RCD + timeout
    act = max(200 + 1, closed_at + RP) if closed_at <= 200 else None
    expected = 200 + 1 + RP + RCD + CL + BL if act is None else act + RCD + CL + BL
    assert run([0, ROW], "pace200", page_policy="timeout", page_timeout=timeout).cycles == expected


def test_schedulers():
    """The more freely a scheduler may choose, the sooner scattered reads are done."""
    cycles = {name: run(scattered(), scheduler=name).cycles for name in ("fcfs", "fr_fcfs", "fr_fcfs_row_hit", "bank_round_robin")}
    assert cycles["fcfs"] > 1.5 * max(cycles[name] for name in cycles if name != "fcfs")
    addresses = np.ravel([[ROW * (i % 2) + i // 2 * BURST] for i in range(100)])  # two rows of one bank in turn
    assert run(addresses, scheduler="fr_fcfs_row_hit").commands["ACT"] < run(addresses, scheduler="fcfs").commands["ACT"] == 100


def test_a_blocking_scheduler_issues_at_other_clocks():
    """A PRE that must wait for a write whose row was opened keeps younger requests from issuing; without writes none must wait."""
    addresses, writes = scattered(3000), np.arange(3000) % 3 == 2
    plain, blocking = (run(addresses, writes=writes, scheduler=name) for name in ("fr_fcfs", "fr_fcfs_blocking"))
    assert blocking.cycles != plain.cycles
    assert run(addresses, scheduler="fr_fcfs_blocking").cycles == run(addresses, scheduler="fr_fcfs").cycles


def test_mapping():
    """Consecutive bursts in different banks: a stride of a row is then a row conflict no longer."""
    assert run(np.arange(50) * ROW).cycles == FIRST + 49 * RC
    bank_on_top = run(np.arange(50) * ROW, mapping="ba:3,ro:16,co:7").cycles
    assert bank_on_top == FIRST + 49 * RC
    spread = run(np.arange(50) * ROW, mapping="ro:13,ba:3,ro:3,co:7").cycles
    assert spread < FIRST + 49 * RC


def test_ranks_overlap_row_cycles():
    """Row conflicts that alternate between two ranks take half the time of as many in one."""
    mapping = "ro:16,ba:3,ra:1,co:7"
    one_rank = run(np.arange(40) * 2 * ROW, mapping=mapping).cycles
    alternating = run([i // 2 * 2 * ROW + i % 2 * BANK for i in range(40)], mapping=mapping).cycles
    assert one_rank == FIRST + 39 * RC
    assert FIRST + 19 * RC <= alternating <= FIRST + 19 * RC + RC // 2


def test_a_switch_of_ranks_costs_a_gap_on_the_bus():
    """Forty row hits of two ranks in turn: CS clocks are lost at nearly every one of them (a few change places)."""
    hits, choices = [i % 2 * BANK + i // 2 * BURST for i in range(40)], {"mapping": "ro:16,ba:3,ra:1,co:7", "scheduler": "fcfs"}
    cycles = [run(hits, changes={"nCS": gap}, **choices).cycles for gap in (1, 2, 5)]
    for gap, took in zip((1, 2, 5), cycles, strict=True):
        assert FIRST + 39 * BL + 36 * gap <= took <= FIRST + 39 * BL + 39 * gap


@pytest.mark.parametrize("channels", [1, 2, 4, 8])
def test_channels_divide_a_sequence(channels):
    """Interleaved by bursts, each of c channels reads n / c of them: 1 / c of the time, and c times the bandwidth."""
    result = run(sequence(800), channels=channels)
    assert result.cycles == FIRST + (800 // channels - 1) * BL
    assert result.peak_bandwidth_gb_per_s == pytest.approx(channels * 8 * 2 * (1e12 / 1071) / 1e9)
    assert result.counters["read_bursts"] == 800


def test_channel_interleave():
    """Interleaved by more than the whole trace, one channel does all the work."""
    one, coarse = run(sequence(100)), run(sequence(100), channels=4, channel_interleave_bytes=BURST * 128)
    assert coarse.cycles == one.cycles
    fine = run(sequence(100), channels=4)
    assert fine.cycles < one.cycles / 3


def test_unknown_knob():
    with pytest.raises(ValueError, match="page_timeouts: unknown, allowed: part, channels"):
        run([0], page_timeouts=3)
