"""The five networks of the paper, trained by their recipes: what the claims about accuracy come to on the images at hand."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from etasim.config.catalog import shipped_names
from etasim.config.errors import InputError, Problem
from etasim.report.published import ACCURACY_FILE, ACCURACY_NETWORKS
from etasim.report.staging import write_text
from etasim.report.store import csv_text, json_text
from etasim.training.recipe import RECIPES, Recipe, load_recipe
from etasim.training.scheme import load_scheme

ROWS = "accuracy.csv"
COLUMNS = ("network", "data", "scheme", "epochs", "iterations", "best_accuracy", "last_accuracy")
Row = dict[str, Any]


class AccuracyRun(NamedTuple):
    """One training: its recipe, and where."""

    recipe: Recipe
    folder: Path


def runs_of(folder: Path, places: Mapping[str, Path], schemes: Sequence[str], changes: Mapping[str, Any]) -> list[AccuracyRun]:
    """The runs of each of ACCURACY_NETWORKS whose images lie in ``places`` (by the kind of source), under ``schemes``; ``changes`` are keys
    that replace those of the recipes. Raises InputError if there are none."""
    names = [name for name in ACCURACY_NETWORKS if name in shipped_names(RECIPES) and load_recipe(name).data in places]
    if not names:
        raise InputError([Problem("--cifar10", 1, "", "or --imagenet must say where images lie: nothing is downloaded")])
    runs = []
    for name in names:
        kind = load_recipe(name).data
        for scheme in schemes:
            given = {"data": f"{kind}:{places[kind]}", "scheme": load_scheme(scheme).resolved(), **changes}
            runs.append(AccuracyRun(load_recipe(name, given), folder / name / scheme))
    return runs


def reproduce_accuracy(runs: Iterable[AccuracyRun], folder: Path, train: Callable[[AccuracyRun], list[Row]]) -> list[Row]:
    """Train each run, or go on with it, and write accuracy.json and accuracy.csv into ``folder`` after each. Returns one row a run: the
    best and the last accuracy of its tests."""
    rows: list[Row] = []
    for run in runs:
        history = train(run)
        tested = [row["test_accuracy"] for row in history if row["test_accuracy"] is not None]
        recipe = run.recipe
        first = (recipe.network, recipe.data.partition(":")[0], recipe.scheme.name, recipe.epochs, history[-1]["iteration"])
        rows.append(dict(zip(COLUMNS, (*first, max(tested), tested[-1]), strict=True)))
        write_text(folder / ACCURACY_FILE, json_text({"rows": rows}))
        write_text(folder / ROWS, csv_text(COLUMNS, rows))
    return rows


def accuracy_table(rows: Sequence[Row]) -> Table:
    """The rows for a terminal."""
    table = Table(title="Test accuracy of the paper's networks", title_justify="left")
    for heading in ("network", "data", "scheme"):
        table.add_column(heading)
    for heading in ("epochs", "iterations", "best %", "last %"):
        table.add_column(heading, justify="right")
    for row in rows:
        accuracies = (f"{100 * row[name]:.2f}" for name in ("best_accuracy", "last_accuracy"))
        table.add_row(row["network"], row["data"], row["scheme"], str(row["epochs"]), f"{row['iterations']:,}", *accuracies)
    return table
