"""The commands that simulate many machines: reproduce, sensitivity, sweep, calibrate."""

import os
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import click

from etasim.report.console import print_renderable as _print
from etasim.report.options import FIDELITY, PATH, WHOLE, check_options
from etasim.report.published import ARCHITECTURE


@click.command()
@click.argument("arch", default=ARCHITECTURE)
@click.option("--batch", type=WHOLE, help="Samples of the iteration [default: the architecture's].")
@click.option("--check", is_flag=True, help="Exit with status 1 if a figure is outside its tolerance.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--report", type=PATH, metavar="FILE.html", help="Write a page with tables and charts.")
@click.option("--document", type=PATH, metavar="FILE.md", help="Write docs/reproduction.md.")
@click.option("--calibration", type=PATH, metavar="FILE", help="JSON of `etasim calibrate` [default: ARCH's].")
@click.option("--accuracy", type=PATH, metavar="DIR", help="Of `etasim reproduce-accuracy`: fills the claims.")
def reproduce(
    arch: str, batch: int | None, check: bool, as_json: bool, report: Path | None, document: Path | None, calibration: Path | None,
    accuracy: Path | None,
) -> None:  # fmt: skip
    """Simulate the networks of the paper on ARCH [default: eta_vc709] and print published figures beside simulated ones."""
    from etasim import machine
    from etasim.config import load_architecture
    from etasim.explore.document import write_document
    from etasim.explore.findings import read_findings, stored_findings
    from etasim.explore.reproduce import passes
    from etasim.explore.reproduce import reproduce as simulate_published
    from etasim.explore.tables import reproduction_tables
    from etasim.explore.variations import vary
    from etasim.report.extras import need
    from etasim.report.outputs import check_outputs
    from etasim.report.progress import SimulationProgress
    from etasim.report.published import CLAIMS, trained_claims
    from etasim.report.store import json_text

    check_options(batch=batch)
    if report:
        need("vl_convert")
    workers = os.cpu_count() or 1
    machine_as_it_is = load_architecture(arch)
    at_its_batch = batch in (None, machine_as_it_is.training.batch)  # intervals at another batch are of other figures
    stored = stored_findings(machine_as_it_is) if at_its_batch else None
    found = read_findings(calibration) if calibration else stored
    claims = trained_claims(accuracy) if accuracy else CLAIMS
    check_outputs([(option, path) for option, path in (("--report", report), ("--document", document)) if path])
    with SimulationProgress(machine.start_compiling()) as bars:
        bar_of = cache(bars.add)
        result = simulate_published(batch, workers, lambda name, *done: bar_of(name)(*done), arch)
        result = result._replace(claims=claims).calibrated_by(found)
        variations = vary("analytical", workers, lambda name: None, arch) if report or document else []
    if report:
        from etasim.explore.reproduction_page import page_of_reproduction
        from etasim.report.page.document import write_page

        write_page(page_of_reproduction(result, variations), report)
    if document:
        write_document(document, result, variations)
    if as_json:
        click.echo(json_text(result.plain()), nl=False)
    else:
        _print(reproduction_tables(result))
    if check and not passes(result.rows):
        click.get_current_context().exit(1)


@click.command()
@click.argument("arch", default=ARCHITECTURE)
@click.option("--fidelity", metavar=FIDELITY, default="analytical", show_default=True)
@click.option("--network", "networks", multiple=True, metavar="NAME", help="These networks [default: the published ones].")
@click.option("--workers", type=click.IntRange(min=1), help="Machines at a time [default: one a processor].")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def sensitivity(arch: str, fidelity: str, networks: tuple[str, ...], workers: int | None, as_json: bool) -> None:
    """Halve and double each assumption of ARCH [default: eta_vc709], idealise each part, and change what ETA's ideas are about."""
    from etasim.explore.tables import variation_tables
    from etasim.explore.variations import vary
    from etasim.report.published import NETWORKS
    from etasim.report.store import json_text

    check_options(fidelity=fidelity)
    rows = vary(fidelity, workers or os.cpu_count() or 1, lambda name: None, arch, networks or NETWORKS)
    if as_json:
        click.echo(json_text({"rows": rows}), nl=False)
    else:
        _print(variation_tables(rows))


@click.command()
@click.argument("file", metavar="SWEEP.yaml")
@click.option("--out", type=PATH, metavar="DIR", required=True, help="Folder for points.csv.")
@click.option("--workers", type=click.IntRange(min=1), help="Simulations at a time [default: one a processor].")
@click.option("--resume", is_flag=True, help="Continue a sweep that was stopped.")
@click.option("--force", "--overwrite", "overwrite", is_flag=True, help="Let rows of other inputs go; without --resume, all rows.")
def sweep(file: str, out: Path, workers: int | None, resume: bool, overwrite: bool) -> None:
    """Simulate every design point of SWEEP.yaml (a file or a shipped name: see `etasim list`)."""
    from etasim import machine
    from etasim.explore.space import load_space
    from etasim.explore.sweeps import run_sweep
    from etasim.explore.tables import sweep_table
    from etasim.report.progress import SimulationProgress

    space = load_space(file)
    with SimulationProgress(machine.start_compiling()) as bars:
        step = bars.count("design points", len(space.points))
        workers = workers or os.cpu_count() or 1
        rows = run_sweep(space, out, workers, resume, lambda row: step(f"{row['label']}: {row['status']}"), overwrite)
    _print(sweep_table(rows))
    click.echo(f"rows in {out / 'points.csv'}; `etasim plot {out} pareto` draws them")


@click.command()
@click.argument("file", metavar="SPACE.yaml", default="eta_vc709")
@click.option("--out", type=PATH, metavar="DIR", required=True, help="Folder for the rows of both fidelities.")
@click.option("--simulate", type=click.IntRange(min=1), default=8, show_default=True, help="Machines that the cycle model decides about.")
@click.option("--workers", type=click.IntRange(min=1), help="Simulations at a time [default: one a processor].")
@click.option("--resume", is_flag=True, help="Continue a calibration that was stopped.")
@click.option("--force", "--overwrite", "overwrite", is_flag=True, help="Let rows of other inputs go; without --resume, all rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def calibrate(file: str, out: Path, simulate: int, workers: int | None, resume: bool, overwrite: bool, as_json: bool) -> None:
    """Search the machines of SPACE.yaml (a file or a shipped name) for those that fit all published throughputs."""
    from etasim import machine
    from etasim.explore.calibrate import calibrate as search
    from etasim.explore.calibration_space import load_calibration
    from etasim.explore.tables import calibration_tables
    from etasim.report.progress import SimulationProgress
    from etasim.report.store import json_text

    space = load_calibration(file)
    n_networks, n_candidates = len(space.networks), len(space.on_board())
    with SimulationProgress(machine.start_compiling()) as bars:
        steps = [bars.count("screened", n_candidates * n_networks), bars.count("simulated", simulate * n_networks)]
        screened, simulated = (partial(_point_ended, step) for step in steps)
        findings = search(space, out, simulate, workers or os.cpu_count() or 1, resume, screened, simulated, overwrite)
    if as_json:
        click.echo(json_text(findings), nl=False)
    else:
        _print(calibration_tables(findings))


def _point_ended(step: Callable[[str], None], row: Mapping[str, Any]) -> None:
    step(f"{row['label']}, {row['network']}: {row['status']}")


COMMANDS = (reproduce, sensitivity, sweep, calibrate)
