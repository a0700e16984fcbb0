"""What tables and pictures call a result, so that an estimate is never read as a simulation."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from etasim.config.energy import ASSUMED

FIDELITY_NAMES = {"cycle": "cycle model", "analytical": "analytical estimate"}


def fidelity_names(fidelities: Iterable[str]) -> str:
    """Names of all ``fidelities``, each once."""
    return " and ".join(FIDELITY_NAMES[name] for name in dict.fromkeys(fidelities))


def subject(network: str, architecture: str, batch: object, fidelity: str) -> str:
    """What a figure is about: network, machine, batch, and how it was found."""
    return f"{network} on {architecture}, batch {batch}, {FIDELITY_NAMES[fidelity]}"


OF_ENERGY = re.compile(r"\b(energy_mj|on_chip_energy_mj|power_w|gops_per_w|j_per_image)\b")
"""Figures that hold what is assumed."""


def told_assumed(figure: str) -> str:
    """``figure``, a name or an expression, with the word beside it where it holds an energy that is partly assumed."""
    return f"{figure} (partly {ASSUMED})" if OF_ENERGY.search(figure) else figure


def assumed_share(summary: Mapping[str, Any]) -> str:
    """How much of the energy of a result has no source, in words; empty where no energy is known."""
    share = summary["energy_assumed_percent"]
    return "" if share is None else f"{share:.0f} % {ASSUMED}"


def three_digits(value: float) -> str:
    """``value`` beside a bar: three digits, or all before the point, in groups."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


LONGEST_NAME = 40
"""Letters of a name that a picture shows; of a longer one both ends."""


def shortened(name: str, letters: int = LONGEST_NAME) -> str:
    """``name`` in one line of so many ``letters`` at the most."""
    line, head = " ".join(name.split()), 2 * letters // 3
    return line if len(line) <= letters else f"{line[:head]}\N{HORIZONTAL ELLIPSIS}{line[head + 1 - letters :]}"


def plain_name(name: str) -> str:
    """A name that may come from anybody, for a picture."""
    return plain(shortened(name))


def plain(text: str) -> str:
    """``text`` for a picture, where dollar signs would enclose mathematics."""
    return text.replace("$", r"\$")
