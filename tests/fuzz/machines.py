"""Random machines x networks x batch x phases x fidelity x functional: what each run may end with, and what its figures must satisfy."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from etasim.config import load_architecture
from etasim.config.errors import InputError
from etasim.machine.inputs import Inputs
from etasim.mapping.iteration import Iteration
from etasim.mapping.second_level import SecondLevel, UseWalk, copied_parts
from etasim.workload.lowering import PHASES

from . import figures
from .architectures import Overrides, nested, random_machine
from .case import Case
from .networks import random_trace

REPEATED = ("results.json", "layers.csv", "run.yaml")
"""Files whose bytes depend on the inputs only."""
EXACT = ("macs", "zero_insertion_macs", "cluster_busy_cycles", "unified_core_busy_cycles")
"""What an estimate counts as the program does. Bytes may differ by a burst where blocks are no whole bursts: by a factor of two at most."""
CHANGED_SEEDS = 2**31 - 1


class Run(NamedTuple):
    """Arguments of `etasim run` after the architecture and its overrides."""

    trace: Path
    options: tuple[Any, ...]
    is_functional: bool
    is_estimate: bool


def attempt(case: Case, seed: int, number: int) -> None:
    """One random run, its figures, and one of: again from run.yaml, overrides in another order, the other fidelity."""
    choices = case.choices
    base, overrides = random_machine(choices)
    run = _run(case)
    out = case.folder / "out"
    ran = case.etasim("run", *_machine(case, base, overrides), run.trace, *run.options, "--out", out)
    if ran.status != 0:
        if out.exists():
            case.fault("leftover", "run: a failed run leaves a folder", ran.err)
        if ran.status == 2:
            _refused_alike(case, base, overrides, run)
        return
    stored = figures.read(out)
    for sentence in sorted(set(figures.impossible(stored))):
        case.fault("figure", sentence)
    check = choices.one_of([_again, _reordered, _other_fidelity])
    check(case, base, overrides, run, stored)


def _run(case: Case) -> Run:
    choices = case.choices
    trace = case.write("net.yaml", yaml.safe_dump(random_trace(choices), sort_keys=False))
    options: list[Any] = []
    if choices.chance(0.8):
        options += ["--batch", choices.small(1, 9)]
    if choices.chance(0.6):
        options += ["--phases", ",".join(choices.mixed(choices.some_of(PHASES, 1)))]
    kind = choices.one_of(["cycle", "cycle", "functional", "analytical"])
    if kind == "functional":
        options += ["--functional", "--seed", choices.small(0, CHANGED_SEEDS)]
        options += ["--iterations", 2] if choices.chance(0.2) else []
    elif kind == "analytical" or choices.chance(0.2):
        options += ["--fidelity", kind]
    return Run(trace, tuple(options), kind == "functional", kind == "analytical")


def _machine(case: Case, base: str, overrides: Overrides) -> list[Any]:
    """The machine as arguments: overrides, a file that extends the base, or a file that says everything."""
    how = case.choices.one_of(["set", "set", "extends", "whole"])
    if how == "set":
        return [base, *_sets(overrides)]
    data = {"extends": base, **nested(overrides)}
    if how == "whole":
        with suppress(InputError):  # a machine that is refused stays a file that extends
            data = load_architecture(base, overrides).resolved()
    return [case.write("arch.yaml", yaml.safe_dump(data, sort_keys=False))]


def _sets(overrides: Overrides) -> list[str]:
    return [word for key, value in overrides.items() for word in ("--set", f"{key}={json.dumps(value)}")]


def _same_bytes(case: Case, what: str, one: Path, other: Path) -> None:
    for name in REPEATED:
        if (one / name).read_bytes() != (other / name).read_bytes():
            case.fault("figure", f"{what}: {name} has other bytes")


def _again(case: Case, base: str, overrides: Overrides, run: Run, stored: figures.Stored) -> None:
    """run.yaml repeats the run."""
    if case.etasim("run", case.folder / "out" / "run.yaml", "--out", case.folder / "again").status == 0:
        _same_bytes(case, "run.yaml repeats a run", case.folder / "out", case.folder / "again")
    else:
        case.fault("status", "run.yaml of a run is refused")


def _reordered(case: Case, base: str, overrides: Overrides, run: Run, stored: figures.Stored) -> None:
    """The order of overrides means nothing, whichever way they are given, unless one changes a part of another."""
    if any(one != other and other.startswith(f"{one}.") for one in overrides for other in overrides):
        return
    mixed = dict(case.choices.mixed(list(overrides.items())))
    if case.etasim("run", base, *_sets(mixed), run.trace, *run.options, "--out", case.folder / "mixed").status == 0:
        _same_bytes(case, "overrides in another order", case.folder / "out", case.folder / "mixed")
    else:
        case.fault("status", "overrides in another order are refused")


def _other(run: Run) -> list[Any]:
    """Options of the same run in the other fidelity."""
    words = list(run.options)
    for name, n_values in (("--functional", 0), ("--seed", 1), ("--iterations", 1), ("--fidelity", 1)):
        if name in words:
            at = words.index(name)
            del words[at : at + 1 + n_values]
    return [*words, "--fidelity", "cycle" if run.is_estimate else "analytical"]


def _keeps_parts(inputs: Inputs) -> bool:
    """Whether the second level holds a part of a tensor, not all of it, at any time."""
    if inputs.architecture.buffers.second is None:
        return False
    iteration = Iteration(inputs.architecture, inputs.network, inputs.batch, inputs.phases)
    walk = UseWalk(iteration)
    walk.walk()
    n_parts = {tensor.name: copied_parts(tensor)[0] for tensor in iteration.memory.tensors}
    plan = SecondLevel(walk.uses, iteration.memory.tensors, iteration.array).planned()
    return any(copy.n_parts < n_parts[name] for copies in plan for name, copy in copies.items())


def _other_fidelity(case: Case, base: str, overrides: Overrides, run: Run, stored: figures.Stored) -> None:
    """Estimate and simulation agree on what is determined before either: rows, MACs, traffic."""
    out = case.folder / "other"
    if case.etasim("run", base, *_sets(overrides), run.trace, *_other(run), "--out", out).status != 0:
        case.fault("figure", "one fidelity refuses what the other runs")
        return
    other = figures.read(out)
    for sentence in sorted(set(figures.impossible(other))):
        case.fault("figure", sentence)
    by_row = [{(row["layer"], row["phase"]): row for row in one.rows} for one in (stored, other)]
    if list(by_row[0]) != list(by_row[1]):
        case.fault("figure", "estimate and simulation have other rows")
        return
    for name in EXACT:
        if any(by_row[0][place][name] != by_row[1][place][name] for place in by_row[0]):
            case.fault("figure", f"estimate and simulation differ in {name}")
    if _keeps_parts(stored.inputs):
        return  # what straddles the end of a copy comes from DRAM, which an estimate does not see
    for name in (name for name in stored.rows[0] if name.startswith("dram_")):
        pairs = [(by_row[0][place][name], by_row[1][place][name]) for place in by_row[0]]
        if any(max(pair) > 2 * min(pair) for pair in pairs):
            case.fault("figure", f"estimate and simulation differ in {name} by more than a burst a transfer")


def _refused_alike(case: Case, base: str, overrides: Overrides, run: Run) -> None:
    """What one fidelity refuses for the network's sake the other refuses too; values have limits of their own."""
    if run.is_functional:
        return
    out = case.folder / "other"
    if case.etasim("run", base, *_sets(overrides), run.trace, *_other(run), "--out", out).status == 0:
        case.fault("figure", "one fidelity refuses what the other runs")
