"""Packages of the optional extras: a missing one is reported with what to install."""

from importlib.util import find_spec

from etasim.config.errors import InputError, Problem

_EXTRAS = {
    "torch": "train", "sklearn": "train", "PIL": "train", "onnx": "onnx", "vl_convert": "report", "pandas": "frames",
    "pyarrow": "parquet",
}  # fmt: skip
"""The extra that brings each package."""


def need(*packages: str) -> None:
    """Raises InputError that says what to install, if one of ``packages`` is not installed."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise InputError(
            Problem(package, 1, "", f"is not installed; it comes with: pip install 'etasim[{_EXTRAS[package]}]'") for package in missing
        )
