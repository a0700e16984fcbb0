"""What all machines that fit the published throughputs say together: how much was fitted, and what they predict of what was not used."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from etasim.config import Architecture
from etasim.explore.points import Row, of_status
from etasim.report.board import board_rows
from etasim.report.metrics import rounded
from etasim.report.published import THROUGHPUTS

FIGURES = {"cycle": ("throughput_gops", "power_w"), "analytical": ("throughput_gops",)}
"""What is asked of each machine that fits, by fidelity: the cycle model has run the networks of the calibration at the machine's batch."""


def independent_figures(errors: Sequence[Mapping[str, float]], networks: Sequence[str], tolerance_percent: float) -> float | None:
    """How many of the ``networks``' figures the machines of a space can meet by themselves: the effective number of fitted parameters.

    The throughputs of all machines, as logarithms, have the covariance C. A direction in which they spread far more than the tolerance t
    can be fitted whatever was published there, one in which they hardly spread is a prediction: sum of lambda / (lambda + t^2) over the
    eigenvalues of C (the number of well-determined parameters of D. J. C. MacKay, "Bayesian Interpolation", Neural Computation 4(3), 1992).
    None of fewer than two machines.
    """
    if len(errors) < 2:
        return None
    logarithms = np.log1p(np.array([[of[name] / 100 for name in networks] for of in errors]))
    spread = np.linalg.eigvalsh(np.atleast_2d(np.cov(logarithms, rowvar=False))).clip(min=0)
    return float(np.sum(spread / (spread + np.log1p(tolerance_percent / 100) ** 2)))


class FigureAsked(NamedTuple):
    """A figure that the machines are asked for. ``neighbour``: which other machine has it with their values, None for themselves;
    ``network``: of the board None; ``batch``: None where each machine has its own."""

    figure: str
    neighbour: str | None
    network: str | None
    batch: int | None
    fidelity: str | None


def predictions(
    rows: Sequence[Row], elsewhere: Mapping[str, Sequence[Row]], machines: Mapping[str, Architecture | None], chosen: str | None
) -> list[dict[str, Any]]:
    """One entry a figure over the machines that fit: ``n``, ``least``, ``greatest``, and of the ``chosen`` one (its label).

    ``rows``: theirs, of both fidelities; ``elsewhere``: of each neighbour with their values; ``machines``: theirs, by label.
    """
    table: dict[FigureAsked, dict[str, float]] = {}
    of_neighbours = (found for name, own in elsewhere.items() for found in _of_neighbour(name, own))
    for label, asked, value in (*_of_rows(rows), *of_neighbours, *_of_boards(machines)):
        table.setdefault(asked, {})[label] = value
    return [
        asked._asdict()
        | {"n": len(of), "least": rounded(min(of.values())), "greatest": rounded(max(of.values())), "chosen": rounded(of.get(chosen or ""))}
        for asked, of in table.items()
    ]


def _of_rows(rows: Sequence[Row]) -> Iterator[tuple[str, FigureAsked, float]]:
    for row in of_status(rows, "ok"):
        network, fidelity = row.text("network"), row.text("fidelity")
        batch = None if fidelity == "cycle" or network not in THROUGHPUTS else int(row.number("batch"))
        for figure in FIGURES[fidelity]:
            value = row.figure(figure)
            if value is not None:
                yield row.text("label"), FigureAsked(figure, None, network, batch, fidelity), value


def _of_neighbour(name: str, rows: Sequence[Row]) -> Iterator[tuple[str, FigureAsked, float]]:
    for row in of_status(rows, "ok"):
        fidelity = row.text("fidelity")
        for figure in FIGURES[fidelity]:
            value = row.figure(figure)
            if value is not None:
                yield row.text("label"), FigureAsked(figure, name, row.text("network"), None, fidelity), value


def _of_boards(machines: Mapping[str, Architecture | None]) -> Iterator[tuple[str, FigureAsked, float]]:
    for label, machine in machines.items():
        for row in board_rows(machine) if machine else ():
            yield label, FigureAsked(row["resource"], None, None, None, None), row["used"]
