"""Every leaf of every schema at 0, 1, its end and past it, and with values of other kinds; one leaf and one value a case."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel

from etasim.config import Architecture, InputError, load_architecture
from etasim.explore.calibration_space import CalibrationFile
from etasim.explore.space import SweepFile
from etasim.workload import load_network
from etasim.workload.trace import Trace

from . import corpus, figures
from .case import Case
from .choices import Seeded
from .schema import Leaf, all_leaves, end, replaced

ODD = (
    None, True, "", "x", "0", "1e400", -1, 0.5, 1e308, -1e-300, float("nan"), float("inf"), 2**31, 2**63, 2**64, 10**30,
    [], {}, [1, 2], {"a": 1}, ["x"], "a" * 5000, "../../etc/passwd", "\x00", "é\u202e", "auto", "1 B", "1/0 MHz", "0 MHz", "1e9 MHz",
)  # fmt: skip
"""Values of other kinds than most leaves want."""


MOST_MACS = 200_000_000
"""Multiply-accumulates of an iteration beyond which small machines take minutes of honest work: it is estimated."""

ONE_PIXEL = "{name: net, input: {channels: 1, height: 1, width: 1}, classes: 2, layers: [{name: fc, op: linear, out_channels: 2}]}"
"""Of which any batch is simulated in seconds."""

LARGE_BATCH = 1000


class Schema(NamedTuple):
    """A model, sound data of it, and the command that reads a file of it."""

    model: type[BaseModel]
    sound: Callable[[], dict[str, Any]]
    run: Callable[[Case, Path], None]


def _architecture() -> dict[str, Any]:
    return load_architecture("eta_small", {"energy": {"extends": "fpga_28nm"}, "board": {"extends": "vc709"}}).resolved()


def _run_machine(case: Case, file: Path) -> None:
    fidelity = case.choices.one_of(["cycle", "cycle", "analytical"])
    _checked(case, "run", file, case.write("net.yaml", corpus.TRACE), "--batch", 1, "--fidelity", fidelity)


def _run_trace(case: Case, file: Path) -> None:
    _checked(case, "run", "eta_small", file, "--batch", 1, *(["--fidelity", "analytical"] if _is_large(file) else []))


def _is_large(file: Path) -> bool:
    try:
        return load_network(file).macs(1) > MOST_MACS
    except InputError:  # which the command is to say
        return False


def _checked(case: Case, *arguments: Any) -> None:
    """A run whose figures are looked at."""
    out = case.folder / "out"
    if case.etasim(*arguments, "--out", out).status == 0:
        for sentence in sorted(set(figures.impossible(figures.read(out)))):
            case.fault("figure", sentence)


def _sweep(case: Case, file: Path) -> None:
    batches = yaml.safe_load(file.read_text())["batch"]
    is_large = isinstance(batches, list) and any(isinstance(batch, int) and batch > LARGE_BATCH for batch in batches)
    case.write("net.yaml", ONE_PIXEL if is_large else corpus.TRACE)
    case.etasim("sweep", file, "--workers", 1, "--out", case.folder / "out")


def _calibrate(case: Case, file: Path) -> None:
    case.write("net.yaml", corpus.TRACE)
    case.etasim("calibrate", file, "--workers", 1, "--simulate", 1, "--out", case.folder / "out")


def _scheme_model() -> type[BaseModel]:
    from etasim.training.scheme import TrainingScheme

    return TrainingScheme


SCHEMAS: dict[str, Schema] = {
    "architecture": Schema(Architecture, _architecture, _run_machine),
    "trace": Schema(Trace, lambda: yaml.safe_load(corpus.TRACE), _run_trace),
    "sweep": Schema(SweepFile, lambda: yaml.safe_load(corpus.SWEEP), _sweep),
    "calibration": Schema(CalibrationFile, lambda: yaml.safe_load(corpus.CALIBRATION), _calibrate),
}


@cache
def schemas() -> dict[str, Schema]:
    """All schemas; that of training needs PyTorch."""
    if not corpus.HAS_TORCH:
        return SCHEMAS
    scheme = Schema(_scheme_model(), lambda: yaml.safe_load(corpus.scheme_text()), lambda case, file: corpus.train(case, scheme=file))
    return SCHEMAS | {"scheme": scheme}


def values_of(leaf: Leaf) -> list[Any]:
    """0, 1, the end and past it, its names and one that is none, values of other kinds."""
    last = end(leaf)
    numbers = [0, 1, 2, 3, *([] if last is None else [last, last + 1, last // 2, last - 1])]
    written = [leaf.written(number) for number in numbers] if leaf.is_number else []
    return [*written, *leaf.names, *(name.upper() for name in leaf.names[:1]), *ODD]


def _depth(leaf: Leaf, name: str) -> list[tuple[int, ...]]:
    """Places of the entries that stand for a leaf of a list: the layers of the trace all have other keys."""
    return [tuple(range(len(yaml.safe_load(corpus.TRACE)["layers"])))] if name == "trace" and "layers" in leaf.path else [(0,)]


@cache
def targets() -> tuple[tuple[str, Leaf, int], ...]:
    """(schema, leaf, entry of the layers) of all leaves of all schemas."""
    return tuple(
        (name, leaf, entry) for name, schema in schemas().items() for leaf in all_leaves(schema.model) for entry in _depth(leaf, name)[0]
    )


@cache
def order(seed: int) -> tuple[tuple[int, int], ...]:
    """(target, value) of every case, mixed: all of them once before any comes again."""
    every = [(at, value) for at, (_, leaf, _) in enumerate(targets()) for value in range(len(values_of(leaf)))]
    return tuple(Seeded("leaves", seed).mixed(every))


def attempt(case: Case, seed: int, number: int) -> None:
    """One leaf with one value; all leaves with all their values come before the first comes again."""
    every = order(seed)
    at, which = every[number % len(every)]
    name, leaf, entry = targets()[at]
    path = tuple(entry if step == 0 and leaf.path[i - 1 : i] == ("layers",) else step for i, step in enumerate(leaf.path))
    value = values_of(leaf)[which]
    schema = schemas()[name]
    case.note(f"{name}: {'.'.join(map(str, path))} = {value!r:.60}")
    text = yaml.safe_dump(replaced(schema.sound(), path, value), sort_keys=False, allow_unicode=True)
    schema.run(case, case.write("input.yaml", text))
