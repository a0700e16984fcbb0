"""The training scheme: formats and widths of all tensors, normalization, SGD. A value is valid once constructed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite

from etasim.numerics.errors import require
from etasim.numerics.format import Code, CodeFormat

EIGHT_BITS = CodeFormat(8, 2)
"""The format of all codes unless another is given."""

CHANNELS_OF_A_GROUP = 2
"""That share mean and spread, unless another number is given; docs/training.md compares some."""

GREATEST_WIDTH_BITS = 16
"""Wider integers could leave the 64 bits of the unified core's registers."""

L1_GROUP, RUNNING_L1 = "l1_group", "running_l1"
NORMALIZATIONS_OF_THE_MACHINE = (L1_GROUP, RUNNING_L1)

STATISTIC_BITS = 16
RECIPROCALS = ("table", "shift")
_CODES = ("activation", "weight", "error")
_WIDTHS = ("sum_bits", "gradient_bits", "master_weight_bits", "momentum_bits", "statistic_bits")


@dataclass(frozen=True)
class Scheme:
    """How a network is trained in integers; the defaults are those of the shipped architectures.

    ``sum_bits``: sums before normalization and errors before they are encoded; ``gradient_bits``: gradients of weights and parameters;
    ``master_weight_bits``: master weights and parameters; ``momentum_bits``: momentum of both. ``normalization``: its kind;
    ``normalization_group``: channels that share statistics, of ``l1_group``; ``reciprocal``: how 1 / spread is found.
    ``exponent_margin``: added to the exponents seen in the iteration before.

    Raises NumericsError, with all faults.
    """

    activation: Code = EIGHT_BITS
    weight: Code = EIGHT_BITS
    error: Code = EIGHT_BITS
    sum_bits: int = 16
    gradient_bits: int = 16
    master_weight_bits: int = 16
    momentum_bits: int = 16
    statistic_bits: int = STATISTIC_BITS
    normalization: str = L1_GROUP
    normalization_group: int = CHANNELS_OF_A_GROUP
    reciprocal: str = "table"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    exponent_margin: int = 0

    def __post_init__(self) -> None:
        require((f"scheme.{name}", message) for name, message in _faults(self))

    @property
    def is_running(self) -> bool:
        """Whether normalizations take their scale from the iterations before."""
        return self.normalization == RUNNING_L1

    def format(self, role: str) -> Code | int:
        """The code format of the tensors of a role that have an exponent (`etasim.program.roles.ROLES`), or the bits of their integers."""
        formats: dict[str, Code | int] = {
            "output": self.activation,
            "weight": self.weight,
            "error": self.error,
            "pre_normalization": self.sum_bits,
            "partial": self.sum_bits,
            **dict.fromkeys(("statistic", "magnitude", "spread", "radial"), self.statistic_bits),
            "filter_mean": self.gradient_bits,
            "weight_gradient": self.gradient_bits,
            "parameter_gradient": self.gradient_bits,
            "master_weight": self.master_weight_bits,
            "parameter": self.master_weight_bits,
            "momentum": self.momentum_bits,
            "parameter_momentum": self.momentum_bits,
        }
        return formats[role]


def _faults(scheme: Scheme) -> Iterator[tuple[str, str]]:
    """What is wrong, as (field, message)."""
    for name in _CODES:
        if not isinstance(getattr(scheme, name), Code):
            yield name, f"must be a Code such as CodeFormat(8, 2), got {getattr(scheme, name)!r}"
    for name in (*_WIDTHS, "normalization_group", "exponent_margin"):
        value = getattr(scheme, name)
        if not isinstance(value, int) or isinstance(value, bool):
            yield name, f"must be an integer, got {value!r}"
        elif name == "statistic_bits" and value != STATISTIC_BITS:
            yield name, f"must be {STATISTIC_BITS} bit, to which statistics are limited, got {value}"
        elif name in _WIDTHS and not 2 <= value <= GREATEST_WIDTH_BITS:
            yield name, f"must be 2 ... {GREATEST_WIDTH_BITS} bit, got {value}"
        elif value < (name == "normalization_group"):
            yield name, f"must be at least {int(name == 'normalization_group')}, got {value}"
    for name, allowed_names in (("reciprocal", RECIPROCALS), ("normalization", NORMALIZATIONS_OF_THE_MACHINE)):
        if getattr(scheme, name) not in allowed_names:
            yield name, f"must be one of {', '.join(allowed_names)}, got {getattr(scheme, name)!r}"
    bounds: tuple[tuple[str, str, Callable[[float], bool]], ...] = (
        ("learning_rate", "more than 0", lambda x: x > 0),
        ("momentum", "at least 0 and less than 1", lambda x: 0 <= x < 1),
        ("weight_decay", "at least 0", lambda x: x >= 0),
    )
    for name, allowed, fits in bounds:
        value = getattr(scheme, name)
        if not isinstance(value, int | float) or not isfinite(value) or not fits(value):
            yield name, f"must be a number, {allowed}, got {value!r}"
