"""CPU seconds that the machine's loop takes here and in another checkout of etasim, in turn, so that a computer whose speed drifts slows
down both.

``python tests/benchmarks/compare_stepping.py OTHER`` prints a line for each network: the median of the pairs' ratios, and both medians.
Each checkout keeps its kernels in a folder of its own; the first run of each compiles them and does not count.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parents[2]

STEPPING = """
import json, sys, time
from etasim.config import load_architecture
from etasim.machine import simulation
from etasim.machine.elaborate import elaborate
from etasim.mapping import map_iteration
from etasim.workload import load_network
from etasim.workload.lowering import PHASES
architecture, network, batch, runs = sys.argv[1:]
architecture = load_architecture(architecture)
mapping = map_iteration(architecture, load_network(network), int(batch), PHASES)
seconds = []
for _ in range(1 + int(runs)):
    machine = elaborate(architecture, mapping)
    began = time.process_time()
    cycles = simulation.run(machine, mapping)
    seconds.append(time.process_time() - began)
print(json.dumps([cycles, seconds[1:]]))
"""


def stepping_seconds(checkout: Path, architecture: str, network: str, batch: int, runs: int) -> tuple[int, list[float]]:
    """Core cycles of an iteration, and the CPU seconds of ``runs`` of it in one process of ``checkout``, after one that does not count."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    if folder := environment.get("NUMBA_CACHE_DIR"):
        environment["NUMBA_CACHE_DIR"] = str(Path(folder) / checkout.name)
    command = [sys.executable, "-c", STEPPING, architecture, network, str(batch), str(runs)]
    done = subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True, text=True)
    cycles, seconds = json.loads(done.stdout)
    return cycles, seconds


def main() -> int:
    """Compare; exit status 1 if the two do not come to the same cycles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--architecture", default="eta_vc709")
    parser.add_argument("--networks", default="resnet20_cifar:2,vgg16_cifar:1,resnet18_imagenet:1", help="NAME:BATCH,...")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--runs", type=int, default=1, help="of each process; the least of them counts")
    options = parser.parse_args()
    is_same = True
    for network, batch in (entry.split(":") for entry in options.networks.split(",")):
        pairs = []
        for _ in range(options.pairs):
            sides = [
                stepping_seconds(checkout, options.architecture, network, int(batch), options.runs)
                for checkout in (options.other.resolve(), HERE)
            ]
            is_same &= sides[0][0] == sides[1][0]
            pairs.append([min(seconds) for _, seconds in sides])
        other, here = (median(side) for side in zip(*pairs, strict=True))
        ratio = median(a / b for a, b in pairs)
        seconds = f"{other:.3f} s there, {here:.3f} s here, {len(pairs)} pairs"
        print(f"{network} batch {batch}: {ratio:.2f} times as fast ({seconds})", flush=True)
    return int(not is_same)


if __name__ == "__main__":
    sys.exit(main())
