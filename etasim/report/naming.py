"""What tables and pictures call a result, so that an estimate is never read as a simulation."""

from collections.abc import Iterable

FIDELITY_NAMES = {"cycle": "cycle model", "analytical": "analytical estimate"}


def fidelity_names(fidelities: Iterable[str]) -> str:
    """Names of all ``fidelities``, each once."""
    return " and ".join(FIDELITY_NAMES[name] for name in dict.fromkeys(fidelities))


def subject(network: str, architecture: str, batch: object, fidelity: str) -> str:
    """What a figure is about: network, machine, batch, and how it was found."""
    return f"{network} on {architecture}, batch {batch}, {FIDELITY_NAMES[fidelity]}"


def plain(text: str) -> str:
    """``text`` for a picture, where dollar signs would enclose mathematics."""
    return text.replace("$", r"\$")
