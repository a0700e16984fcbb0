"""Commands of the training room; what they need is imported when they run."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etasim.report.console import print_renderable as _print
from etasim.report.ending import leave_at_once
from etasim.report.options import PATH, OneOf
from etasim.training import NORMALIZATION_KINDS
from etasim.training.data import AUGMENTATIONS

if TYPE_CHECKING:
    from etasim.training.import_report import ImportedModel
    from etasim.training.loop import Running
    from etasim.training.recipe import Recipe

DATA = "digits|idx:DIR|cifar10:DIR|cifar100:DIR|imagefolder:DIR|npz:FILE"


def _recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Keys of a recipe as options; the default of each is that of the recipe."""
    share, positive, count = click.FloatRange(0, 1, max_open=True), click.FloatRange(min=0), click.IntRange(min=1)
    for option in reversed((
        click.option("--epochs", type=count, help="[default: 10]"),
        click.option("--data", metavar=DATA, help="Labelled images [default: digits]."),
        click.option("--augment", type=OneOf(AUGMENTATIONS), help="How images are varied [default: as usual for the source]."),
        click.option("--optimizer", metavar="sgd|CLASS", help="sgd as the machine has it, or one of torch.optim [default: sgd]."),
        click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Greatest [default: batch / 320, at most 0.1]."),
        click.option("--schedule", metavar="cosine|constant|steps:EPOCH,...", help="How the learning rate falls [default: cosine]."),
        click.option("--warmup", type=positive, metavar="EPOCHS", help="While the learning rate rises [default: 0]."),
        click.option("--momentum", type=share, help="[default: 0.9]"),
        click.option("--nesterov", is_flag=True, default=None, help="Nesterov's momentum."),
        click.option("--weight-decay", type=positive, help="Of weights; scales, offsets and biases do not decay [default: 1e-4]."),
        click.option("--no-decay", multiple=True, metavar="PATTERN", help="Names of parameters that do not decay either."),
        click.option("--label-smoothing", type=share, help="[default: 0]"),
        click.option("--clip", type=positive, metavar="NORM", help="Greatest norm of all gradients together [default: any]."),
        click.option("--ema", type=share, metavar="SHARE", help="Test an average of weights that keeps this part of itself [default: 0]."),
        click.option("--train-samples", type=count, help="Train with so many images, evenly spaced."),
        click.option("--test-samples", type=count, help="Test with so many images, evenly spaced."),
        click.option("--evaluate-every", type=count, metavar="EPOCHS", help="[default: 1]"),
    )):  # fmt: skip
        command = option(command)
    return command


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Those of ``options`` that the user gave."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items() if value not in (None, ())}


@click.command()
@click.argument("network", required=False)
@click.option("--recipe", "recipe_file", metavar="FILE", help="A recipe: a file or a shipped one; options replace its keys.")
@click.option("--scheme", help="A file or a shipped scheme: pint8, bfp8, dfx8, int8, fp32 [default: pint8].")
@click.option("--norm", type=OneOf(NORMALIZATION_KINDS), help="Normalization [default: the scheme's].")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Override a key of the scheme, such as error.format=bfp8.")
@click.option("--input", "input_shape", metavar="CxHxW", help="Images that a model of your own reads [default: 3x32x32].")
@click.option("--batch", type=click.IntRange(min=1), help="[default: 32]")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="[default: 0]")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of PyTorch; results are repeatable for the same number.")
@click.option("--workers", type=click.IntRange(0, 256), default=0, show_default=True, help="Processes that read images ahead.")
@click.option("--checkpoint-every", type=click.IntRange(min=1), metavar="ITERATIONS", help="Save the run within epochs too.")
@click.option("--statistics-every", type=click.IntRange(min=1), metavar="ITERATIONS", help="Note what rounding does to each tensor.")
@click.option("--out", type=PATH, metavar="DIR", required=True, help="Folder for checkpoint, metrics, curves and state.npz.")
@click.option("--resume", is_flag=True, help="Continue the run of DIR, if it has begun; --epochs may be more than before.")
@_recipe_options
def train(
    network: str | None, recipe_file: str | None, scheme: str | None, norm: str | None, overrides: tuple[str, ...], input_shape: str | None,
    device: str, threads: int | None, workers: int, checkpoint_every: int | None, statistics_every: int | None, out: Path, resume: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Train NETWORK (resnet20_cifar, vgg16_cifar, ..., or package.module:callable) with 8-bit tensors."""
    from etasim.report.extras import need
    from etasim.report.outputs import check_output_folder
    from etasim.training.recipe import load_recipe

    need("torch")
    import torch

    from etasim.training import loop
    from etasim.training.team import team_of_environment

    team = team_of_environment()
    if team.leads:
        check_output_folder(out)
    if threads:
        torch.set_num_threads(threads)
    given = _given(options | {"network": network, "input": list(_shape(input_shape)) if input_shape else None})
    given |= _given({"scheme": _chosen_scheme(recipe_file, scheme, norm, overrides)})
    recipe = load_recipe(recipe_file, given)
    running = loop.Running(device, workers, checkpoint_every or 0, statistics_every or 0, team)
    rows = _train(recipe, out, resume, running) if team.leads else loop.train(recipe, out, resume, running=running)
    if team.leads:
        _conclude(recipe, rows, out)
    if team.size > 1:
        leave_at_once()  # PyTorch's threads between the processes outlive their group where a model was parallel


def _chosen_scheme(recipe_file: str | None, scheme: str | None, norm: str | None, overrides: tuple[str, ...]) -> dict[str, Any] | None:
    """The scheme that the options say, in YAML form; None if they leave it to the recipe."""
    from etasim.training.recipe import load_recipe
    from etasim.training.scheme import load_scheme

    changes = [*overrides, *([f"normalization.kind={norm}"] if norm else [])]
    if scheme is None and recipe_file is not None:
        return load_recipe(recipe_file).scheme.changed(changes).resolved() if changes else None
    return load_scheme(scheme or "pint8", changes).resolved()


def _train(recipe: "Recipe", out: Path, resume: bool, running: "Running") -> list[dict[str, Any]]:
    from etasim.training import loop
    from etasim.training.progress import TrainingProgress

    with TrainingProgress(recipe.network, recipe.epochs) as bar:
        return loop.train(recipe, out, resume, bar.progressed, bar.finished, running)


def _conclude(recipe: "Recipe", rows: list[dict[str, Any]], out: Path) -> None:
    """Draw the curves; say what came out, and what to do next."""
    from etasim.training.checkpoint import CURVES, NOISE, STATISTICS
    from etasim.training.cost import is_in_the_machine
    from etasim.training.pictures import draw_curves, draw_noise

    scheme, last = recipe.scheme, rows[-1]
    title = f"{recipe.network}, {scheme.name}, {scheme.normalization.kind}, batch {recipe.batch}, seed {recipe.seed}"
    draw_curves(rows, title, out / CURVES)
    if (out / STATISTICS).exists():
        draw_noise(out / STATISTICS, title, out / NOISE)
    click.echo(f"test accuracy {last['test_accuracy']:.2%}, loss {last['test_loss']:.4f} after {last['iteration']:,} iterations; in {out}")
    if is_in_the_machine(recipe.plain()):
        click.echo(f"time and energy on ETA: etasim cost {out} eta_vc709")


@click.command("reproduce-accuracy")
@click.argument("folder", type=PATH, metavar="DIR")
@click.option("--cifar10", type=PATH, metavar="DIR", help="Folder of CIFAR-10.")
@click.option("--imagenet", type=PATH, metavar="DIR", help="Folder with train/CLASS/ and val/CLASS/.")
@click.option("--schemes", default="pint8,fp32", show_default=True, help="Comma-separated.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of PyTorch.")
@click.option("--workers", type=click.IntRange(0, 256), default=0, show_default=True, help="Processes that read images ahead.")
@click.option("--checkpoint-every", type=click.IntRange(min=1), metavar="ITERATIONS", help="Save a run within epochs too.")
@_recipe_options
def reproduce_accuracy(
    folder: Path, cifar10: Path | None, imagenet: Path | None, schemes: str, device: str, threads: int | None, workers: int,
    checkpoint_every: int | None, **options: Any,
) -> None:  # fmt: skip
    """Train the five networks of the paper by their recipes into DIR, or go on there; `etasim reproduce --accuracy DIR` shows the
    accuracies.

    Options replace keys of all recipes.
    """
    from etasim.report.extras import need
    from etasim.report.outputs import check_output_folder

    need("torch")
    check_output_folder(folder)
    import torch

    from etasim.training import accuracy, loop

    if options["data"] is not None:
        raise click.UsageError("--data: --cifar10 and --imagenet say where the images of each network lie")
    if threads:
        torch.set_num_threads(threads)
    running = loop.Running(device, workers, checkpoint_every or 0)
    runs = accuracy.runs_of(folder, _given({"cifar10": cifar10, "imagefolder": imagenet}), _words(schemes), _given(options))
    rows = accuracy.reproduce_accuracy(runs, folder, lambda run: _train(run.recipe, run.folder, True, running))
    _print(accuracy.accuracy_table(rows))
    click.echo(f"this table in {folder / accuracy.ROWS}; etasim reproduce --accuracy {folder} shows it beside the claims")


@click.command("compare-schemes")
@click.option("--network", default="resnet8_narrow", show_default=True)
@click.option("--schemes", default="fp32,pint8", show_default=True, help="Comma-separated; changes follow: pint8+error.format=bfp8.")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Override a key of every scheme.")
@click.option("--norms", default="l1_group", show_default=True, help="Comma-separated.")
@click.option("--batches", default="32", show_default=True, help="Comma-separated.")
@click.option("--seeds", default="0,1,2", show_default=True, help="Comma-separated.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Runs at a time, each on one thread.")
@click.option("--out", type=PATH, metavar="DIR", required=True, help="Folder for runs.csv, cells.csv and accuracy.png.")
@click.option("--resume", is_flag=True, help="Continue the grid of DIR.")
@click.option("--arch", help="A machine: what an iteration of each format moves, takes and needs there.")
@click.option("--arch-set", "changes", metavar="KEY=VALUE", multiple=True, help="Override a key of the machine.")
@click.option("--machine-network", "trace", metavar="TRACE", help="What the machine trains [default: what is trained here].")
@click.option("--fidelity", type=OneOf(("cycle", "analytical")), default="analytical", show_default=True, help="Of the machine.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@_recipe_options
def compare_schemes(
    network: str, schemes: str, overrides: tuple[str, ...], norms: str, batches: str, seeds: str, workers: int, out: Path, resume: bool,
    arch: str | None, changes: tuple[str, ...], trace: str | None, fidelity: str, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Train a grid of schemes, normalizations, batch sizes and seeds; print accuracies beside those of fp32, and with --arch beside what
    an iteration moves, takes and needs in a machine with those formats."""
    from etasim.report.extras import need
    from etasim.report.outputs import check_output_folder
    from etasim.training.recipe import load_recipe

    need("torch")
    check_output_folder(out)
    from etasim.report.store import json_text
    from etasim.training import compare, formats
    from etasim.training.pictures import draw_cells
    from etasim.training.progress import count_runs
    from etasim.workload import load_network

    base = load_recipe(None, _given(options | {"network": network, "scheme": "fp32"}))
    sizes, starts = _numbers("--batches", batches, 1), _numbers("--seeds", seeds, 0)
    jobs = compare.jobs_of(base, _words(schemes), overrides, _words(norms), sizes, starts, out)
    machines, given = formats.machines_of(jobs, arch, changes) if arch else {}, load_network(trace) if trace else None
    with count_runs(len(jobs)) as finished:
        rows = compare.compare(jobs, out, workers, resume, finished)
    found = compare.cells(rows)
    draw_cells(found, out / compare.PICTURE)
    beside = formats.beside(found, machines, given or load_network(jobs[0].folder / "network.yaml"), fidelity, out) if arch else None
    if as_json:
        click.echo(json_text({"rows": beside.rows if beside else found}), nl=False)
        return
    _print(compare.cell_table(found))
    click.echo(f"runs in {out / compare.RUNS}, this table in {out / compare.CELLS}, drawn in {out / compare.PICTURE}")
    if beside:
        _print(beside.table)
        click.echo(f"this table in {out / formats.FORMATS}, drawn in {out / formats.PICTURE}")


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _numbers(option: str, text: str, least: int) -> list[int]:
    from etasim.config.errors import InputError, Problem

    words = _words(text)
    if not words or not all(word.isdecimal() and int(word) >= least for word in words):
        raise InputError([Problem(option, 1, "", f"must be whole numbers of at least {least}, with commas between them, got {text!r}")])
    return [int(word) for word in words]


@click.command()
@click.argument("model")
@click.option("-o", "--output", type=PATH, metavar="FILE", required=True, help="Trace to write.")
@click.option("--input", "input_shape", metavar="CxHxW|N", help="Shape of an image, or features [default: its own, else 3x224x224].")
def trace(model: str, output: Path, input_shape: str | None) -> None:
    """Write the trace of MODEL, a network's name or package.module:callable of a PyTorch model."""
    from etasim.report.extras import need
    from etasim.report.outputs import check_outputs

    need("torch")
    check_outputs([("-o", output)])
    from etasim.training.torch_import import load_model, trace_model

    module, own_shape = load_model(model)
    shape = _shape(input_shape) if input_shape else own_shape or (3, 224, 224)
    _write_trace(trace_model(module, shape, model), output)


@click.command("import")
@click.argument("file", type=PATH, metavar="FILE")
@click.option("-o", "--output", type=PATH, metavar="FILE", required=True, help="Trace to write.")
@click.option("--input", "input_shape", metavar="CxHxW", help="Shape of an image, if the model leaves it open.")
def import_(file: Path, output: Path, input_shape: str | None) -> None:
    """Write the trace of a model of another program, ONNX or what a plug-in reads; its shapes are enough, weights are not read."""
    from etasim.config.errors import InputError, Problem
    from etasim.config.files import close_to
    from etasim.report.outputs import check_outputs
    from etasim.training.importers import importer_of

    if not file.exists():
        raise InputError([Problem(str(file), None, "", f"no such file{close_to(file)}")])
    importer = importer_of(file)
    check_outputs([("-o", output)], read=[file])
    _write_trace(importer(file, _shape(input_shape) if input_shape else None), output)


def _shape(text: str) -> tuple[int, ...]:
    from etasim.config.errors import InputError, Problem
    from etasim.workload.layer import LARGEST_SIDE

    words = text.lower().split("x")
    is_possible = len(words) in (1, 3) and all(word.isdecimal() and len(word) < 9 and 0 < int(word) <= LARGEST_SIDE for word in words)
    if not is_possible:
        expected = f"must be channels x height x width, such as 3x224x224, or a number of features, each at most {LARGEST_SIDE:,}"
        raise InputError([Problem("--input", None, "", f"{expected}, got {text!r:.60}")])
    return tuple(int(word) for word in words)


def _write_trace(imported: "ImportedModel", output: Path) -> None:
    from etasim.report.staging import write_text
    from etasim.workload import dump_network

    write_text(output, dump_network(imported.network))
    _print(imported.table())
    click.echo(f"trace in {output}")


@click.command()
@click.argument("folder", type=PATH, metavar="DIR")
@click.argument("arch")
@click.option("--fidelity", type=OneOf(("cycle", "analytical")), default="analytical", show_default=True)
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Override a key of ARCH.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def cost(folder: Path, arch: str, fidelity: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say how long the training in DIR would take on ARCH, and how many joules: one iteration is estimated, or simulated.

    The machine gets the formats that were trained, unless --set says otherwise, which is refused; a scheme that no machine has, such as
    fp32 or batch normalization, has no cost.
    """
    from etasim.report.store import json_text
    from etasim.training.cost import cost_of, cost_text

    found = cost_of(folder, arch, overrides, fidelity)
    click.echo(json_text(found) if as_json else cost_text(found), nl=not as_json)


COMMANDS = (train, reproduce_accuracy, compare_schemes, trace, import_, cost)
