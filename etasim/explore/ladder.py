"""What limits a machine: the ladder of idealised parts, and the shares of phases and stalls."""

from collections.abc import Callable, Sequence
from typing import Any

from etasim.config import Architecture, InputError, find_input
from etasim.config.loading import apply_overrides, build_architecture, read_with_bases
from etasim.explore.assess import figures
from etasim.explore.evaluate import Evaluation, evaluate, one_line
from etasim.explore.figures import CAUSE_SHARES, PHASE_SHARES
from etasim.explore.variations import PARTS
from etasim.machine.inputs import Inputs
from etasim.report.metrics import rounded
from etasim.workload import Network
from etasim.workload.lowering import PHASES

AS_IT_IS, TOGETHER, PEAK = "as it is", "all together", "peak of the array"
Vary = Callable[[dict[str, Any]], Architecture]


def _unwatched(share: float, cycles: int) -> None:
    """Nobody waits for it."""


def ladder(
    vary: Vary, network: Network, batch: int, fidelity: str, phases: tuple[str, ...] = PHASES,
    finished: Callable[[str], None] = lambda name: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Throughput of the machine that ``vary`` gives as it is, with each part alone idealised, with all of them, and its peak.

    Rows have ``name``, ``throughput_gops``, ``change_percent`` against the first (None where a machine cannot run), ``reason``; the first
    has ``figures``: the summary and the shares of phases and causes.
    """
    rungs: dict[str, dict[str, Any]] = (
        {AS_IT_IS: {}} | {name: {key: True} for name, key in PARTS.items()} | {TOGETHER: dict.fromkeys(PARTS.values(), True)}
    )
    rows: list[dict[str, Any]] = []
    for name, overrides in rungs.items():
        found = _evaluated(vary, overrides, network, batch, fidelity, phases)
        row = figures(found)
        rows.append({"name": name, "throughput_gops": row["throughput_gops"], "reason": found.reason})
        if name == AS_IT_IS:
            rows[0]["figures"] = row
            peak = row["peak_gops"]
        finished(name)
    rows.append({"name": PEAK, "throughput_gops": peak, "reason": ""})
    base = rows[0]["throughput_gops"]
    for row in rows:
        own = row["throughput_gops"]
        row["change_percent"] = rounded(100 * (own / base - 1)) if own and base else None
    return rows


def _evaluated(vary: Vary, overrides: dict[str, Any], network: Network, batch: int, fidelity: str, phases: tuple[str, ...]) -> Evaluation:
    try:
        machine = vary(overrides)
    except InputError as error:
        return Evaluation("infeasible", one_line(error))
    return evaluate(Inputs(machine, network, batch, phases, fidelity), _unwatched)


def limit(rows: list[dict[str, Any]]) -> str | None:
    """The part whose idealisation brings most, None if none brings anything."""
    parts = [row for row in rows if row["name"] in PARTS and row["change_percent"] is not None]
    most = max(parts, key=lambda row: row["change_percent"], default=None)
    return most["name"] if most is not None and most["change_percent"] > 0 else None


def bottleneck(arch: str, overrides: Sequence[str], inputs: Inputs) -> dict[str, Any]:
    """The answer of `etasim bottleneck` as plain values, of the ``inputs`` that were read of ``arch`` and ``overrides``."""

    def vary(more: dict[str, Any]) -> Architecture:
        document = apply_overrides(apply_overrides(read_with_bases(find_input("configs", arch)), overrides), more)
        return build_architecture(document)

    rows = ladder(vary, inputs.network, inputs.batch, inputs.fidelity, inputs.phases)
    shares = rows[0].pop("figures")
    return {
        "architecture": inputs.architecture.name, "network": inputs.network.name, "batch": inputs.batch, "fidelity": inputs.fidelity,
        "limit": limit(rows), "ladder": rows, "phase_shares": {name: shares[name] for name in PHASE_SHARES},
        "cluster_shares": {name: shares[name] for name in CAUSE_SHARES},
    }  # fmt: skip
