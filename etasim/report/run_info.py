"""What a simulation cost the computer that ran it: the content of run_info.json."""

import platform
import sys
from importlib.metadata import version
from typing import Any

import etasim
from etasim.machine.result import RunResult
from etasim.report.glossary import RUN_INFO, columns
from etasim.report.metrics import rounded, total


def run_info(result: RunResult, wall_seconds: float) -> dict[str, Any]:
    """Figures named in the glossary, and the versions that produced them."""
    macs, n_iterations = total(result.layers, ["macs"]), len(result.values.steps) if result.values else 1
    figures = {
        "wall_seconds": rounded(wall_seconds),
        "simulated_cycles_per_second": rounded(n_iterations * result.total_cycles / wall_seconds),
        "simulated_macs_per_second": None if macs is None else rounded(n_iterations * macs / wall_seconds),
        "peak_memory_bytes": peak_memory_bytes(),
    }
    return {name: figures[name] for name in columns(RUN_INFO)} | {"versions": versions()}


def versions() -> dict[str, str]:
    """Version of what a result is made with, by name."""
    return {"etasim": etasim.__version__, "python": platform.python_version()} | {name: version(name) for name in ("numba", "numpy")}


def peak_memory_bytes() -> int | None:
    """Largest resident memory of this process so far; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
