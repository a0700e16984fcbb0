"""Division of whole numbers, which takes a processor long: by a power of two it is a shift."""

from etasim.core.jit import kernel, lowest_bit


@kernel
def quotient(number: int, divisor: int) -> int:
    """``number // divisor``."""
    return number >> lowest_bit(divisor) if divisor & (divisor - 1) == 0 else number // divisor


@kernel
def remainder(number: int, divisor: int) -> int:
    """``number % divisor``."""
    return number & (divisor - 1) if divisor & (divisor - 1) == 0 else number % divisor
