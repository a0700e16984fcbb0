"""What a training run would cost on a machine: its iterations, times one that is simulated."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etasim.config import InputError, Problem, load_architecture
from etasim.mapping import InfeasibleError
from etasim.report.metrics import summary
from etasim.report.store import read_text
from etasim.workload import load_network

RECIPE, TRACE = "recipe.json", "network.yaml"
TIME_KEY, ENERGY_KEY = "time_ms", "energy_mj"


def cost_of(folder: Path, arch: str, overrides: Sequence[str] = (), fidelity: str = "analytical") -> dict[str, Any]:
    """Time and energy of the training in ``folder`` on ``arch``; energy is None where the simulator does not know it.

    Raises InputError for a folder without a training run, or a network that ``arch`` cannot train.
    """
    from etasim import machine

    path = folder / RECIPE
    try:
        recipe = json.loads(read_text(path))
        batch, iterations = int(recipe["batch"]), int(recipe["iterations"])
    except (json.JSONDecodeError, KeyError, TypeError, ValueError):
        raise InputError([Problem(str(path), 1, "", "damaged: not the recipe of a training run")]) from None
    network = load_network(folder / TRACE)
    architecture = load_architecture(arch, overrides)
    try:
        result = machine.simulate(architecture, network, batch=batch, phases=("ff", "bp", "wg", "wu"), fidelity=fidelity)
    except InfeasibleError as error:
        raise InputError([Problem(arch, 1, "", str(error))]) from None
    figures = summary(result)
    time_ms, energy_mj = figures[TIME_KEY], figures.get(ENERGY_KEY)
    return {
        "network": network.name,
        "architecture": architecture.name,
        "fidelity": fidelity,
        "batch": batch,
        "iterations": iterations,
        "iteration_time_ms": time_ms,
        "iteration_energy_mj": energy_mj,
        "training_time_s": time_ms * iterations / 1e3,
        "training_energy_j": None if energy_mj is None else energy_mj * iterations / 1e3,
    }


def cost_text(cost: dict[str, Any]) -> str:
    """`cost_of` in a sentence or two."""
    energy = cost["training_energy_j"]
    return (
        f"{cost['iterations']:,} iterations of batch {cost['batch']} of {cost['network']} on {cost['architecture']}: "
        f"{cost['iteration_time_ms']:.3f} ms each, {cost['training_time_s']:,.2f} s in all ({cost['fidelity']}); "
        + ("energy is not known" if energy is None else f"{energy:,.2f} J")
    )
