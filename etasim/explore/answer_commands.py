"""The commands that explore a design space and answer questions about it."""

import os
from pathlib import Path
from typing import Any

import click

from etasim.report.console import print_renderable as _print
from etasim.report.options import FIDELITY, PATH, WHOLE, OneOf, check_options

METHOD_NAMES = ("grid", "random", "nsga2", "tpe")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
MOST_SHOWN = 100
"""Designs of the front that an exploration prints at its end; of a space with many equal ones it has thousands."""
FOLDER = click.argument("folder", type=PATH, metavar="DIR")


@click.command()
@click.argument("file", metavar="SPACE.yaml")
@click.option("--out", type=PATH, metavar="DIR", required=True, help="Folder for points.db and points.csv.")
@click.option("--method", type=OneOf(METHOD_NAMES), default="grid", show_default=True, help="How designs are chosen.")
@click.option("--budget", type=click.IntRange(min=1), help="Designs to evaluate [default: all].")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of random, nsga2 and tpe.")
@click.option(
    "--top", type=click.IntRange(min=1), default=12, show_default=True, help="Designs that the cycle model verifies after screening."
)
@click.option("--workers", type=click.IntRange(min=1), help="Evaluations at a time [default: one a processor].")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Longest evaluation [default: any].")
@click.option("--cluster", metavar="ADDRESS", help="Evaluate on dask.distributed: tcp://HOST:PORT of a scheduler, or local:N.")
@click.option("--resume", is_flag=True, help="Go on with an exploration that was stopped.")
@click.option("--force", "--overwrite", "overwrite", is_flag=True, help="Begin anew in a folder that has an exploration.")
@click.option("--parquet", is_flag=True, help="Write points.parquet beside points.csv.")
@AS_JSON
def explore(
    file: str, out: Path, method: str, budget: int | None, seed: int, top: int, workers: int | None, timeout: float | None,
    cluster: str | None, resume: bool, overwrite: bool, parquet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Search the design space of SPACE.yaml (a file or a shipped name: see `etasim list`) and print its front.

    What is evaluated depends on the file, the method, the budget and the seed only, whatever the number of workers.
    """
    from etasim import machine
    from etasim.config import InputError, Problem
    from etasim.explore.assess import assessors
    from etasim.explore.cluster import Cluster
    from etasim.explore.exploration import SearchPlan, run_exploration
    from etasim.explore.space_file import ANALYTICAL
    from etasim.explore.space_reading import load_design_space
    from etasim.report.extras import need
    from etasim.report.progress import SimulationProgress

    if parquet:
        need("pyarrow")
    space = load_design_space(file)
    pool: Any = assessors(space, workers or os.cpu_count() or 1, timeout)
    if cluster is not None:
        if workers is not None:
            raise InputError([Problem("--workers", None, "", "is for workers of this machine; a cluster's are started beside it")])
        pool = Cluster(space, cluster, timeout_s=timeout)
    compiles = space.fidelity != ANALYTICAL and machine.start_compiling()
    with SimulationProgress(compiles) as bars:
        seen = bars.rates({"screened": min(budget or space.size, space.size), "verified": top})
        run_exploration(space, out, SearchPlan(method, budget, seed, top), pool, resume, overwrite, seen)
    if parquet:
        from etasim.explore.database import Evaluations
        from etasim.explore.parquet import export_parquet

        with Evaluations(out) as evaluations:
            export_parquet(evaluations)
    _answer(out, None, None, None, None if as_json else MOST_SHOWN, as_json)
    if not as_json:
        click.echo(
            f"all evaluations in {out / 'points.csv'}; `etasim best {out}` asks further, `etasim why {out} POINT` says what limits one"
        )


@click.command()
@FOLDER
@click.option("--where", metavar="EXPRESSION", help="Only designs that meet it on every network, as 'dsp <= 1000'.")
@click.option("--by", metavar="NAME[:DIRECTION]", help="Order by a figure instead of showing the front, as power_w or 'dsp:minimize'.")
@click.option("--fidelity", metavar="[cycle|analytical]", help="Whose figures [default: the cycle model's, if there are any].")
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="Designs that are shown.")
@AS_JSON
def best(folder: Path, where: str | None, by: str | None, fidelity: str | None, top: int, as_json: bool) -> None:
    """Show the best designs of the exploration in DIR: its front, or those that are first by a figure."""
    _answer(folder, where, by, fidelity, top, as_json)


def _answer(folder: Path, where: str | None, by: str | None, fidelity: str | None, top: int | None, as_json: bool) -> None:
    from etasim.explore.answer_tables import best_table
    from etasim.explore.answers import best as found
    from etasim.explore.answers import question
    from etasim.explore.database import Evaluations

    with Evaluations(folder) as evaluations:
        _show(found(evaluations, question(evaluations.space, where, by, fidelity, top)), best_table, as_json)


def _show(answer: Any, tables: Any, as_json: bool) -> None:
    from etasim.report.store import json_text

    if as_json:
        click.echo(json_text(answer), nl=False)
    else:
        _print(tables(answer))


@click.command()
@FOLDER
@click.argument("point", type=click.IntRange(min=0))
@click.option("--fidelity", metavar=FIDELITY, default="analytical", show_default=True, help="Of the ladder and the next steps.")
@AS_JSON
def why(folder: Path, point: int, fidelity: str, as_json: bool) -> None:
    """Say what limits design POINT of the exploration in DIR: parts, stalls, constraints, and what the next step on each axis brings."""
    from etasim.explore.answer_tables import why_tables
    from etasim.explore.database import Evaluations
    from etasim.explore.reasons import why as reasons

    check_options(fidelity=fidelity)
    with Evaluations(folder) as evaluations:
        _show(reasons(evaluations, point, fidelity), why_tables, as_json)


@click.command()
@click.argument("arch")
@click.argument("network")
@click.option("--batch", type=WHOLE, help="Samples of the iteration [default: the architecture's].")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Override a key of ARCH, such as core.clock='200 MHz'.")
@click.option("--fidelity", metavar=FIDELITY, default="analytical", show_default=True, help="Estimate, or simulate each rung.")
@AS_JSON
def bottleneck(arch: str, network: str, batch: int | None, overrides: tuple[str, ...], fidelity: str, as_json: bool) -> None:
    """Say which part of ARCH limits NETWORK: the throughput with each part idealised, and with all of them."""
    from etasim.explore.answer_tables import bottleneck_tables
    from etasim.explore.ladder import bottleneck as found
    from etasim.report.inputs import read_inputs

    check_options(fidelity=fidelity)
    inputs = read_inputs(arch, network, batch=batch, overrides=overrides, fidelity=fidelity)
    _show(found(arch, overrides, inputs), bottleneck_tables, as_json)


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--network", metavar="NAME", help="Of points: the network, where their space has several.")
@AS_JSON
def compare(a: str, b: str, network: str | None, as_json: bool) -> None:
    """Compare A and B, each a folder of results or DIR:POINT of an exploration: machines, figures, layers that gain and lose."""
    from etasim.explore.answer_tables import compare_tables
    from etasim.explore.comparing import compare as beside
    from etasim.explore.comparing import read_side

    _show(beside(*(read_side(side, network) for side in (a, b))), compare_tables, as_json)


COMMANDS = (explore, best, why, bottleneck, compare)
