"""The folder of a training run: a checkpoint that is always whole, the metrics, and the state that the simulator takes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from etasim.config.errors import InputError, Problem
from etasim.config.files import open_regular
from etasim.core.sealed import check_seal, seal
from etasim.report.staging import staged_file, write_text
from etasim.report.store import csv_text, json_text
from etasim.training.quantize import QuantizedModel
from etasim.training.recipe import Recipe
from etasim.training.running import RunningNormalization

CHECKPOINT, BEST, METRICS, STATE = "checkpoint.pt", "best.pt", "metrics.csv", "state.npz"
TRACE, RECIPE, CURVES = "network.yaml", "recipe.json", "curves.png"
STATISTICS, NOISE = "statistics.csv", "noise.png"
COLUMNS = ("epoch", "iteration", "learning_rate", "train_loss", "train_accuracy", "test_loss", "test_accuracy")

_MOST_BYTES = 2**36


def write_checkpoint(folder: Path, content: dict[str, Any], name: str = CHECKPOINT) -> None:
    """Replace the checkpoint ``name`` at once: a kill leaves the old one or the new one.

    It is the zip archive of torch.save, sealed (`etasim.core.sealed`).
    """
    with staged_file(folder / name) as temporary, temporary.open("w+b") as file:
        torch.save(content, file)
        seal(file)


def read_checkpoint(folder: Path, recipe: Recipe) -> dict[str, Any]:
    """The checkpoint of ``folder``. Raises InputError if it is missing, damaged, or of another recipe, and says in what; only its epochs
    may be more than they were."""
    path = folder / CHECKPOINT
    try:
        with open_regular(path, _MOST_BYTES) as file:
            check_seal(file)
            content = torch.load(file, map_location="cpu", weights_only=True)
        found = content["recipe"]
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    except ValueError as error:
        reason = f"{error}; another --out starts a new run"
    except Exception:  # a file with a digest that etasim has not made: torch raises of everything
        reason = "not a checkpoint of etasim"
    else:
        _check_recipe(path, found, recipe)
        return content
    raise InputError([Problem(str(path), None, "", reason)])


def _check_recipe(path: Path, found: dict[str, Any], recipe: Recipe) -> None:
    given = recipe.plain()
    differing = [key for key in given if found.get(key) != given[key] and not (key == "epochs" and found.get(key, 0) < given[key])]
    if differing:
        raise InputError(
            Problem(str(path), None, key, f"the checkpoint has {_short(found.get(key))}, the command says {_short(given[key])}")
            for key in differing
        )


def _short(value: Any) -> str:
    return value["name"] + " with other keys" if isinstance(value, dict) and "name" in value else repr(value)


def write_recipe(folder: Path, recipe: Recipe, iterations: int) -> None:
    """What was trained, for `etasim cost` and for people; ``iterations`` of the whole run."""
    write_text(folder / RECIPE, json_text(recipe.plain() | {"iterations": iterations}))


def write_metrics(folder: Path, rows: list[dict[str, Any]]) -> None:
    """metrics.csv, one row an epoch."""
    write_text(folder / METRICS, csv_text(COLUMNS, rows))


def write_state(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """state.npz, for ``etasim run --functional --tensors``."""
    with staged_file(folder / STATE) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]  # its types take a name for an option


def state_arrays(model: QuantizedModel, momentum: dict[torch.nn.Parameter, torch.Tensor], batch: int) -> dict[str, np.ndarray]:
    """Weights, parameters and their momentum under the names of `etasim.functional.samples`.

    The machine's gradients are sums over the batch, PyTorch's are means: momentum and radial gradients are multiplied by ``batch``.
    """
    arrays: dict[str, np.ndarray] = {}

    def put(name: str, parameter: torch.nn.Parameter | None) -> None:
        if parameter is None:
            return
        arrays[name] = parameter.detach().double().cpu().numpy()
        if parameter in momentum:
            arrays[f"{name}_momentum"] = momentum[parameter].double().cpu().numpy() * batch

    for unit in model.units:
        if unit.product is not None:
            product: Any = model.body.get_submodule(unit.product)
            put(f"{unit.name}.weight", product.weight)
            put(f"{unit.name}.bias", product.bias)
        if unit.norm is not None:
            norm: Any = model.body.get_submodule(unit.norm)
            put(f"{unit.norm_name}.scale", norm.weight)
            put(f"{unit.norm_name}.offset", norm.bias)
            if isinstance(norm, RunningNormalization):
                arrays[f"{unit.norm_name}.running_spread"] = norm.spread.double().cpu().numpy()
                arrays[f"{unit.norm_name}.radial"] = norm.radial.double().cpu().numpy() * batch
    return arrays
