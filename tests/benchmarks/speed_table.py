"""Writes docs/speed.md: CPU seconds here and in another checkout of etasim, in turn, and their ratios.

``python tests/benchmarks/speed_table.py OTHER`` measures all rows; ``--rows NAME,...`` some, and keeps what the file says of the others.
Every checkout keeps its kernels in a folder of its own; the first run of a row compiles them and does not count, but in the row ``cold``.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import growth
from compare_stepping import HERE, STEPPING

PAGE, FIGURES = HERE / "docs" / "speed.md", HERE / "docs" / "data" / "speed.json"

MAPPING = """
import json, sys, time
from etasim.config import load_architecture
from etasim.mapping import map_iteration
from etasim.workload import load_network
from etasim.workload.lowering import PHASES
architecture, network, batch = load_architecture(sys.argv[1]), load_network(sys.argv[2]), int(sys.argv[3])
began = time.process_time()
mapping = map_iteration(architecture, network, batch, PHASES)
print(json.dumps([len(mapping.program.commands), [time.process_time() - began]]))
"""

ESTIMATE = """
import json, sys, time
from etasim import simulate
from etasim.config import load_architecture
from etasim.workload import load_network
network, seconds = load_network(sys.argv[2]), []
for n in range(12):
    began = time.process_time()
    machine = load_architecture(sys.argv[1], [each.format(512 + 32 * n, 32 + n) for each in sys.argv[4:]])
    simulate(machine, network, batch=int(sys.argv[3]), fidelity="analytical")
    seconds.append(time.process_time() - began)
print(json.dumps([1, sorted(seconds[1:])[:6]]))
"""

NOC = """
import json, time
from etasim.noc import NocParameters, replay
seconds = []
for _ in range(4):
    began = time.process_time()
    cycles = replay(NocParameters(columns=8, rows=8), "uniform", 0.2, 1, replications=1, sample_cycles=2000).total_cycles
    seconds.append(time.process_time() - began)
print(json.dumps([cycles, seconds[1:]]))
"""

DRAM = """
import json, sys, time
from etasim.memory.dram.replay import reference_parameters, replay_config, run_trace
from etasim.memory.dram.traces import reference_trace
parameters, seconds = reference_parameters("DDR3_1866M"), []
addresses, writes = reference_trace(sys.argv[1], "ddr3", parameters["tx"])
for _ in range(4):
    began = time.process_time()
    counters = run_trace(replay_config(parameters, "ro:16,ba:3,co:7"), addresses, writes, "sat").counters
    seconds.append(time.process_time() - began)
print(json.dumps([int(counters["read_bursts"] + counters["write_bursts"]), seconds[1:]]))
"""

RUN = "import sys; from etasim.__main__ import main; sys.exit(main())"


class Row(NamedTuple):
    """What is measured: a program that prints [what it came to, seconds], or one whose whole process is; ``unit`` of what it comes to;
    ``waited``: by the clock on the wall."""

    what: str
    code: str
    arguments: tuple[str, ...]
    unit: str
    bar: float | None
    whole_process: bool = False
    cold: bool = False
    waited: bool = False


def _stepping(network: str, batch: int, bar: float) -> Row:
    return Row(f"stepping, {network} batch {batch}", STEPPING, ("eta_vc709", network, str(batch), "2"), "cycles", bar)


ROWS = {
    "resnet18": _stepping("resnet18_imagenet", 8, 3.5),
    "vgg16": _stepping("vgg16_cifar", 8, 3),
    "resnet20": _stepping("resnet20_cifar", 8, 2),
    "mapping": Row("planning, mapping and emission, resnet20_cifar batch 2", MAPPING, ("eta_vc709", "resnet20_cifar", "2"), "commands", 5),
    "mapping18": Row("planning, mapping and emission, resnet18_imagenet batch 8", MAPPING, ("eta_vc709", "resnet18_imagenet", "8"),
                     "commands", 5),
    "estimate": Row("estimate of a new array in a search, all planned anew, resnet20_cifar batch 8", ESTIMATE,
                    ("eta_vc709", "resnet20_cifar", "8", "buffers.activation.size={0} KiB", "array.psum_depth={1}"), "points", 5),
    "estimate_buffer": Row("estimate of a new buffer in a search, larger than its maps, resnet20_cifar batch 8", ESTIMATE,
                           ("eta_vc709", "resnet20_cifar", "8", "buffers.activation.size={0} KiB"), "points", 5),
    "process": Row("`etasim run`, resnet20_cifar batch 1, kernels on disk", RUN, ("run", "eta_vc709", "resnet20_cifar", "--batch", "1"), "",
                   1.6, whole_process=True),
    "process18": Row("`etasim run`, resnet18_imagenet batch 8, kernels on disk", RUN,
                     ("run", "eta_vc709", "resnet18_imagenet", "--batch", "8"), "", 3, whole_process=True),
    "functional": Row("`etasim run --functional`, resnet20_cifar batch 8, kernels on disk", RUN,
                      ("run", "eta_vc709", "resnet20_cifar", "--batch", "8", "--functional"), "", 1.5, whole_process=True),
    "cold": Row("`etasim run`, digits_cnn batch 1, nothing compiled", RUN, ("run", "eta_small", "digits_cnn", "--batch", "1"), "", 3,
                whole_process=True, cold=True),
    "cold_waited": Row("the same, seconds waited", RUN, ("run", "eta_small", "digits_cnn", "--batch", "1"), "", None,
                       whole_process=True, cold=True, waited=True),
    "noc": Row("NoC replay, 8 x 8, uniform, 0.2 flits a node and cycle", NOC, (), "cycles", 2),
    "dram_random": Row("DRAM replay, random reads", DRAM, ("rnd_rd",), "bursts", 1.3),
    "dram_mixed": Row("DRAM replay, random reads and writes", DRAM, ("rnd_rw21",), "bursts", 1.3),
}  # fmt: skip


def seconds_of(checkout: Path, row: Row) -> tuple[int, float]:
    """What ``row`` comes to in ``checkout``, and the seconds that it takes there."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        kernels = environment.get("NUMBA_CACHE_DIR")
        if row.cold or kernels:
            environment["NUMBA_CACHE_DIR"] = folder if row.cold else str(Path(str(kernels)) / checkout.name)
            environment["PYTHONPYCACHEPREFIX"] = environment["NUMBA_CACHE_DIR"]  # as an installed package has its bytecode
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        arguments = [*row.arguments, "--out", f"{folder}/out"] if row.whole_process else row.arguments
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run([sys.executable, "-c", row.code, *arguments], cwd=checkout, env=environment, check=True, capture_output=True)
        after, waited_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    if row.waited:
        return 0, waited_s
    if row.whole_process:
        return 0, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    came_to, seconds = json.loads(done.stdout)
    return came_to, min(seconds)


YARDSTICKS = """
import json, time
import numba
import numpy as np
def total(numbers):
    s = 0
    for x in numbers:
        s += x
    return s
def timed(function, numbers):
    began = time.process_time()
    function(numbers)
    return time.process_time() - began
compiled, many = numba.njit(lambda numbers: total_of(numbers)), np.arange(30_000_000) % 7
total_of = numba.njit(total)
compiled(many)
few = list(range(3_000_000))
print(json.dumps([min(timed(total, few) for _ in range(5)) / 3e6 * 1e9, min(timed(compiled, many) for _ in range(5)) / 3e7 * 1e9]))
"""


def measure(name: str, other: Path, pairs: int) -> dict[str, object]:
    """The figures of one row."""
    row, sides = ROWS[name], []
    for checkout in (other, HERE) * (not row.cold):
        seconds_of(checkout, row)
    for _ in range(1 if row.cold else pairs):
        sides.append([seconds_of(checkout, row) for checkout in (other, HERE)])
    there, here = (median(side[i][1] for side in sides) for i in range(2))
    ratio = median(side[0][1] / side[1][1] for side in sides)
    return {"there": there, "here": here, "ratio": ratio, "came_to": [sides[0][0][0], sides[0][1][0]], "pairs": len(sides)}


def large_runs(there_s: float) -> list[str]:
    """The table of large runs; ``there_s``: CPU seconds of b910856 for ResNet18 at batch 8."""
    large = json.loads(growth.FIGURES.read_text())["large"]
    (deep, _), (wide, _) = growth.LARGE
    bars = {deep: (16 * there_s / 3, 600), wide: (None, 400)}
    lines = [
        f"The bar of time is a third of 16 times what b910856 took for {deep} at batch 8, above.",
        "",
        "| `etasim run eta_vc709`, with its series | CPU seconds | bar | peak memory | bar | |",
        "|---|---|---|---|---|---|",
    ]
    for network, batch in growth.LARGE:
        (seconds, mib), (most_s, most_mb) = large[network], bars[network]
        mb = mib * 2**20 / 1e6
        verdict = "met" if mb <= most_mb and (most_s is None or seconds <= most_s) else "missed"
        most = "-" if most_s is None else f"{most_s:.0f} s"
        lines.append(f"| {network} batch {batch} | {seconds:.0f} s | {most} | {mb:.0f} MB | {most_mb} MB | {verdict} |")
    return lines


def page(figures: dict[str, Any]) -> str:
    """The text of docs/speed.md."""
    python_ns, loop_ns = figures["yardsticks"]["ns"]
    lines = [
        "# Speed",
        "",
        "Written by `python tests/benchmarks/speed_table.py OTHER`, where OTHER is a checkout of b910856: CPU seconds, medians of",
        "pairs of processes in turn. A ratio above 1 is faster than b910856. Where the two come to different work, the plans have",
        "changed since; the bar is for the ratio of seconds for each unit of work (cycle, command, burst).",
        "",
        "| work | b910856 | here | ratio | for each unit | bar | | comes to, there and here | pairs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in ROWS.items():
        if name in figures:
            f = figures[name]
            there, here = f["came_to"]
            each = f["ratio"] * here / there if row.unit else f["ratio"]
            came_to = f"{there:,} and {here:,} {row.unit}" if row.unit else "-"
            cells = f"{f['there']:.3f} s | {f['here']:.3f} s | {f['ratio']:.2f} | {each:.2f}"
            verdict = "- |" if row.bar is None else f"{row.bar} | {'met' if each >= row.bar else 'missed'}"
            lines.append(f"| {row.what} | {cells} | {verdict} | {came_to} | {f['pairs']} |")
        else:
            lines.append(f"| {row.what} | - | - | - | - | {row.bar or '-'} | not measured | - | - |")
    lines += [
        "",
        f"Yardsticks of the same machine ({platform.machine()}, {os.cpu_count()} cores, shared): a pure-Python sum takes",
        f"{python_ns:.1f} ns a number, a compiled loop {loop_ns:.2f} ns.",
        "",
        "## Growth",
        "",
        "`python tests/benchmarks/growth.py` measures and draws what `etasim run` takes against the batch and against the depth. A run",
        "holds of its program what is under way ([decision 0055](decisions/0055-a-program-comes-in-windows.md)), and packs what it must",
        "remember of the rest ([decision 0064](decisions/0064-what-is-remembered-is-packed.md)); what still grows is two times for",
        "every command, the packed windows, and, while the program is written, who wrote each plane in DRAM.",
        "",
        *large_runs(figures["process18"]["there"]),
        "",
        "![CPU seconds and peak memory against batch and depth](images/growth.png)",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--once", default="", help="rows of which one pair will do")
    options = parser.parse_args()
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    done = subprocess.run([sys.executable, "-c", YARDSTICKS], check=True, capture_output=True)
    figures["yardsticks"] = {"ns": json.loads(done.stdout)}
    for name in filter(None, options.rows.split(",")):
        figures[name] = measure(name, options.other.resolve(), 1 if name in options.once.split(",") else options.pairs)
        print(name, figures[name], flush=True)
        FIGURES.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
