"""What a study found, beside what it must show."""

from collections.abc import Mapping
from typing import Any

from etasim.report.metrics import rounded


def bar(name: str, found: float | None, limit: float, is_least: bool = False) -> dict[str, Any]:
    """``found`` beside its ``limit``, the most that may be, or the least. What is not known is not met."""
    met = found is not None and (found >= limit if is_least else found <= limit)
    return {"bar": name, "found": rounded(found), "limit": limit, "is_least": is_least, "met": met}


def passes(found: Mapping[str, Any]) -> bool:
    """Whether all bars of a study are met."""
    return all(each["met"] for each in found["bars"])
