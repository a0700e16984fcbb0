"""The commands that tell of etasim, of a machine and of what is stored, and simulate nothing themselves but a yardstick."""

from pathlib import Path

import click

from etasim.report.console import note
from etasim.report.console import print_renderable as _print
from etasim.report.options import PATH, OneOf


@click.command()
@click.argument("part", type=OneOf(["dram", "noc", "rtl", "parity"]), required=False)
@click.option("--references", type=PATH, metavar="DIR", help="Folder of the reference runs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def validate(part: str | None, references: Path | None, as_json: bool) -> None:
    """Compare the DRAM and NoC models with reference runs, every row with its tolerance; or, with PART rtl, the machine's blocks with
    hardware in Verilog, cycle by cycle and value by value (needs Icarus Verilog); or, with PART parity, machines whose design is public
    with the closed forms of their loops (minutes)."""
    from etasim.report.store import json_text
    from etasim.report.validation import UNASKED, validation_gaps, validation_rows, validation_table

    parts = [part] if part else list(UNASKED)
    rows = validation_rows(parts, references)
    for gap in validation_gaps(parts, references):
        note(gap)
    failed = sum(not row["pass"] for row in rows)
    if as_json:
        click.echo(json_text({"rows": rows, "passed": len(rows) - failed, "failed": failed}), nl=False)
    else:
        _print(validation_table(rows))
        click.echo(f"{len(rows) - failed} passed, {failed} failed")
    if failed:
        click.get_current_context().exit(1)


@click.command()
@click.argument("arch", required=False)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of ARCH; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--synthesise", type=PATH, metavar="FILE", help="Map all blocks with yosys anew; the table goes there.")
def board(arch: str | None, overrides: tuple[str, ...], as_json: bool, synthesise: Path | None) -> None:
    """What ARCH takes of its FPGA by laws that are fitted to synthesis, with their error (docs/rtl.md)."""
    from etasim.report.laws import laws_json, laws_table, laws_text, on_board
    from etasim.report.store import json_text

    if synthesise is not None:
        from etasim.report.laws import synthesise_to

        synthesise_to(synthesise)
        click.echo(synthesise)
    if arch is None:
        if synthesise is None:
            raise click.UsageError("Missing argument 'ARCH', or --synthesise FILE.")
        return
    from etasim.config import load_architecture

    architecture = load_architecture(arch, overrides)
    found, its_board = on_board(architecture, arch)
    if as_json:
        click.echo(json_text(laws_json(found)), nl=False)
    else:
        _print(laws_table(found, its_board))
        click.echo(laws_text(found, architecture, its_board))


@click.command("list")
def list_inputs() -> None:
    """List the architectures, traces and sweeps that come with etasim."""
    from etasim.report.catalogue import catalogue

    _print(catalogue())


@click.command()
@click.argument("metric", required=False)
def explain(metric: str | None) -> None:
    """Say what METRIC means, its unit and its formula; without METRIC, list all metrics."""
    from etasim.report.explain import explanation, index

    _print(explanation(metric) if metric else index())


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--no-speed", is_flag=True, help="Do not time a small simulation.")
def doctor(as_json: bool, no_speed: bool) -> None:
    """Say what etasim finds on this machine: versions, cores, where machine code is kept, extras, tools, packages that add to it, and how
    fast it simulates. Exit status 1 if something that it needs is missing."""
    from etasim import machine
    from etasim.report.doctor import examine, faults, findings_tables
    from etasim.report.progress import SimulationProgress
    from etasim.report.store import json_text

    with SimulationProgress(not no_speed and machine.start_compiling()):
        found = examine(with_speed=not no_speed)
    if as_json:
        click.echo(json_text(found), nl=False)
    else:
        _print(findings_tables(found))
    wrong = faults(found)
    for fault in wrong:
        click.echo(fault, err=True)
    if wrong:
        click.get_current_context().exit(1)


@click.command()
@click.argument("folder", type=PATH, metavar="DIR")
@click.option("-o", "--output", type=PATH, metavar="FILE.zip", help="The archive [default: DIR.zip].")
@click.option("--force", is_flag=True, help="Replace an archive that is there.")
def bundle(folder: Path, output: Path | None, force: bool) -> None:
    """Pack the results in DIR with all that they depend on: `etasim run FILE.zip --out AGAIN` repeats them anywhere, and compares."""
    from etasim.report.bundle import write_bundle
    from etasim.report.outputs import check_outputs, check_replaced

    made = output or Path(f"{folder.resolve().name}.zip")
    check_replaced([("-o", made)], force)
    check_outputs([("-o", made)], [path for path in folder.glob("*") if path.is_file()])
    write_bundle(folder, made)
    click.echo(f"{made}: {made.stat().st_size / 1e6:.2f} MB; `etasim run {made} --out DIR` repeats it")


COMMANDS = (validate, board, list_inputs, explain, doctor, bundle)
