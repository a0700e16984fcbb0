"""Every key of the files that users write, as data and as docs/keys.md: ``python -m etasim.explore.keys``."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from etasim.config import Architecture
from etasim.config.base import NameIn
from etasim.config.units import BOUNDS, EXAMPLES, UNITS, Quantity
from etasim.core.registry import ETASIM
from etasim.explore.calibration_space import CalibrationFile
from etasim.explore.space import SweepFile
from etasim.explore.space_file import SpaceFile
from etasim.explore.written_pages import page_command
from etasim.workload.trace import Trace

FILES: dict[str, type[BaseModel]] = {
    "architecture": Architecture, "trace": Trace, "sweep": SweepFile, "design space": SpaceFile,
    "calibration": CalibrationFile,
}  # fmt: skip

_NO_POWER_DOWN = "the controller keeps CKE high: no power-down state, so no time is spent at this current"
INERT = {
    "array.accumulator": "floats do not overflow: it only lets run what an accumulator of integers is too narrow for",
    "mapper": "etasim has one by itself; those of packages choose otherwise",
    "dram.part.currents_ma.IDD2P": _NO_POWER_DOWN,
    "dram.part.currents_ma.IDD3P": _NO_POWER_DOWN,
    "dram.part.currents_ma.IDD6x": "no self-refresh either; it stands for what `energy.static_power` says of unused DRAM",
    "dram.part.currents_ma.IPP0": "the current of a second supply, whose voltage the parts do not state: its energy is not counted",
}
"""Keys of an architecture that move no figure, and why."""


OF_VALUES = (
    "numerics.normalization_group", "numerics.reciprocal",
    "training.learning_rate", "training.momentum", "training.weight_decay", "training.exponent_margin",
)  # fmt: skip
"""Keys that move the values of a functional run, and neither time nor energy nor resources."""


CYCLE_MODEL_ONLY = (
    "array.deinterleave_stride", "buffers.*.banks", "buffers.*.ports", "controller.queue_depth",
    "dram.channel_interleave", "dram.write_high_watermark", "dram.write_low_watermark", "dram.part.standard",
    "dram.part.organisation.bank_groups",
    *(f"dram.part.timing_clocks.{name}" for name in ("RCDWR", "CCDS", "CCDL", "RRDL", "WTRS", "WTRL", "CS", "PPD")),
)  # fmt: skip
"""Patterns of keys of an architecture that move figures of the cycle model and none of the estimate, which has no queues, no conflicts at a
bank but those of one stream, and no order of DRAM commands."""


MOST_NAMES = 12
"""That are listed."""


class Key(NamedTuple):
    """A key of a file: its path (``[]``: an entry of a list, ``*``: any name), what it takes, and its default, None if it must be given."""

    path: str
    takes: str
    default: str | None
    section: type[BaseModel]


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """All leaves of a model, in the order of the file."""
    for name, field in model.model_fields.items():
        path = prefix + (field.alias or name)
        inner, step = _section(field.annotation)
        if inner is not None:
            yield from keys_of(inner, f"{path}{step}.")
        else:
            yield Key(path, takes(field.annotation, field.metadata), _default(field), model)
    entries = getattr(model, "ENTRIES", None)
    if entries is not None:
        yield from keys_of(entries, f"{prefix}*.")


def _section(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The section that a value is, or whose entries it has, and how a path names an entry."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    step = {tuple: "[]", list: "[]", dict: ".*"}.get(get_origin(annotation), "")
    for argument in get_args(annotation):
        inner, below = _section(argument)
        if inner is not None:
            return inner, step + below
    return None, ""


def _default(field: FieldInfo) -> str | None:
    if field.default is not PydanticUndefined:
        return _plain(field.default)
    return None if field.default_factory is None else _plain(field.get_default(call_default_factory=True))


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_plain, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def takes(annotation: Any, metadata: list[Any]) -> str:
    """What a value may be, in words."""
    if hasattr(annotation, "__metadata__"):
        return takes(annotation.__origin__, [*metadata, *annotation.__metadata__])
    arguments = [argument for argument in get_args(annotation) if argument not in (NoneType, Ellipsis)]
    metadata = [part for entry in metadata for part in (entry.metadata if isinstance(entry, FieldInfo) else [entry])]
    quantity = next((entry for entry in metadata if isinstance(entry, Quantity)), None)
    if quantity is not None:
        return _quantity(quantity, metadata)
    registry = next((entry.registry for entry in metadata if isinstance(entry, NameIn)), None)
    if registry is not None:
        arguments = [name for name in registry if registry.origin(name) == ETASIM]
        if len(arguments) > MOST_NAMES:
            return f"name of a {registry.kind}"
    if registry is not None or get_origin(annotation) is Literal:
        return ", ".join(f"`{_plain(word)}`" for word in arguments)
    if get_origin(annotation) in (Union, UnionType):
        return takes(arguments[0], metadata)
    if get_origin(annotation) in (tuple, list):
        return f"list: {takes(arguments[0], [])}"
    words = {bool: "`true`, `false`", int: "whole number", float: "number", str: "text"}
    return f"{words.get(annotation, 'any value')}{_range(metadata)}"


def _quantity(quantity: Quantity, metadata: list[Any]) -> str:
    unit = next(iter(UNITS[quantity.kind]))
    limits: list[Any] = [entry.le for entry in metadata if isinstance(entry, Le)] + ([quantity.most] if quantity.most else [])
    least, greatest = map(float, BOUNDS.get(quantity.kind, (0, 0)))
    bounds = f"up to {min(limits):,} {unit}" if limits else f"{least:g} to {greatest:g} {unit}"
    return f"{quantity.kind}, as {EXAMPLES[quantity.kind].split(' or ')[0]}; {bounds}"


def _range(metadata: list[Any]) -> str:
    parts = [(Ge, "ge", "from {}"), (Gt, "gt", "above {}"), (Le, "le", "to {}"), (Lt, "lt", "below {}")]
    texts = [text.format(_number(getattr(entry, name))) for kind, name, text in parts for entry in metadata if isinstance(entry, kind)]
    return f" {' '.join(texts)}" if texts else ""


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


INERT |= {
    key.path: "says what it is and where its figures are from; stands beside them in the report"
    for key in keys_of(Architecture)
    if key.path.endswith((".source", ".technology")) or key.path in ("board.name", "board.device")
}


def part_key(key: str) -> str:
    """``key`` as the part of a DRAM has it, if it is one of those that an architecture may set beside the part's name."""
    return key.replace("dram.", "dram.part.", 1) if key.startswith(("dram.timing_clocks", "dram.currents_ma", "dram.organisation")) else key


def is_felt_by_estimate(key: str) -> bool:
    """Whether a ``key`` that moves figures of the cycle model moves some of the estimate."""
    return not any(fnmatchcase(part_key(key), pattern) for pattern in CYCLE_MODEL_ONLY)


def felt_by(key: str) -> str:
    """Which figures a ``key`` of an architecture moves."""
    if key in INERT:
        return f"nothing: {INERT[key]}"
    if key in OF_VALUES:
        return "values"
    return "both" if is_felt_by_estimate(key) else "cycle model"


def document() -> str:
    """docs/keys.md."""
    lines = [
        "# Keys of the input files",
        "",
        "Generated by `python -m etasim.explore.keys`; what the keys mean stands in [inputs.md](inputs.md) and in the comments of",
        "`configs/eta_vc709.yaml`. `[]` is an entry of a list, `*` any name. A key without a default must be given.",
        "Rules between keys are refused with the key, what is wrong and what is allowed. Felt by: the fidelities of which a key moves",
        "figures; `values`: those of a functional run alone. The estimate has no queues, no conflicts at a bank and no order of DRAM",
        "commands.",
    ]
    for name, model in FILES.items():
        felt = name == "architecture"
        lines += ["", f"## {name.capitalize()}", "", "| key | takes | default |" + " felt by |" * felt, "|---|---|---|" + "---|" * felt]
        for key in keys_of(model):
            cells = [f"`{key.path}`", key.takes, key.default or "", *([felt_by(key.path)] if felt else [])]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


main = page_command("the keys", Path("docs/keys.md"), document)

if __name__ == "__main__":
    main()
