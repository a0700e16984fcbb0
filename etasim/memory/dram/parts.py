"""Parts described by a plain dictionary, as the reference runs list them, turned into what ``build`` reads."""

from fractions import Fraction
from functools import lru_cache
from importlib.resources import files
from numbers import Integral, Real
from types import SimpleNamespace
from typing import Any

from etasim.core.json_reading import read_value
from etasim.core.registry import DRAM_STANDARDS
from etasim.memory.dram.standards import OPTIONAL_TIMINGS, TIMINGS

_PICOSECONDS = 10**12


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def geometry_name(parameters: dict[str, Any]) -> str:
    """Geometry that the reference traces have for a parameter set: ``geo``, or the name of the standard."""
    return parameters.get("geo", parameters["kind"].lower())


def part_from_parameters(parameters: dict[str, Any]) -> SimpleNamespace:
    """A part from one entry of a ``parameters.json``: ``kind``, ``tck_ps``, ``nCL``... in clocks, ``bg``, ``ba``, ``ro``, ``co``, ``bus``,
    ``dw``, ``BL``, ``tx`` and ``idd``.

    Raises ValueError naming every key that is missing or no size. A column count that disagrees with the burst (HBM2 lists columns of
    one burst beat) is taken from ``tx`` and ``bus``: a burst has ``tx * 8 / bus`` beats.
    """
    keys = ("kind", "tck_ps", "bg", "ba", "ro", "co", "bus", "tx", *(f"n{name}" for name in TIMINGS))
    missing = [f"parameters.{key}: missing" for key in keys if key not in parameters]
    if missing:
        raise ValueError("; ".join(missing))
    sizes = {key: parameters[key] for key in ("bg", "ba", "ro", "co", "bus", "tx", "dw") if key in parameters}
    wrong = [f"parameters.{key}: {size!r}, must be a whole number of at least 1" for key, size in sizes.items() if not _is_count(size)]
    if not (isinstance(parameters["tck_ps"], Real) and 0 < float(parameters["tck_ps"]) < _PICOSECONDS):
        wrong.append(f"parameters.tck_ps: {parameters['tck_ps']!r}, must be a positive number of picoseconds")
    if not isinstance(parameters.get("idd") or {}, dict):
        wrong.append("parameters.idd: must be currents by name")
    if wrong:
        raise ValueError("; ".join(wrong))
    if parameters["bus"] % 8 or parameters["tx"] * 8 % parameters["bus"]:
        raise ValueError(f"parameters.tx: {parameters['tx']} B, must be whole beats of bus = {parameters['bus']} bit, which is whole bytes")
    own = DRAM_STANDARDS[parameters["kind"]].own_timings if parameters["kind"] in DRAM_STANDARDS else ()
    names = (*TIMINGS, *own, *OPTIONAL_TIMINGS)
    clocks = SimpleNamespace(**{name: parameters.get(f"n{name}") for name in names})
    organisation = SimpleNamespace(
        bank_groups=parameters["bg"], banks=parameters["ba"], rows=parameters["ro"], columns=parameters["co"],
        device_width_bits=parameters.get("dw", parameters["bus"]), bus_width_bits=parameters["bus"],
        burst_length=parameters["tx"] * 8 // parameters["bus"],
    )
    return SimpleNamespace(
        standard=parameters["kind"], clock_hz=_PICOSECONDS / Fraction(str(parameters["tck_ps"])), timing_clocks=clocks,
        organisation=organisation, currents_ma=parameters.get("idd"),
    )


@lru_cache(maxsize=1)
def shipped_parameters() -> dict[str, dict[str, Any]]:
    """The parameter sets that come with the package, by name."""
    sets = read_value(files("etasim.memory.dram").joinpath("reference_parts.json").read_text())
    return {name: parameters for name, parameters in sets.items() if not name.startswith("_")}


def reference_parameters(name: str) -> dict[str, Any]:
    """Entry ``name`` of the shipped parameter sets; ValueError lists them."""
    sets = shipped_parameters()
    if name not in sets:
        raise ValueError(f"parameters: unknown part {name!r}, allowed: {', '.join(sets)}")
    return sets[name]
