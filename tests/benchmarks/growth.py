"""Writes docs/images/growth.png: CPU seconds and memory of `etasim run` against the batch and against the depth of a network.

``python tests/benchmarks/growth.py`` measures all points, a process each, and writes docs/data/growth.json too; with ``--draw`` it draws
those on file. Kernels must be compiled: the first process of all is not counted.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from etasim.report.drawing import save, sheet

HERE = Path(__file__).resolve().parents[2]
FIGURES, PICTURE = HERE / "docs" / "data" / "growth.json", HERE / "docs" / "images" / "growth.png"
MACHINE, NETWORK, DEEP_BATCH = "eta_vc709", "resnet20_cifar", 8
BATCHES, DEPTHS = (1, 2, 8, 32, 128), (4, 8, 16, 32)
LARGE = (("resnet18_imagenet", 128), ("resnet20_cifar", 1024))
"""Runs that do not fit a curve: docs/speed.md tells of them."""

CHILD = """
import json, resource, subprocess, sys
subprocess.run([sys.executable, "-m", "etasim", "run", *sys.argv[1:], "-q"], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""
"""In a process of its own, for the largest child is remembered."""


def run(network: str, batch: int, folder: str) -> list[float]:
    """CPU seconds and MiB of a run."""
    arguments = [MACHINE, network, "--batch", str(batch), "--out", f"{folder}/{Path(network).stem}_{batch}"]
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], cwd=HERE, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def chain(depth: int, folder: str) -> str:
    """A trace of ``depth`` equal convolutions, each normalized, of maps of 16 x 16 in 32 channels."""
    lines = [f"name: chain_{depth}", "input: {channels: 3, height: 16, width: 16}", "classes: 10", "layers:"]
    for i in range(depth):
        lines += [f"  - {{name: conv{i}, op: conv, out_channels: 32, kernel: 3, padding: 1}}", f"  - {{name: norm{i}, op: norm}}",
                  f"  - {{name: relu{i}, op: relu}}"]  # fmt: skip
    path = Path(folder) / f"chain_{depth}.yaml"
    path.write_text("\n".join([*lines, "  - {name: fc, op: linear, out_channels: 10}"]) + "\n")
    return str(path)


def measure() -> dict[str, dict[str, list[float]]]:
    """[seconds, MiB] by batch and by depth, and of the large runs by network."""
    with tempfile.TemporaryDirectory() as folder:
        run(NETWORK, 2 * DEEP_BATCH, folder)
        return {
            "batch": {str(batch): run(NETWORK, batch, folder) for batch in BATCHES},
            "depth": {str(depth): run(chain(depth, folder), DEEP_BATCH, folder) for depth in DEPTHS},
            "large": {network: run(network, batch, folder) for network, batch in LARGE},
        }


def draw(figures: dict[str, dict[str, list[float]]]) -> None:
    """Two rows, seconds above memory; from zero, so that what grows in proportion is a line through the corner."""
    titles = {"batch": f"{NETWORK}, samples of a batch", "depth": f"convolutions of 32 channels, batch {DEEP_BATCH}"}
    figure, panels = sheet(2, 2, figsize=(8, 5), sharex="col")
    for column, (name, title) in enumerate(titles.items()):
        points = [int(x) for x in figures[name]]
        for row, what in enumerate(("CPU seconds", "peak memory [MiB]")):
            axes = panels[row][column]
            axes.plot(points, [values[row] for values in figures[name].values()], marker="o")
            axes.set_ylim(0, 1.1 * max(values[row] for values in figures[name].values()))
            axes.set_ylabel(what)
            axes.grid(visible=True, alpha=0.3)
        panels[1][column].set_xlabel(title)
    save(figure, PICTURE)


def main() -> int:
    """Measure, unless the figures on file will do, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draw", action="store_true")
    if not parser.parse_args().draw:
        FIGURES.write_text(json.dumps(measure(), indent=1) + "\n")
    draw(json.loads(FIGURES.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
