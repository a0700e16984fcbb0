"""A training scheme as the machine's: what of it the machine has, and whether an architecture is such a machine."""

from collections.abc import Iterator
from typing import Any

from etasim.config import Architecture
from etasim.config.errors import InputError, Problem
from etasim.functional.schemes import NORMALIZATIONS
from etasim.numerics.format import CodeFormat, data_format
from etasim.numerics.scheme import NORMALIZATIONS_OF_THE_MACHINE, Scheme
from etasim.training.scheme import TrainingScheme

_CODES = ("activation", "weight", "error")
_INTEGERS = {"sum": "sum_bits", "weight_gradient": "gradient_bits", "master_weight": "master_weight_bits", "momentum": "momentum_bits"}
"""Width of a Scheme by class of tensors."""
_DATA = {"sum": "pre_normalization"}
"""Keys of an architecture's ``data`` that are called otherwise than the class."""


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
    """Whether `machine_scheme` has one for ``scheme``."""
    return next(_not_in_the_machine(scheme), None) is None


def _not_in_the_machine(scheme: TrainingScheme) -> Iterator[tuple[str, str]]:
    for name in _CODES:
        tensors = getattr(scheme, name)
        if data_format(tensors.format).code is None or tensors.rounding != "nearest":
            yield name, "the machine rounds codes with a shared exponent, to nearest"
        elif data_format(tensors.format).tracked:
            yield name, "the machine does not count the overflows that exponents of a dfx format follow"
    for name in _INTEGERS:
        code = data_format(getattr(scheme, name).format).code
        if not isinstance(code, CodeFormat) or code.segments != 1:
            yield name, "the machine has integers with a shared exponent, bfp2 ... bfp16"
    if scheme.layers:
        yield "layers", "the machine has one format for each class of tensors"
    if scheme.history != 1:
        yield "history", "the machine takes the exponents of one iteration ago, history 1"
    if scheme.normalization.kind not in NORMALIZATIONS_OF_THE_MACHINE:
        yield "normalization.kind", f"the machine has {' and '.join(NORMALIZATIONS_OF_THE_MACHINE)} only"


def unlike(scheme: Scheme, architecture: Architecture) -> Iterator[tuple[str, str]]:
    """(key of ``architecture``, what it has and what ``scheme`` needs) of all in which it is another machine than that of ``scheme``."""
    data, numerics = architecture.data, architecture.numerics
    for name in _CODES:
        code, given = getattr(scheme, name), getattr(numerics, f"{name}_format")
        yield from _pair(f"data.{name}", getattr(data, f"{name}_bits"), code.bits, " bit")
        if given is None and isinstance(code, CodeFormat):
            yield from _pair(f"numerics.{name}_segments", getattr(numerics, f"{name}_segments"), code.segments)
        elif given is None or data_format(given).code != code:
            yield f"numerics.{name}_format", f"the machine has {given or 'segments'}, the run was trained with other codes"
    for name, bits in _INTEGERS.items():
        key = _DATA.get(name, name)
        yield from _pair(f"data.{key}", getattr(data, f"{key}_bits"), getattr(scheme, bits), " bit")
    if not scheme.is_running:
        group = numerics.normalization_group or architecture.array.lanes
        yield from _pair("numerics.normalization_group", group, scheme.normalization_group)
    needed = next(name for name, kind in NORMALIZATIONS.items() if kind == scheme.normalization)
    yield from _pair("numerics.normalization", numerics.normalization, needed)


def _pair(key: str, has: int | str, needs: int | str, unit: str = "") -> Iterator[tuple[str, str]]:
    if has != needs:
        yield key, f"the machine has {has}{unit}, the run was trained with {needs}{unit}"
