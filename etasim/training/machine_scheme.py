"""A training scheme as the machine's: what of it the machine has, and whether an architecture is such a machine."""

from collections.abc import Iterator, Sequence
from typing import Any

from etasim.config import Architecture
from etasim.config.errors import InputError, Problem
from etasim.functional.schemes import NORMALIZATIONS
from etasim.mapping.scales import COPY
from etasim.numerics.format import CodeFormat, data_format
from etasim.numerics.scheme import L1_GROUP, NORMALIZATIONS_OF_THE_MACHINE, Scheme
from etasim.training.scheme import TrainingScheme, load_scheme

_CODES = ("activation", "weight", "error")
_INTEGERS = {"sum": "sum_bits", "weight_gradient": "gradient_bits", "master_weight": "master_weight_bits", "momentum": "momentum_bits"}
"""Width of a Scheme by class of tensors."""
_EXACT = {
    "parameter": "the machine reads scales and offsets with the bits that they are stored in",
    "update": "the machine rounds the updated weight, not what it subtracts",
}
"""Classes of tensors that the machine does not round, and what it does."""
_DATA = {"sum": "pre_normalization"}
"""Keys of an architecture's ``data`` that are called otherwise than the class."""

_UNTOLD = {"numerics.second_direction": COPY}
"""What a key of an architecture means that is null."""

WIDEST_PRODUCT_BITS, WIDE_ACCUMULATOR_BITS = 32, 64
"""Products that the accumulators of the shipped machines (48 bit) add up 2^15 times; wider ones are summed exactly too, where other
hardware would round."""


def _code(scheme: TrainingScheme, name: str) -> Any:
    """The format of the codes or integers of a class of tensors."""
    return data_format(getattr(scheme, name).format).code


def machine_scheme(scheme: TrainingScheme, learning_rate: float, momentum: float = 0.9, weight_decay: float = 0.0) -> Scheme:
    """``scheme`` as the machine's. Raises InputError, with all reasons, for what the machine does not have."""
    problems = [Problem(scheme.name, 1, key, message) for key, message in _not_in_the_machine(scheme)]
    if problems:
        raise InputError(problems)
    return Scheme(
        **{name: _code(scheme, name) for name in _CODES},
        **{bits: _code(scheme, name).bits for name, bits in _INTEGERS.items()},
        normalization=scheme.normalization.kind, normalization_group=scheme.normalization.group, learning_rate=learning_rate,
        momentum=momentum, weight_decay=weight_decay, exponent_margin=scheme.exponent_margin,
    )  # fmt: skip


def has_machine(scheme: TrainingScheme) -> bool:
    """Whether `machine_keys` has one for ``scheme``."""
    return next(_not_timed(scheme), None) is None


def _not_in_the_machine(scheme: TrainingScheme) -> Iterator[tuple[str, str]]:
    """(class or key of ``scheme``, why a machine does not compute its values)."""
    for name in _CODES:
        found = data_format(getattr(scheme, name).format)
        if found.rounds and found.code is None:
            yield name, "the machine has an exponent for each tensor: other scales are timed only, or lie in other squares"
        elif found.tracked:
            yield name, "the machine does not count the overflows that exponents of a dfx format follow"
    yield from _not_timed(scheme)


def _not_timed(scheme: TrainingScheme) -> Iterator[tuple[str, str]]:
    """(class or key of ``scheme``, why no machine does that at all)."""
    for name in _CODES:
        tensors = getattr(scheme, name)
        if not data_format(tensors.format).rounds or tensors.rounding != "nearest":
            yield name, "the machine rounds codes with a shared exponent, to nearest"
    for name in _INTEGERS:
        code = data_format(getattr(scheme, name).format).code
        if not isinstance(code, CodeFormat) or code.segments != 1:
            yield name, "the machine has integers with a shared exponent, bfp2 ... bfp16"
        if getattr(scheme, name).rounding != "nearest":
            yield name, "the machine rounds integers to nearest"
    for name, what in _EXACT.items():
        if data_format(getattr(scheme, name).format).rounds:
            yield name, what
    if scheme.update_scale != "own":
        yield "update_scale", "the machine subtracts gradients in their own scale"
    if scheme.layers:
        yield "layers", "the machine has one format for each class of tensors"
    if scheme.history != 1:
        yield "history", "the machine takes the exponents of one iteration ago, history 1"
    if scheme.normalization.kind not in NORMALIZATIONS_OF_THE_MACHINE:
        yield "normalization.kind", f"the machine has {' and '.join(NORMALIZATIONS_OF_THE_MACHINE)} only"


def machine_keys(scheme: TrainingScheme) -> dict[str, Any]:
    """Keys of an architecture, and their values, under which its machine moves and computes what ``scheme`` trains, in its time at least:
    scales of blocks and real ones of tensors have no values there. Raises InputError, with all reasons, where there is no such machine."""
    problems = [Problem(scheme.name, 1, key, message) for key, message in _not_timed(scheme)]
    if problems:
        raise InputError(problems)
    keys: dict[str, Any] = {}
    for name in _CODES:
        found = data_format(getattr(scheme, name).format)
        is_segmented = isinstance(found.code, CodeFormat) and not found.tracked
        keys |= {f"data.{name}": f"{found.code_bits} bit", f"numerics.{name}_format": None if is_segmented else found.name}
        keys |= {f"numerics.{name}_segments": found.code.segments} if isinstance(found.code, CodeFormat) and is_segmented else {}
    if any(data_format(getattr(scheme, name).format).values_of_scale is not None for name in _CODES):
        keys["numerics.second_direction"] = scheme.second_direction
    keys |= {f"data.{_DATA.get(name, name)}": f"{_code(scheme, name).bits} bit" for name in _INTEGERS}
    keys["numerics.normalization"] = next(name for name, kind in NORMALIZATIONS.items() if kind == scheme.normalization.kind)
    keys |= {"numerics.normalization_group": scheme.normalization.group} if scheme.normalization.kind == L1_GROUP else {}
    spans = sorted(_code(scheme, name).span_bits for name in _CODES if _code(scheme, name) is not None)
    if sum(spans[-2:]) > WIDEST_PRODUCT_BITS:
        keys["array.accumulator_width"] = f"{WIDE_ACCUMULATOR_BITS} bit"
    return keys


def with_scheme(scheme: str | None, overrides: Sequence[str]) -> tuple[str, ...]:
    """``overrides`` of an architecture with the keys of the scheme of that name or file, where they do not say otherwise. Raises
    InputError."""
    if scheme is None:
        return tuple(overrides)
    given = {text.partition("=")[0].strip() for text in overrides}
    keys = {key: value for key, value in machine_keys(load_scheme(scheme)).items() if key not in given}
    return *overrides, *(f"{key}={'null' if value is None else value}" for key, value in keys.items())


def unlike(scheme: TrainingScheme, architecture: Architecture) -> Iterator[tuple[str, Any, Any]]:
    """(key of ``architecture``, what it has, what ``scheme`` needs) of all in which it is another machine than that of ``scheme``."""
    for key, needs in machine_keys(scheme).items():
        section, name = key.split(".")
        has = architecture.resolved()[section].get(name)
        if has is None:
            has = architecture.array.lanes if key == "numerics.normalization_group" else _UNTOLD.get(key)
        if has != needs and not (key == "array.accumulator_width" and architecture.array.accumulator_width_bits >= WIDE_ACCUMULATOR_BITS):
            yield key, has, needs
