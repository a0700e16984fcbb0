"""What a training run would cost on a machine: its iterations, times one that is simulated or estimated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from etasim.config import Architecture, InputError, Problem, load_architecture
from etasim.config.files import close_to, read_regular
from etasim.config.loading import OVERRIDES_FILE
from etasim.core.errors import InfeasibleError
from etasim.core.json_reading import read_value
from etasim.report.metrics import NOTHING, summary
from etasim.report.naming import assumed_share
from etasim.training.machine_scheme import has_machine, unlike
from etasim.training.scheme import TrainingScheme
from etasim.workload import load_network

RECIPE, TRACE = "recipe.json", "network.yaml"
_MOST_BYTES = 2**20
"""Of a recipe."""
TIME_KEY, ENERGY_KEY, ASSUMED_KEY, EXCLUDED_KEY = "time_ms", "energy_mj", "energy_assumed_percent", "energy_excluded"
CHANGED_KEY = "changed"
FIDELITIES = {"analytical": "estimated in closed form", "cycle": "simulated cycle by cycle"}
"""In words."""


class _Trained(NamedTuple):
    """What of a recipe a machine's cost depends on."""

    path: Path
    batch: int
    iterations: int
    scheme: TrainingScheme
    beyond: tuple[str, ...]
    """Keys of the recipe whose values the machine's update does not have."""


_OF_THE_MACHINE = {"optimizer": "sgd", "nesterov": False, "label_smoothing": 0, "clip": 0, "ema": 0, "no_decay": []}
"""Values that a recipe must have where the machine has no choice."""


def cost_of(folder: Path, arch: str, overrides: Sequence[str] = (), fidelity: str = "analytical") -> dict[str, Any]:
    """Time and energy of the training in ``folder`` on ``arch`` with the formats that were trained (``changed`` has what they are not in
    ``arch`` by itself); energy is None where the simulator does not know it, and ``energy_excluded`` says what is not in it.

    Raises InputError for a folder without a training run, a scheme that no machine has, ``overrides`` that contradict it, or a network
    that ``arch`` cannot train.
    """
    from etasim import machine

    trained = _read_recipe(folder / RECIPE)
    network = load_network(folder / TRACE)
    architecture, changed = _machine_of(trained, arch, overrides)
    try:
        result = machine.simulate(architecture, network, batch=trained.batch, phases=("ff", "bp", "wg", "wu"), fidelity=fidelity)
    except InfeasibleError as error:
        raise InputError(Problem(arch, 1, "", line) for line in str(error).splitlines()) from None
    figures = summary(result)
    time_ms, energy_mj = figures.number(TIME_KEY), figures.figure(ENERGY_KEY)
    return {
        "network": network.name,
        "architecture": architecture.name,
        CHANGED_KEY: changed,
        "scheme": trained.scheme.name,
        "fidelity": fidelity,
        "batch": trained.batch,
        "iterations": trained.iterations,
        "iteration_time_ms": time_ms,
        "iteration_energy_mj": energy_mj,
        "training_time_s": time_ms * trained.iterations / 1e3,
        "training_energy_j": None if energy_mj is None else energy_mj * trained.iterations / 1e3,
        ASSUMED_KEY: figures[ASSUMED_KEY],
        "energy_excluded": figures[EXCLUDED_KEY],
    }


def _read_recipe(path: Path) -> _Trained:
    try:
        recipe = read_value(read_regular(path, _MOST_BYTES))
        batch, iterations = (recipe[name] for name in ("batch", "iterations"))
        if not all(type(count) is int and 0 < count < 2**63 for count in (batch, iterations)):
            raise ValueError
        return _Trained(path, batch, iterations, TrainingScheme.model_validate(recipe["scheme"]), _beyond(recipe))
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}{close_to(path) if isinstance(error, FileNotFoundError) else ''}"
    except (KeyError, TypeError, ValueError, ValidationError):
        reason = "damaged: not the recipe of a training run"
    raise InputError([Problem(str(path), None, "", reason)])


def _machine_of(trained: _Trained, arch: str, overrides: Sequence[str]) -> tuple[Architecture, dict[str, Any]]:
    """``arch`` with the formats that were trained, and the keys of those that differ. Raises InputError, with all reasons, if there is no
    such machine, or ``overrides`` say otherwise."""
    architecture = load_architecture(arch, overrides)
    try:
        changed = {key: needs for key, _, needs in unlike(trained.scheme, architecture)}
    except InputError as error:
        reasons = {problem.key: problem.message for problem in error.problems}
        raise InputError(
            Problem(str(trained.path), None, f"scheme.{key}", f"{trained.scheme.name} cannot be trained there: {message}")
            for key, message in reasons.items()
        ) from None
    problems = [Problem(str(trained.path), None, key, "the machine's weight update does not have it") for key in trained.beyond]
    given = [text.partition("=")[0].strip() for text in overrides]
    problems += [
        Problem(OVERRIDES_FILE, given.index(key) + 1, key, f"the machine has {has}, the run was trained with {needs}")
        for key, has, needs in unlike(trained.scheme, architecture) if key in given
    ]  # fmt: skip
    if problems:
        raise InputError(problems)
    keys = (f"{key}={'null' if needs is None else needs}" for key, needs in changed.items())
    return load_architecture(arch, [*overrides, *keys]), changed


def is_in_the_machine(recipe: dict[str, Any]) -> bool:
    """Whether a machine computes what a run of ``recipe`` (in plain values) trains."""
    return not _beyond(recipe) and has_machine(TrainingScheme.model_validate(recipe["scheme"]))


def _beyond(recipe: dict[str, Any]) -> tuple[str, ...]:
    return tuple(key for key, value in _OF_THE_MACHINE.items() if recipe.get(key, value) != value)


def cost_text(cost: dict[str, Any]) -> str:
    """`cost_of` in a sentence or two."""
    energy, excluded = cost["training_energy_j"], cost["energy_excluded"]
    without = "" if excluded == NOTHING else f" without {excluded}"
    joule = "energy is not known" if energy is None else f"{_short(energy)} J, {assumed_share(cost)}{without}"
    return (
        f"{cost['iterations']:,} iterations of batch {cost['batch']} of {cost['network']} on {cost['architecture']}{_with(cost)}, "
        f"{FIDELITIES[cost['fidelity']]}: {cost['iteration_time_ms']:.3f} ms each, {_short(cost['training_time_s'])} s in all; {joule}"
    )


def _with(cost: dict[str, Any]) -> str:
    """What of the machine was changed for the run."""
    return f" with the formats of {cost['scheme']} ({', '.join(cost[CHANGED_KEY])})" if cost[CHANGED_KEY] else ""


def _short(value: float) -> str:
    """Two decimals, or three digits of what would have none left."""
    return f"{value:,.2f}" if value >= 1 else f"{value:.3g}"
