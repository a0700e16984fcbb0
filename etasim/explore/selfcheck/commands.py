"""The commands that study etasim itself: `etasim selfcheck`."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etasim.report.console import print_renderable as _print
from etasim.report.options import PATH

if TYPE_CHECKING:
    from etasim.explore.selfcheck.running import Rows
    from etasim.explore.space import Point

COUNT = click.IntRange(1, 100_000)
OF_MONOTONE, OF_ESTIMATE, OF_DOUBTS = 300, 200, 500
"""Machines of the studies, unless told otherwise."""

SEED = click.option("--seed", type=click.IntRange(min=0), help="Of the machines [default: 0].")
NETWORK = click.option(
    "--network", "networks", multiple=True, metavar="NAME", callback=lambda context, option, names: tuple(dict.fromkeys(names)),
    help="These networks [default: those of the study].",
)  # fmt: skip
OUT = click.option("--out", type=PATH, metavar="DIR", required=True, help="Folder for points.csv.")
WORKERS = click.option("--workers", type=click.IntRange(min=1), help="Simulations at a time [default: one a processor].")
OVERWRITE = click.option("--force", "--overwrite", "overwrite", is_flag=True, help="Let rows of other machines or another etasim go.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")


@click.group()
def selfcheck() -> None:
    """Study etasim itself on many machines. What DIR has already is not simulated again."""


@selfcheck.command()
@click.option("--machines", "n_machines", type=COUNT, metavar="N", help=f"Random machines [default: {OF_MONOTONE}].")
@SEED
@NETWORK
@click.option("--batches", is_flag=True, help="Grow the batch on the shipped machine from 1 to 64 instead, on the networks of the paper.")
@click.option("--simulate-up-to", "most_simulated", type=COUNT, metavar="N", help="With --batches: larger ones are estimated.")
@OUT
@WORKERS
@OVERWRITE
@AS_JSON
def monotone(
    n_machines: int | None, seed: int | None, networks: tuple[str, ...], batches: bool, most_simulated: int | None, out: Path,
    workers: int | None, overwrite: bool, as_json: bool,
) -> None:  # fmt: skip
    """Is a machine with more hardware ever slower? Exit status 1 if more often, or by more, than it may be."""
    from etasim.explore.selfcheck import monotone as study
    from etasim.explore.selfcheck.tables import batch_tables, monotone_tables, worst_changes

    if batches:
        check_shipped_machine({"--machines": n_machines, "--seed": seed})
        check_networks(networks)
        points = study.batch_points(networks, most_simulated=most_simulated or study.BATCHES[-1])
        found = study.batch_findings(points, _run(points, out, workers, overwrite))
        _tell(found, batch_tables, [], as_json)
    else:
        check_alone(most_simulated)
        check_networks(networks, [*{work.network: None for work in study.WORKLOADS}])
        pairs = study.pairs(n_machines or OF_MONOTONE, seed or 0, networks)
        found = study.findings(pairs, _run(study.points_of(pairs), out, workers, overwrite))
        _tell(found, monotone_tables, worst_changes(found), as_json)


@selfcheck.command()
@click.option("--machines", "n_machines", type=COUNT, metavar="N", help=f"Random machines [default: {OF_ESTIMATE}].")
@SEED
@NETWORK
@OUT
@WORKERS
@OVERWRITE
@click.option("--page", type=PATH, metavar="FILE.md", help="Write docs/studies/estimate.md.")
@AS_JSON
def estimate(
    n_machines: int | None, seed: int | None, networks: tuple[str, ...], out: Path, workers: int | None, overwrite: bool,
    page: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Does the estimate rank machines as the cycle model does, and how far is it off? Exit status 1 if worse than it may be."""
    from etasim.explore.points import POINTS
    from etasim.explore.selfcheck import estimating
    from etasim.explore.selfcheck.page import write_page
    from etasim.explore.selfcheck.tables import estimate_tables, worst_estimates
    from etasim.report.outputs import check_outputs

    n_machines, seed = n_machines or OF_ESTIMATE, seed or 0
    check_networks(networks)
    check_outputs([("--out", out / POINTS), *([("--page", page)] if page else [])])
    compared = estimating.comparisons(n_machines, seed, networks)
    found = estimating.findings(compared, _run(estimating.points_of(compared), out, workers, overwrite))
    if page:
        chosen = [word for name in networks for word in ("--network", name)]
        command = shlex.join(["etasim", "selfcheck", "estimate", "--machines", str(n_machines), "--seed", str(seed), *chosen])
        write_page(page, found, f"{command} --out DIR --page FILE")
    lines = [line for network in found["networks"] for line in (f"worst on {network['network']}:", *worst_estimates(network))]
    _tell(found, estimate_tables, lines, as_json)


@selfcheck.command()
@click.option("--machines", "n_machines", type=COUNT, metavar="N", help=f"Random machines [default: {OF_DOUBTS}].")
@SEED
@NETWORK
@OUT
@WORKERS
@OVERWRITE
@AS_JSON
def doubts(
    n_machines: int | None, seed: int | None, networks: tuple[str, ...], out: Path, workers: int | None, overwrite: bool, as_json: bool,
) -> None:  # fmt: skip
    """Does an estimate say where it is far off? Exit status 1 if one does not."""
    from etasim.explore.selfcheck import doubting
    from etasim.explore.selfcheck.estimating import points_of
    from etasim.explore.selfcheck.monotone import WORKLOADS
    from etasim.explore.selfcheck.tables import doubt_tables, worst_doubts

    check_networks(networks, [*{work.network: None for work in WORKLOADS}])
    compared = doubting.comparisons(n_machines or OF_DOUBTS, seed or 0, networks)
    found = doubting.findings(compared, _run(points_of(compared), out, workers, overwrite))
    _tell(found, doubt_tables, worst_doubts(found), as_json)


@selfcheck.command()
@click.option("--layer", "names", multiple=True, metavar="NAME", help="These layers [default: all ten].")
@click.option("--tuned", "n_tuned", type=click.IntRange(2, 1000), default=8, show_default=True, metavar="K",
              help="Plans that `etasim run --autotune K` would simulate.")  # fmt: skip
@click.option("--within", "within_percent", type=click.FloatRange(min=0), default=10.0, show_default=True, metavar="PERCENT",
              help="Try the nests that the closed form has so near its best.")  # fmt: skip
@OUT
@WORKERS
@AS_JSON
def nests(names: tuple[str, ...], n_tuned: int, within_percent: float, out: Path, workers: int | None, as_json: bool) -> None:
    """How near the best nest is the chosen plan? Exit status 1 if farther than it may be."""
    from etasim import machine
    from etasim.explore.selfcheck import nests as study
    from etasim.explore.selfcheck.tables import nest_tables, worst_nests
    from etasim.report.outputs import check_outputs
    from etasim.report.progress import SimulationProgress

    known = {layer.name: layer for layer in study.LAYERS}
    check_names("--layer", "layer", names, [*known])
    check_outputs([("--out", out / study.FILE)])
    layers = [known[name] for name in dict.fromkeys(names)] or [*known.values()]
    with SimulationProgress(machine.start_compiling()) as bars:
        step = bars.count("operations", len(layers) * len(study.PHASES))
        found = study.study(layers, n_tuned, within_percent, out, workers or os.cpu_count() or 1, step)
    _tell(found, nest_tables, worst_nests(found, study.CHOSEN_PERCENT), as_json)


def check_shipped_machine(given: Mapping[str, int | None]) -> None:
    """Raises InputError for options that are about random machines."""
    from etasim.config import InputError, Problem

    names = [name for name, value in given.items() if value is not None]
    if names:
        raise InputError(Problem(name, None, "", "is of random machines; --batches simulates the shipped one") for name in names)


def check_alone(most_simulated: int | None) -> None:
    """Raises InputError for an option of --batches without it."""
    from etasim.config import InputError, Problem

    if most_simulated is not None:
        raise InputError([Problem("--simulate-up-to", None, "", "is of --batches; random machines are simulated")])


def check_networks(names: Sequence[str], known: Sequence[str] = ()) -> None:
    """Raises InputError for networks that are not ``known``, which are by default the shipped ones."""
    from etasim.config.catalog import shipped_names

    check_names("--network", "network", names, known or shipped_names("traces"))


def check_names(option: str, kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raises InputError for ``names`` of an option that are not ``known``."""
    from etasim.config import InputError, Problem, allowed_names

    wrong = [f"unknown {kind} {name!r}; {allowed_names(name, known)}" for name in names if name not in known]
    if wrong:
        raise InputError(Problem(option, None, "", message) for message in wrong)


def _run(points: "Sequence[Point]", folder: Path, workers: int | None, overwrite: bool) -> "Rows":
    """Have ``points`` run with a bar."""
    from etasim import machine
    from etasim.explore.selfcheck.running import run_points
    from etasim.report.progress import SimulationProgress

    with SimulationProgress(machine.start_compiling()) as bars:
        step = bars.count("simulations", len({point.point_id for point in points}))
        return run_points(points, folder, workers or os.cpu_count() or 1, overwrite, step)


def _tell(found: dict[str, Any], tables: Callable[[Any], Any], lines: Sequence[str], as_json: bool) -> None:
    """Print ``found``; exit status 1 if it misses a bar."""
    from etasim.explore.selfcheck.bars import passes
    from etasim.report.store import json_text

    if as_json:
        click.echo(json_text(found | {"passes": passes(found)}), nl=False)
    else:
        _print(tables(found))
        for line in lines:
            click.echo(line)
    if not passes(found):
        click.get_current_context().exit(1)
