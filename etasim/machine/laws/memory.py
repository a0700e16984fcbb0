"""Laws of the DRAM: requests of each channel, what became of them, the commands on its bus, the time that all this takes."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from etasim.config.architecture import Dram
from etasim.core.channel import NEVER
from etasim.machine.elaborate import Machine
from etasim.machine.laws.compare import at_least, same
from etasim.machine.laws.said import Said
from etasim.machine.runs import READ, WRITTEN
from etasim.memory.dram import checker
from etasim.memory.dram.spec import NO_ROW
from etasim.memory.dram.standards import COMMANDS
from etasim.program.commands import STORE

FIELDS = ("ra", "bg", "ba", "ro", "co")
DECODED_COMMANDS = 2048
"""Of each channel, whose addresses are decoded again."""

MOST_POSTPONED = checker.MAX_REFRESH_INTERVALS - 1
COUNTER_OF = {"ACT": "activates", "PRE": "precharges", "PREA": "precharge_alls", "RD": "read_bursts", "WR": "write_bursts",
              "REF": "refreshes"}  # fmt: skip


_rules_of = lru_cache(maxsize=64)(checker.rules_of)
"""Of a part, whose timings stand in a table that takes longer to read than its commands to judge."""


def requests(machine: Machine, said: Said) -> Iterator[str]:
    """Each channel accepted the bursts whose addresses it holds."""
    counters = machine.states.dram.counters
    if not machine.specs.controller.instant[STORE]:
        for access, name in ((READ, "accepted_reads"), (WRITTEN, "accepted_writes")):
            yield from same(f"DRAM {name}, of the program's addresses [channel]", counters[name], said["channels"][access])


def service(machine: Machine, last_clock: int) -> Iterator[str]:
    """Each burst is a row hit, miss or conflict, each read has a latency, the data bus carried them all, opened rows were closed."""
    spec, state = machine.specs.dram, machine.states.dram
    counters = state.counters
    yield from same("DRAM latencies, reads accepted [channel]", state.latency.sum(axis=1), counters["accepted_reads"])
    yield from same("DRAM read bytes, bursts [channel]", counters["read_bytes"], counters["read_bursts"] * spec.burst_bytes)
    yield from same("DRAM write bytes, bursts [channel]", counters["write_bytes"], counters["write_bursts"] * spec.burst_bytes)
    if spec.ideal:
        return
    rules = _rules_of(machine.architecture.dram.part)
    least = counters["read_bursts"] * (1 + rules.timings["CL"] + rules.timings["BL"]) + counters["forwarded_reads"]
    yield from at_least("DRAM read latencies, RD in the next clock [channel]", counters["read_latency_clocks"], least)
    bursts = counters["read_bursts"] + counters["write_bursts"]
    served = sum(counters[f"row_{what}"] for what in ("hits", "misses", "conflicts"))
    yield from same("DRAM row hits, misses, conflicts, bursts [channel]", served, bursts)
    yield from same("DRAM clocks of the data bus, bursts [channel]", counters["busy_data_clocks"], bursts * spec.burst_clocks)
    n_buses = spec.n_ranks if rules.private_data_bus else 1
    least = bursts * spec.burst_clocks // n_buses
    yield from at_least("DRAM clocks, bursts at the rate of the pins [channel]", np.full(len(bursts), last_clock + 1), least)
    n_open = np.count_nonzero(state.banks["open_row"] != NO_ROW, axis=1)
    yield from at_least("DRAM rows opened, left open [channel]", counters["activates"], n_open)
    yield from same("DRAM banks open, of all ranks [channel]", state.open_banks[:, :, 0].sum(axis=1), n_open)


def refreshes(machine: Machine, last_clock: int) -> Iterator[str]:
    """Every rank was refreshed once an interval, but for the refreshes that are put off, at most eight of a rank.

    A channel that somebody wakes in the cycle after the last one is ahead of the iteration by its clocks.
    """
    spec, registers, counters = machine.specs.dram, machine.states.dram.registers, machine.states.dram.counters
    due, clocks = registers["refreshes_due"], np.maximum(machine.states.dram.stepped_at, last_clock)
    rounds = np.zeros_like(clocks) if spec.refresh_interval_clocks == NEVER else clocks // spec.refresh_interval_clocks
    expected = rounds * spec.refreshes_at_once
    yield from same("DRAM refreshes done and due, clocks / REFI [channel]", counters["refreshes"] + due, expected)
    yield from at_least("DRAM refreshes that may be due, are due [channel]", np.full(spec.n_channels, MOST_POSTPONED * spec.n_ranks), due)
    if spec.refresh_interval_clocks != NEVER:
        following = (rounds + 1) * spec.refresh_interval_clocks
        yield from same("DRAM clock of the next refresh [channel]", registers["refresh_at"], following)


def _places(dram: Dram, addresses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bank, row) of byte addresses, as the mapping string says."""
    organisation = dram.part.organisation
    width = dram.channel_interleave_bytes // organisation.burst_bytes
    burst = addresses // organisation.burst_bytes
    rest = burst // (width * dram.channels) * width + burst % width
    fields, used = {name: 0 * burst for name in FIELDS}, dict.fromkeys(FIELDS, 0)
    for part in reversed(dram.mapping.split(",")):
        name, bits = part.strip().split(":")
        rest, value = np.divmod(rest, 1 << int(bits))
        fields[name] += value << used[name]
        used[name] += int(bits)
    return (fields["ra"] * organisation.bank_groups + fields["bg"]) * organisation.banks + fields["ba"], fields["ro"]


def addresses(machine: Machine) -> Iterator[str]:
    """The first column commands of each channel go to the bank and row of their address."""
    state, dram = machine.states.dram, machine.architecture.dram
    for channel, n in enumerate(state.registers["logged"].tolist()):
        log = state.log[channel, : min(n, DECODED_COMMANDS)]
        log = log[log[:, 4] >= 0]
        bank, row = _places(dram, log[:, 4])
        what = f"DRAM channel {channel}: bank and row of a command, of its address [command, bank or row]"
        yield from same(what, log[:, 2:4], np.column_stack([bank, row]))


def commands(machine: Machine) -> Iterator[str]:
    """The first commands of each channel obey JEDEC timing, address what the mapping says, and are those that are counted."""
    spec, state, dram = machine.specs.dram, machine.states.dram, machine.architecture.dram
    if spec.ideal:
        return
    rules = _rules_of(dram.part)
    for channel, n in enumerate(state.registers["logged"].tolist()):
        log = state.log[channel, :n]
        violations, n_wrong = checker.illegal(log, rules, spec.n_ranks)
        for v in violations:
            place = "" if v.earliest is None else f" before clock {v.earliest}"
            yield f"DRAM channel {channel}: command {v.index}, {COMMANDS[log[v.index, 1]]} in clock {log[v.index, 0]}{place}: {v.rule}"
        if n_wrong > len(violations):
            yield f"DRAM channel {channel}: {n_wrong} illegal commands in all"
        if n < spec.log_capacity:
            found = np.bincount(log[:, 1], minlength=len(COMMANDS))
            counted = np.array([state.counters[channel][COUNTER_OF[name]] for name in COMMANDS])
            yield from same(f"DRAM channel {channel}: commands recorded, counted [{', '.join(COMMANDS)}]", found, counted)
