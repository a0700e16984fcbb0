"""Command line: reads arguments, calls the package, prints.

Exit status 0 fine, 1 a check failed, 2 bad input, or output that cannot be written; 128 + n: ended by signal n.
"""

import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etasim import __version__
from etasim.core.provenance import files_noted
from etasim.explore.answer_commands import COMMANDS as ANSWERING
from etasim.explore.commands import COMMANDS as EXPLORING
from etasim.explore.page_commands import COMMANDS as PAGES
from etasim.explore.plot_commands import COMMANDS as PLOTTING
from etasim.explore.selfcheck.commands import selfcheck
from etasim.report.commands import COMMANDS as TELLING
from etasim.report.console import Verbosity, note, saying, settle_streams
from etasim.report.console import print_renderable as _print
from etasim.report.ending import MESSAGE, end_on_signals, uninterrupted
from etasim.report.options import FIDELITY, PATH, WHOLE
from etasim.training.commands import COMMANDS as TRAINING

if TYPE_CHECKING:
    from etasim.functional import Values
    from etasim.machine.inputs import Inputs
    from etasim.machine.result import RunResult
    from etasim.report.inputs import Named

INTERRUPTED = 128 + signal.SIGINT
NOBODY_READS = 128 + 13
"""SIGPIPE, as the shell reports it."""

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the reference's products are small: threads that wait for each other cost more


WHOLE_SENTENCE = 1000
"""More characters than one has."""
MORE = "etasim.more"
"""Whether a command was asked to say more."""


def _say_so_much(ctx: click.Context, param: click.Parameter, is_given: bool) -> None:
    """What -q and -v do: for the time of this command."""
    if is_given:
        is_quiet = param.name == "quiet"
        ctx.with_resource(saying(Verbosity.QUIET if is_quiet else Verbosity.VERBOSE))
        ctx.meta[MORE] = not is_quiet


VERBOSITIES = [
    click.Option([short, long], is_flag=True, expose_value=False, callback=_say_so_much, help=text) for short, long, text in (
        ("-q", "--quiet", "No progress and no remarks on standard error."),
        ("-v", "--verbose", "Progress every second also without a terminal; with an error, where in etasim it was found."),
    )
]  # fmt: skip


class Commands(click.Group):
    """Turns the failures that users cause or should see into messages and exit statuses; others keep their traceback."""

    def main(self, args: Any = None, *more: Any, **options: Any) -> Any:
        """Without ``args``, the command line of this process: signals and streams are then its own to settle."""
        if args is None:
            settle_streams()
            end_on_signals()
        return super().main(args, *more, **options)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Every command can say less or more."""
        for each in [cmd, *(cmd.commands.values() if isinstance(cmd, click.Group) else ())]:
            if not isinstance(each, click.Group):
                each.params += VERBOSITIES
        super().add_command(cmd, name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """No command is a question for help, which is answered."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each command with its whole first sentence; click would cut it at the end of the line."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(WHOLE_SENTENCE)) for name, command in commands if command])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with files_noted(), saying(Verbosity.NORMAL):
                value = super().invoke(ctx)
            sys.stdout.flush()
            return value
        except KeyboardInterrupt:
            _leave(ctx, MESSAGE, INTERRUPTED)
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(NOBODY_READS)
        except Exception as error:
            with uninterrupted():  # if a signal is ending the process, this is its consequence, and not to be told
                status = _exit_status(error)
            if status is None:
                raise
            if ctx.meta.get(MORE):
                click.echo("".join(traceback.format_exception(error)).rstrip(), err=True)
            _leave(ctx, _text(error), status)


def _leave(ctx: click.Context, message: str, status: int) -> None:
    with uninterrupted():
        click.echo(message, err=True)
    ctx.exit(status)


def _text(error: Exception) -> str:
    """One line of an OSError with the file that it is about, as far as it says; else what the error says."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return ": ".join([*names[-1:], f"{error.strerror}; finished results are kept, nothing is half-written"])


def _exit_status(error: Exception) -> int | None:
    """1 for a machine that stops or breaks its own rules, 2 for bad input or output, None for a defect of etasim."""
    from etasim.config.errors import InputError
    from etasim.core.registry import PluginError

    if isinstance(error, (InputError, PluginError, OSError)):
        return 2
    from etasim.machine.errors import DEFECTS

    return 1 if isinstance(error, DEFECTS) else None


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"]},
    epilog="To begin: etasim run eta_small digits_cnn --out first. The tutorial goes on from there: docs/tutorial.",
)  # fmt: skip
@click.version_option(__version__, prog_name="etasim")
def main() -> None:
    """Simulate ETA, an accelerator that trains neural networks at 8 bits, cycle by cycle."""


@main.command()
@click.argument("arch")
@click.argument("trace", required=False)
@click.option("--batch", type=WHOLE, help="Samples of the iteration [default: the architecture's].")
@click.option("--phases", metavar="ff,bp,wg,wu", help="Phases to simulate [default: all].")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Override a key of ARCH, such as core.clock='200 MHz'.")
@click.option("--scheme", metavar="NAME", help="Formats of a training scheme, a file or a name such as mxint8, where --set says nothing.")
@click.option("--fidelity", metavar=FIDELITY, help="Simulate each cycle, or estimate in closed form [default: cycle].")
@click.option("--functional", is_flag=True, help="Compute values too and compare every tensor with the integer reference.")
@click.option("--tensors", metavar="FILE.npz", multiple=True, help="Samples and values to start from [default: drawn]; may be repeated.")
@click.option("--iterations", type=WHOLE, help="Training iterations on values [default: 1].")
@click.option("--seed", type=WHOLE, help="Seed of all values that no file gives [default: 0].")
@click.option("--listing", type=PATH, metavar="FILE", help="Write the tile program as text.")
@click.option("--autotune", type=click.IntRange(2, 1000), metavar="K", help="Simulate K plans of each operation first, keep the quickest.")
@click.option("--workers", type=click.IntRange(min=1), help="Simulations at a time, of --autotune [default: one a processor].")
@click.option("--timeline", type=PATH, metavar="FILE", help="Write what ran when, for Perfetto (.json, .json.gz).")
@click.option("--timeline-window", metavar="A:B", help="Only core cycles A to B of the timeline.")
@click.option("--timeline-layer", metavar="LAYER", help="Arrows in the timeline from load to compute to store of LAYER.")
@click.option("--series-every", type=WHOLE, metavar="CYCLES", help="Length of a sample of series.npz [default: 500 to 2,000 samples].")
@click.option("--no-series", is_flag=True, help="Write no series.npz.")
@click.option("--out", type=PATH, metavar="DIR", required=True, help="Folder for the results.")
@click.option("--checkpoint-every", type=WHOLE, metavar="CYCLES", help="Save the run in DIR every so many core cycles.")
@click.option("--resume", is_flag=True, help="Go on from what is saved in DIR, or begin where nothing is.")
@click.option("--force", "--overwrite", "force", is_flag=True, help="Let what DIR holds of an earlier run go, its pictures too.")
def run(
    arch: str, trace: str | None, batch: int | None, phases: str | None, overrides: tuple[str, ...], fidelity: str | None, functional: bool,
    tensors: tuple[str, ...], iterations: int | None, seed: int | None, listing: Path | None, timeline: Path | None,
    timeline_window: str | None, timeline_layer: str | None, series_every: int | None, no_series: bool, autotune: int | None,
    workers: int | None, out: Path, checkpoint_every: int | None, resume: bool, force: bool, scheme: str | None,
) -> None:  # fmt: skip
    """Simulate one training iteration of TRACE on ARCH (files or shipped names: see `etasim list`).

    ARCH alone may be the run.yaml of an earlier run, or a bundle of one (`etasim bundle`), which is then repeated. Results of a run whose
    values differ from the reference's are written all the same, because the cycles do not depend on values; the exit status is then 1.
    """
    from contextlib import ExitStack

    from etasim.machine.shown import TimelineView
    from etasim.report.inputs import Named, cycles_of, read_inputs
    from etasim.report.outputs import check_outputs
    from etasim.report.reading import read_results
    from etasim.report.staging import staged_file, staged_folder
    from etasim.report.store import CHECKPOINT, check_nothing_is_lost, obsolete, result_files, write_files
    from etasim.report.tables import report

    if scheme is not None:
        from etasim.training.machine_scheme import with_scheme

        overrides = with_scheme(scheme, overrides)
    chosen = None if phases is None else [phase.strip() for phase in phases.split(",") if phase.strip()]
    kept = {"checkpoint": out / CHECKPOINT, "checkpoint_every": checkpoint_every, "resume": resume}
    kept = kept if resume or checkpoint_every is not None else {}
    if series_every is not None and no_series:
        raise click.UsageError("--series-every and --no-series exclude each other")
    window = None if timeline_window is None else cycles_of(timeline_window)
    inputs = read_inputs(
        arch, trace, batch=batch, phases=chosen, overrides=overrides, fidelity=fidelity,
        functional=functional, tensors=tensors, iterations=iterations, seed=seed, timeline=timeline, checkpoints=kept,
        seen={"series_every": series_every, "timeline_window": window, "timeline_layer": timeline_layer},
    )  # fmt: skip
    texts = {name: path for name, path in (("listing", listing), ("timeline", timeline)) if path}
    has_values, has_series = inputs.functional is not None, inputs.fidelity == "cycle" and not no_series
    written = [*result_files(has_values, has_series), *([CHECKPOINT] if kept else [])]
    check_outputs([("--out", out / name) for name in written] + [(f"--{name}", path) for name, path in texts.items()])
    check_nothing_is_lost(out, resume, force)
    if autotune:
        inputs = _tuned(Named(arch, trace, overrides), inputs, autotune, workers, out)
    with ExitStack() as files:
        texts = {name: files.enter_context(staged_file(path)) for name, path in texts.items()}
        staged = files.enter_context(staged_folder(out, obsolete(out)))
        sampled: dict[str, Any] = {"series_every": series_every or _bundled_sample(arch, trace)} if has_series else {}
        sampled |= {"shown": TimelineView(window, timeline_layer), "tell": note}
        result, run_info = _simulate(Named(arch, trace, overrides), inputs, texts | kept | sampled)
        write_files(result, staged, run_info, inputs.functional)
        stored = read_results(staged)
    _print(report(stored))
    click.echo(f"\n{run_info['wall_seconds']:.1f} s, {run_info['simulated_cycles_per_second'] / 1e6:.2f} M cycles/s; results in {out}")
    if result.values is not None:
        _print_values(result.values)
    if trace is None:
        _compare_with_bundle(Path(arch), out)


def _bundled_sample(arch: str, trace: str | None) -> int:
    """Cycles of a sample of the series in a bundle that is repeated; 0, the usual length, for everything else."""
    from etasim.report.bundle import is_bundle, read_bundle

    return 0 if trace is not None or not is_bundle(Path(arch)) else read_bundle(Path(arch)).series_every or 0


def _compare_with_bundle(path: Path, out: Path) -> None:
    """Say whether the results in ``out`` are those of the bundle that was repeated; exit status 1 if they are not."""
    from etasim.report.bundle import compared, is_bundle, verdict

    comparison = compared(path, out) if is_bundle(path) else None
    if comparison is not None:
        click.echo(verdict(path, comparison))
        if comparison.differing:
            click.get_current_context().exit(1)


def _tuned(named: "Named", inputs: "Inputs", n_best: int, workers: int | None, out: Path) -> "Inputs":
    """``inputs`` with the quickest of the best ``n_best`` plans of each operation pinned; what it gained is printed."""
    from etasim.config import InputError
    from etasim.core.errors import InfeasibleError
    from etasim.explore.autotune import autotune, summary_lines

    try:
        tuned = autotune(inputs, n_best, workers or os.cpu_count() or 1, out, note)
    except InfeasibleError as error:
        raise InputError(named.infeasible(error)) from None
    for line in summary_lines(tuned):
        click.echo(line)
    return inputs._replace(architecture=tuned.architecture)


def _print_values(values: "Values") -> None:
    """Print the training and the verdict; exit status 1 if values differ."""
    from etasim.report.training import training_table, verdict

    if len(values.steps) > 1:
        click.echo()
        _print(training_table(values))
    click.echo(verdict(values))
    if values.mismatch is not None:
        click.get_current_context().exit(1)


def _simulate(named: "Named", inputs: "Inputs", files: dict[str, Any]) -> tuple["RunResult", dict[str, Any]]:
    """Simulate with a progress bar; the result and the content of run_info.json. ``files``: what `simulate` takes of files that it writes.

    Raises InputError for what only the mapping or the numerics can refuse; ``named`` is what the user called the inputs.
    """
    from etasim import machine
    from etasim.config import InputError
    from etasim.core.errors import InfeasibleError
    from etasim.machine.inputs import FunctionalInputs
    from etasim.numerics.errors import NumericsError
    from etasim.report.inputs import values_problems
    from etasim.report.progress import SimulationProgress
    from etasim.report.run_info import run_info

    started = time.perf_counter()
    is_sampled = not {"series_every", "timeline"}.isdisjoint(files)
    compiles = inputs.fidelity == "cycle" and machine.start_compiling(inputs.functional is not None, is_sampled)
    with SimulationProgress(compiles) as bars:
        try:
            watching = machine.Watching(bars.add(inputs.network.name), bars.stage if inputs.functional else None, **files)
            result = machine.simulate_inputs(inputs, watching)
        except InfeasibleError as error:
            raise InputError(named.infeasible(error)) from None
        except NumericsError as error:
            raise InputError(values_problems(error.faults, named.arch, inputs.functional or FunctionalInputs())) from None
    return result, run_info(result, time.perf_counter() - started)


for command in (*TELLING, *EXPLORING, *ANSWERING, *PAGES, *PLOTTING, selfcheck, *TRAINING):
    main.add_command(command)
