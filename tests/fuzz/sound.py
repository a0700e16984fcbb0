"""The case before all others: every sound file is read, which compiles the kernels, and shows that the files are sound."""

from . import corpus
from .case import Case


def attempt(case: Case, seed: int, number: int) -> None:
    """All kinds of files, each undamaged."""
    for name, kind in corpus.kinds().items():
        own = Case(case.choices, case.folder / name.replace(" ", "_"), case.note)
        own.folder.mkdir()
        own.damaged = kind.make(own)
        kind.read(own)
        case.statuses += own.statuses
        case.faults += own.faults
        if set(own.statuses) - {"0"} and name != "references":
            case.fault("status", f"sound {name}: {own.statuses}", own.messages)
