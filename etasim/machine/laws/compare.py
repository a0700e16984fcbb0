"""How a violated law reads: what was compared, and where it differs."""

from collections.abc import Iterator

import numpy as np

MOST_PLACES = 3


def equal(what: str, a: int, b: int) -> Iterator[str]:
    """One line if two numbers differ."""
    if int(a) != int(b):
        yield f"{what}: {int(a)} != {int(b)}"


def same(what: str, found: np.ndarray, expected: np.ndarray) -> Iterator[str]:
    """A line for each of the first places in which two tables of one shape differ."""
    yield from _lines(what, found, expected, found != expected, "!=")


def at_least(what: str, found: np.ndarray, least: np.ndarray) -> Iterator[str]:
    """A line for each of the first places in which a table is below its bound."""
    yield from _lines(what, found, least, found < least, "<")


def _lines(what: str, found: np.ndarray, bound: np.ndarray, is_wrong: np.ndarray, sign: str) -> Iterator[str]:
    if not np.any(is_wrong):
        return
    places = np.argwhere(is_wrong)
    bound = np.broadcast_to(bound, np.shape(found))
    for place in places[:MOST_PLACES]:
        yield f"{what} {place.tolist()}: {found[tuple(place)]} {sign} {bound[tuple(place)]}"
    if len(places) > MOST_PLACES:
        yield f"{what}: and {len(places) - MOST_PLACES} more"
