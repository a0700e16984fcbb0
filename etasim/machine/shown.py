"""What a timeline shows."""

from typing import NamedTuple


class Shown(NamedTuple):
    """Core cycles ``window`` [first, end) (None: all), arrows between the commands of ``layer``, if any."""

    window: tuple[int, int] | None = None
    layer: str | None = None
