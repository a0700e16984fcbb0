"""The published figures beside simulated ones. A comparison with print, not a validation against hardware."""

from collections.abc import Callable
from typing import Any

from etasim.config import load_architecture
from etasim.explore.evaluate import Evaluation, evaluate
from etasim.explore.workers import Outcome, run_jobs
from etasim.report.inputs import Inputs
from etasim.report.metrics import rounded
from etasim.report.published import ARCHITECTURE, PUBLISHED, PublishedFigure
from etasim.workload import load_network
from etasim.workload.lowering import PHASES

Row = dict[str, Any]


def reproduce(batch: int | None, workers: int, progressed: Callable[[str, float, int], None]) -> list[Row]:
    """Simulate one iteration of each published network; one row a figure, in the order of ``PUBLISHED``.

    ``batch`` None means the architecture's. ``progressed(network, share, cycles)`` is called on the way. A simulation
    that fails gives a row without a simulated figure and with the reason, which counts as a miss.
    """
    architecture = load_architecture(ARCHITECTURE)
    inputs = {
        figure.network: Inputs(architecture, load_network(figure.network), batch or architecture.training.batch, PHASES)
        for figure in PUBLISHED
    }
    longest_first = sorted(inputs, key=lambda name: -inputs[name].network.useful_macs(inputs[name].batch))
    evaluations: dict[str, Evaluation] = {}

    def finished(index: int, outcome: Outcome) -> None:
        evaluations[longest_first[index]] = Evaluation("failed", outcome.error) if outcome.error else outcome.value

    run_jobs(
        evaluate,
        [inputs[name] for name in longest_first],
        workers,
        finished=finished,
        progressed=lambda index, fraction, cycles: progressed(longest_first[index], fraction, cycles),
    )
    return [comparison(figure, inputs[figure.network].batch, evaluations[figure.network]) for figure in PUBLISHED]


def comparison(figure: PublishedFigure, batch: int, evaluation: Evaluation) -> Row:
    """One row: the published figure, the simulated one, the error and whether it is within the tolerance."""
    summary = evaluation.summary or {}
    simulated = summary.get("throughput_gops")
    error_percent = None if simulated is None else rounded(100 * (simulated / figure.published_gops - 1))
    return {
        "figure": figure.figure,
        "network": figure.network,
        "architecture": ARCHITECTURE,
        "published": figure.published_gops,
        "simulated": simulated,
        "error_percent": error_percent,
        "tolerance_percent": figure.tolerance_percent,
        "within_tolerance": error_percent is not None and abs(error_percent) <= figure.tolerance_percent,
        "calibrated": figure.calibrated,
        "batch": batch,
        "total_cycles": summary.get("total_cycles"),
        "useful_macs": summary.get("useful_macs"),
        "wall_seconds": evaluation.wall_seconds,
        "assumption": figure.assumption,
        "source": figure.source,
        "reason": evaluation.reason or None,
    }
