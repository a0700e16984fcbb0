"""What a Python session asks of results and explorations: read them, look at them, put two of them beside each other."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from etasim.config import InputError, Problem
from etasim.config.files import close_to
from etasim.explore.answer_tables import best_table, compare_tables, why_tables
from etasim.explore.answers import best, question
from etasim.explore.assess import assessors
from etasim.explore.comparing import Side, read_side
from etasim.explore.comparing import compare as beside
from etasim.explore.database import DATABASE, Evaluations
from etasim.explore.design_space import leaves
from etasim.explore.exploration import TOP, SearchPlan, run_exploration
from etasim.explore.pictures import EXPLORED, plot_exploration
from etasim.explore.pictures import Shown as Chosen
from etasim.explore.points import POINTS, Row, read_points
from etasim.explore.reasons import why
from etasim.explore.space_reading import load_design_space
from etasim.machine.result import TypedRow
from etasim.report.reading import StoredResult, read_results
from etasim.report.session import as_html, text_of
from etasim.report.simulated import Result
from etasim.report.store import RESULTS
from etasim.workload import dump_network

SHOWN_DESIGNS = 12
"""Of the front, in the text of an exploration."""


class Answer(dict[str, Any]):
    """Plain values, as ``--json`` prints them, that show themselves as the tables of the command."""

    def __init__(self, values: Mapping[str, Any], tables: Callable[[Mapping[str, Any]], Any]) -> None:
        super().__init__(values)
        self._tables = tables

    def __repr__(self) -> str:
        return text_of(self._tables(self))

    def _repr_html_(self) -> str:
        return as_html(self)


class Exploration:
    """The exploration in ``folder``: evaluations of the designs of a space."""

    def __init__(self, folder: str | Path) -> None:
        """Raises InputError for a folder without an exploration, or a damaged one."""
        self.folder = Path(folder)
        with Evaluations(self.folder):
            pass

    def best(self, where: str | None = None, by: str | None = None, fidelity: str | None = None, top: int | None = None) -> Answer:
        """The front, or the first ``top`` designs ordered ``by`` a figure, of those that meet ``where`` on every network; as
        `etasim best`. Raises InputError for what cannot be asked."""
        with Evaluations(self.folder) as found:
            return Answer(best(found, question(found.space, where, by, fidelity, top)), best_table)

    def why(self, point: int, fidelity: str = "analytical") -> Answer:
        """What limits design ``point``, as `etasim why`. Raises InputError for one that was not evaluated."""
        with Evaluations(self.folder) as found:
            return Answer(why(found, point, fidelity), why_tables)

    def rows(self) -> list[TypedRow]:
        """Every evaluation: a design on a network in a fidelity; the columns of points.csv."""
        with Evaluations(self.folder) as found:
            return list(found.rows())

    def plot(self, picture: str, path: str | Path, *, x: str | None = None, y: str | None = None, colour: str | None = None) -> Path:
        """Draw ``picture`` (pareto, parallel, sensitivity, convergence) into ``path``. Raises InputError for what cannot be drawn."""
        if picture not in EXPLORED:
            from etasim.core.registry import UnknownNameError

            raise UnknownNameError("picture of an exploration", picture, EXPLORED)
        return plot_exploration(picture, self.folder, Chosen(x, y, colour), Path(path))

    def __repr__(self) -> str:
        return repr(self.best(top=SHOWN_DESIGNS))

    def _repr_html_(self) -> str:
        return as_html(self)


def explore(
    path_or_name: str | Path, folder: str | Path, *, method: str = "grid", budget: int | None = None, seed: int = 0, top: int = TOP,
    workers: int | None = None, resume: bool = False, force: bool = False,
) -> Exploration:  # fmt: skip
    """Explore the design space of a file, or of a shipped name, into ``folder``; arguments are those of `etasim explore`.

    Raises InputError for a bad file, a folder that holds another exploration (unless ``force``: it goes), or one that another process is
    writing into.
    """
    space = load_design_space(path_or_name)
    pool = assessors(space, workers or os.cpu_count() or 1)
    run_exploration(space, Path(folder), SearchPlan(method, budget, seed, top), pool, resume, force)
    return Exploration(folder)


Compared = str | Path | Result | StoredResult


def compare(a: Compared, b: Compared, *, network: str | None = None) -> Answer:
    """``a`` beside ``b``: keys of the machines, figures, layers that gain and lose; as `etasim compare`.

    Each is a result, a folder of one, or ``DIR:POINT`` of an exploration, there on ``network`` if its space has several. Raises InputError.
    """
    return Answer(beside(_side(a, "A", network), _side(b, "B", network)), compare_tables)


def _side(side: Compared, name: str, network: str | None) -> Side:
    if isinstance(side, StoredResult):
        return read_side(str(side.folder), network)
    if not isinstance(side, Result):
        return read_side(str(side), network)
    layers = Counter[tuple[str, str]]()
    for row in side.layers:
        layers[row.layer, row.phase] += row.cycles
    return Side(
        f"{name} ({side.network.name} on {side.architecture.name})", dict(leaves(side.architecture.resolved())), side.network.name,
        dump_network(side.network), side.batch, side.fidelity, side.summary, layers,
    )  # fmt: skip


def read(folder: str | Path) -> StoredResult | Exploration | list[Row]:
    """What ``folder`` holds: a result, an exploration, or the rows of a sweep. Raises InputError for anything else, or a damaged one."""
    folder = Path(folder)
    if (folder / DATABASE).exists():
        return Exploration(folder)
    if (folder / POINTS).exists() and not (folder / RESULTS).exists():
        return read_points(folder / POINTS)
    if not folder.is_dir():
        raise InputError([Problem(str(folder), None, "", f"no such folder{close_to(folder)}")])
    return read_results(folder)
