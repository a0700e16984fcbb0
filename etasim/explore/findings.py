"""What a calibration found, read back: the JSON of `etasim calibrate`, for page and document."""

from pathlib import Path
from typing import Any

from etasim.config import Architecture
from etasim.config.catalog import shipped_folder
from etasim.explore.space import digest
from etasim.machine.arguments import shown
from etasim.report.reading import MOST, Wrong, read_json, refuse


def stored_findings(architecture: Architecture) -> dict[str, Any] | None:
    """What the calibration that comes with the package found, if it chose just this ``architecture``; else None."""
    path = shipped_folder("configs/calibration") / f"{architecture.name}.json"
    found = read_findings(path) if path.is_file() else None
    return found if found is not None and found["machine"] == digest(architecture.resolved()) else None


def read_findings(path: Path) -> dict[str, Any]:
    """What an earlier `etasim calibrate --json` printed. Raises InputError for a file that holds something else."""
    found: dict[str, Any] = read_json(path)
    advice = "give the JSON of `etasim calibrate` of this version"
    refuse(path, wrong_in(FINDINGS, found, ()), advice)
    errors = dict.fromkeys(found["networks"], NUMBER)
    each = ((("simulated", i, "errors_percent"), entry["errors_percent"]) for i, entry in enumerate(found["simulated"]))
    refuse(path, (problem for place, value in each for problem in wrong_in(errors, value, place)), advice)
    return found


NUMBER, NUMBER_OR_NULL, TEXT, TEXT_OR_NULL, TRUTH = "a number", "a number or null", "a text", "a text or null", "true or false"
ANY = "there"
_INTERVAL = {"n": NUMBER, "least_percent": NUMBER_OR_NULL, "greatest_percent": NUMBER_OR_NULL}
FINDINGS = {
    "architecture": TEXT,
    "machine": TEXT,
    "networks": [TEXT],
    "tolerance_percent": NUMBER,
    "unknowns": [{"name": TEXT, "values": NUMBER}],
    "n_candidates": NUMBER,
    "n_screened": NUMBER,
    "n_screened_fits": NUMBER,
    "independent_figures": NUMBER_OR_NULL,
    "chosen": TEXT_OR_NULL,
    "predictions": [
        {
            "figure": TEXT, "neighbour": TEXT_OR_NULL, "network": TEXT_OR_NULL, "batch": NUMBER_OR_NULL, "fidelity": TEXT_OR_NULL,
            "n": NUMBER, "least": NUMBER, "greatest": NUMBER, "chosen": NUMBER_OR_NULL,
        }
    ],
    "simulated": [{"label": TEXT, "errors_percent": {}, "worst_percent": NUMBER, "fits": TRUTH}],
    "leave_one_out": [
        {
            "predicted": TEXT, "label": TEXT_OR_NULL, "error_percent": NUMBER_OR_NULL,
            "interval_estimated": _INTERVAL, "interval_simulated": _INTERVAL,
        }
    ],
    "fidelity_difference": [{"network": TEXT, "n": NUMBER, "mean_percent": NUMBER, "max_percent": NUMBER}],
}  # fmt: skip
"""What a page or document needs of the findings."""


def wrong_in(form: Any, value: Any, place: tuple[str | int, ...]) -> Wrong:
    """Where ``value`` is not of ``form``: a section with these keys, a list of this, or what the text says."""
    if isinstance(form, dict):
        if not isinstance(value, dict):
            yield place, f"must be a section, got {shown(value)}"
            return
        for key, below in form.items():
            if key not in value:
                yield (*place, key), "is missing"
            else:
                yield from wrong_in(below, value[key], (*place, key))
    elif isinstance(form, list):
        if not isinstance(value, list):
            yield place, f"must be a list, got {shown(value)}"
            return
        for i, below in enumerate(value):
            yield from wrong_in(form[0], below, (*place, i))
    elif not _is(form, value):
        yield place, f"must be {form}, got {shown(value)}"


def _is(form: str, value: Any) -> bool:
    """Whether a value that is neither section nor list is what ``form`` says."""
    if form == ANY:
        return True
    if form == TRUTH:
        return isinstance(value, bool)
    if value is None:
        return form in (NUMBER_OR_NULL, TEXT_OR_NULL)
    if form in (TEXT, TEXT_OR_NULL):
        return isinstance(value, str)
    return type(value) in (int, float) and abs(value) < MOST
