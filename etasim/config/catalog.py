"""The architectures, DRAM parts, energy tables and traces that come with the package, from a checkout or an installed wheel, and those that
other packages bring: `INPUT_FOLDERS` names folders that have ``configs/energy`` and the like."""

from pathlib import Path

from etasim.config.errors import InputError, Problem, allowed_names, suggest
from etasim.config.files import close_to
from etasim.core.registry import INPUT_FOLDERS, PluginError

FOLDERS = {"configs": ("configs", "configs/prior", "configs/parity"), "configs/spaces": ("configs/spaces", "configs/sweeps")}
"""Kinds whose shipped files lie in several folders."""

IN_A_CHECKOUT = {"references": "tests/validation/data"}
"""Folders of a checkout that have another name there."""

PACKAGE = Path(__file__).resolve().parent.parent


def shipped_folder(kind: str) -> Path:
    """Folder of ``kind``: ``configs``, ``configs/dram``, ``configs/prior``, ..., ``traces`` or ``references`` (runs of `etasim validate`).

    A wheel holds it inside the package (see setup.py); in a checkout it lies beside the package.
    """
    installed = PACKAGE / f"shipped_{kind}"
    return installed if installed.is_dir() else PACKAGE.parent / IN_A_CHECKOUT.get(kind, kind)


def shipped_names(kind: str) -> tuple[str, ...]:
    """Names of the shipped files of ``kind``, sorted."""
    return tuple(sorted(_shipped_files(kind)))


def _shipped_files(kind: str) -> dict[str, Path]:
    """The file of each name. Raises PluginError for one that two packages bring."""
    found: dict[str, Path] = {}
    for folder in (shipped_folder(kind), *(root / kind for _, root in INPUT_FOLDERS.items())):
        for path in folder.glob("*.yaml"):
            if path.stem in found:
                raise PluginError(f"{path} is there already: {found[path.stem]}")
            found[path.stem] = path
    return found


def shipped(kind: str, name: str) -> Path:
    """Path of the shipped file ``name`` of ``kind``; raises KeyError if there is none."""
    return _shipped_files(kind)[name]


def find_input(kind: str, path_or_name: str | Path, relative_to: Path | None = None) -> Path:
    """The file that a user means by a path or by a shipped name; an existing file wins.

    ``relative_to`` is the folder that relative paths start from (default: the working directory).
    Raises InputError that lists the shipped names.
    """
    text = str(path_or_name)
    path = (relative_to or Path()) / path_or_name
    try:
        if path.is_file() or (path.exists() and not path.is_dir()):
            return path
    except (OSError, ValueError):
        pass  # not even a possible file name: it is reported below as unknown
    known = {name: found for folder in reversed(FOLDERS.get(kind, (kind,))) for name, found in _shipped_files(folder).items()}
    if text in known:
        return known[text]
    names = sorted(known)
    what = "is a folder, not a file" if _is_folder(path) else "no such file or shipped name"
    close = close_to(path) if not suggest(text.removesuffix(".yaml"), names) else ""
    raise InputError([Problem(text, 1, "", f"{what}; {allowed_names(text.removesuffix('.yaml'), names)}{close}")])


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
