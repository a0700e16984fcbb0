"""Parts described by a plain dictionary, as the reference runs list them, turned into what ``build`` reads."""

import json
from fractions import Fraction
from functools import lru_cache
from importlib.resources import files
from types import SimpleNamespace

from etasim.memory.dram.standards import OPTIONAL_TIMINGS, TIMINGS

_PICOSECONDS = 10**12


def part_from_parameters(parameters: dict) -> SimpleNamespace:
    """A part from one entry of a ``parameters.json``: ``kind``, ``tck_ps``, ``nCL``... in clocks, ``bg``, ``ba``, ``ro``, ``co``, ``bus``,
    ``dw``, ``BL``, ``tx`` and ``idd``.

    Raises ValueError naming every missing key. A column count that disagrees with the burst (HBM2 lists columns of one burst beat) is
    taken from ``tx`` and ``bus``: a burst has ``tx * 8 / bus`` beats.
    """
    keys = ("kind", "tck_ps", "bg", "ba", "ro", "co", "bus", "tx", *(f"n{name}" for name in TIMINGS))
    missing = [f"parameters.{key}: missing" for key in keys if key not in parameters]
    if missing:
        raise ValueError("; ".join(missing))
    names = (*TIMINGS, *OPTIONAL_TIMINGS)
    clocks = SimpleNamespace(**{name: parameters.get(f"n{name}") for name in names})
    organisation = SimpleNamespace(
        bank_groups=parameters["bg"], banks=parameters["ba"], rows=parameters["ro"], columns=parameters["co"],
        device_width_bits=parameters.get("dw", parameters["bus"]), bus_width_bits=parameters["bus"],
        burst_length=parameters["tx"] * 8 // parameters["bus"],
    )
    return SimpleNamespace(
        standard=parameters["kind"], clock_hz=Fraction(_PICOSECONDS, parameters["tck_ps"]), timing_clocks=clocks,
        organisation=organisation, currents_ma=parameters.get("idd"),
    )


@lru_cache(maxsize=1)
def _shipped_parameters() -> dict:
    return json.loads(files("etasim.memory.dram").joinpath("reference_parts.json").read_text())


def reference_parameters(name: str) -> dict:
    """Entry ``name`` of the shipped parameter sets; ValueError lists them."""
    sets = {key: value for key, value in _shipped_parameters().items() if not key.startswith("_")}
    if name not in sets:
        raise ValueError(f"parameters: unknown part {name!r}, allowed: {', '.join(sets)}")
    return sets[name]
