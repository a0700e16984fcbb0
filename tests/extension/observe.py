"""What the things of the package do, as JSON: run where it is installed, without the compiler."""

import json
from fractions import Fraction
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from etasim import simulate
from etasim.config import load_architecture, shipped_names
from etasim.core import registry
from etasim.core.clock import Clocks
from etasim.core.registry import Registry
from etasim.memory.dram import build as build_dram
from etasim.memory.dram import init as init_dram
from etasim.memory.dram.checker import Command, check, rules_of
from etasim.memory.dram.replay import replay
from etasim.memory.dram.standards import COMMANDS
from etasim.memory.dram.timing import book_timing, ready_at
from etasim.noc import NocParameters, Route, build, packet_latency_cycles
from etasim.noc.assembly import policy_of, topology_of
from etasim.noc.routing import path
from etasim.numerics import data_format, decode, encode
from etasim.workload import load_network

RING = NocParameters(topology="ring", columns=4, rows=2, routing="shortest")
MESH = NocParameters(routing="negative_first", virtual_channels=1)
GDDR5 = {"dram.part": "h5gq1h24afr_6000", "dram.mapping": "group_first"}


def names() -> dict[str, list[str]]:
    """What the package added, by kind."""
    found = {value.kind: value for value in vars(registry).values() if isinstance(value, Registry)}
    added = {kind: [name for name in names if names.origin(name) == "etasim_extension"] for kind, names in found.items()}
    return {kind: names for kind, names in added.items() if names}


def network(parameters: NocParameters) -> int:
    """Routes between all pairs of nodes, which are refused if they could deadlock."""
    return len(build(parameters, [Route(*pair) for pair in ((a, (b,), 0) for a, b in permutations(range(8), 2))]).route_ports)


def gate(timings: dict[str, int], commands: list[tuple[int, str, int, int]]) -> tuple[int, list[str], list[str]]:
    """(clock, command, group, bank) ...: when the controller's tables allow the last one after those before it, and which rules the
    checker finds broken if it comes one clock earlier, and then."""
    dram = load_architecture("eta_small", GDDR5 | {f"dram.timing_clocks.{name}": value for name, value in timings.items()}).dram
    spec = build_dram(dram, Clocks(1, 1, Fraction(1)), 1)
    state = init_dram(spec)
    bank_of = {command: command[2] * dram.part.organisation.banks + command[3] for command in commands}
    *before, last = commands
    for command in before:
        book_timing(spec, state, 0, COMMANDS.index(command[1]), bank_of[command], command[0])
    ready = int(ready_at(spec, state, 0, bank_of[last], COMMANDS.index(last[1])))
    rules = rules_of(dram.part)
    streams = ([Command(t, name, 0, group, bank) for t, name, group, bank in (*before, (at, *last[1:]))] for at in (ready - 1, ready))
    early, then = ([violation.rule for violation in check(stream, rules).violations] for stream in streams)
    return ready, early, then


def activates(n: int) -> list[tuple[int, str, int, int]]:
    """Activates every nine clocks, each row closed when the others allow."""
    acts = [(9 * i, "ACT", i % 4, i // 4 % 4) for i in range(n)]
    return sorted(acts + [(t + 46, "PRE", group, bank) for t, _, group, bank in acts if t + 46 < 9 * n])


GATES = {
    "AW32": gate({"AW32": 300}, [*activates(32), (0, "ACT", 0, 0)]),
    "FAW": gate({"FAW": 40}, [*activates(4), (0, "ACT", 0, 1)]),
    "RCDWR": gate({}, [(0, "ACT", 0, 0), (0, "WR", 0, 0)]),
    "RCD": gate({}, [(0, "ACT", 0, 0), (0, "RD", 0, 0)]),
    "CCDL": gate({}, [(0, "ACT", 0, 0), (9, "ACT", 0, 1), (40, "RD", 0, 0), (0, "RD", 0, 1)]),
    "CCDS": gate({}, [(0, "ACT", 0, 0), (9, "ACT", 1, 0), (40, "RD", 0, 0), (0, "RD", 1, 0)]),
    "PPD": gate({}, [(0, "ACT", 0, 0), (9, "ACT", 1, 0), (60, "PRE", 0, 0), (0, "PRE", 1, 0)]),
}

def commands_of(scheduler: str) -> list[str]:
    """Commands for reads of row 0, row 1 and row 0 again of one bank of a DDR3 part."""
    row_bytes = 2**13 * 8  # 128 bursts of 64 B, of each of 8 banks
    trace = [0, row_bytes, 64], [0, 0, 0]
    log = replay("DDR3_1866M", "ro:16,ba:3,bg:0,co:7", trace, "sat", scheduler=scheduler, log_capacity=20).log
    return [COMMANDS[number] for _, number, *_ in log.tolist()]


def codes(values: list[float]) -> list[int]:
    """Of E4M3, where a tensor's values are at most 2^9."""
    return encode(values, data_format("e4m3").code, 9).tolist()


def activation() -> dict[str, list]:
    """A convolution and ReLU6 of it: what the machine has, which is what the reference has, and what real numbers give."""
    weights = np.random.default_rng(0).integers(-3, 4, (8, 1, 3, 3)).astype(float)  # codes hold them exactly
    network = load_network(Path(__file__).parent / "clipped.yaml")
    result = simulate(load_architecture("eta_small"), network, batch=2, functional=True, tensors={"conv.weight": weights})
    assert result.values is not None
    assert result.values.mismatch is None
    real = {name: result.tensors[name].real() for name in ("input.ofmap", "act.ofmap")}
    windows = sliding_window_view(np.pad(real["input.ofmap"], ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))
    sums = np.einsum("nchwrs,kcrs->nkhw", windows, weights)
    mask = result.tensors["act.mask"].integers
    return {"sums": sums.ravel().tolist(), "output": real["act.ofmap"].ravel().tolist(), "passes": mask.ravel().tolist()}


print(json.dumps({
    "names": names(),
    "inputs": [name for kind in ("configs/dram", "configs/energy") for name in shipped_names(kind)],
    "mapping": load_architecture("eta_small", GDDR5).dram.mapping,
    "path": path(topology_of(MESH), policy_of(MESH), 13, 2),
    "ring_path": path(topology_of(RING), policy_of(RING), 0, 6),
    "routes": [network(MESH), network(RING)],
    "latencies": [packet_latency_cycles(RING, 0, node, 1) for node in range(8)],
    "gates": GATES,
    "activation": activation(),
    "codes": codes([0, 2**-9, 0.5, 1, -1, 16, 17, 19, 240, 448, 500, -2000, 2**-10, 3 * 2**-10]),
    "integers": decode(encode([0.5, -448], data_format("e4m3").code, 9), data_format("e4m3").code).tolist(),
    "scheduled": {name: commands_of(name) for name in ("first_come", "fr_fcfs")},
}))  # fmt: skip
