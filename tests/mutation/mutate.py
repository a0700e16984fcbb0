"""Runs seeded faults: each in a copy of the package, without the JIT, in a process of its own.

``python tests/mutation/mutate.py`` runs all of them and prints what caught each; the last line counts.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120
"""A mutant that runs longer has got past the watch."""


@contextmanager
def patched(mutant: Mutant | None) -> Iterator[Path]:
    """A folder with the package and what it ships, with the fault in it. Raises ValueError if its line is not there once."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(ROOT / "etasim", root / "etasim", ignore=shutil.ignore_patterns("__pycache__"))
        for shipped in ("configs", "traces"):
            (root / shipped).symlink_to(ROOT / shipped)
        if mutant is not None:
            path = root / "etasim" / mutant.file
            text = path.read_text(encoding="utf-8")
            if text.count(mutant.old) != 1:
                raise ValueError(f"{mutant.name}: {mutant.old!r} stands {text.count(mutant.old)} times in {mutant.file}, must be once")
            path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        yield root


def _python(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Python with the package in ``root``, without the JIT."""
    places = os.pathsep.join(map(str, (root, ROOT / "tests" / "given")))
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)


def outcome_of(root: Path) -> str:
    """What stopped the cases of `case.py` on the package in ``root``."""
    try:
        done = _python(root, str(ROOT / "tests/mutation/case.py"))
    except subprocess.TimeoutExpired:
        return f"hang: more than {SECONDS} s"
    lines = done.stdout.strip().splitlines()
    return lines[-1] if lines else f"crash: {done.stderr.strip()[-200:]}"


def is_caught(outcome: str) -> bool:
    """Whether a run's own laws or values noticed."""
    return outcome.startswith(("program", "conservation", "deadlock", "values"))


def is_killed(root: Path, test: str) -> bool:
    """Whether ``test`` fails on the package in ``root``."""
    return _python(root, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(ROOT / test)).returncode == 1


def main() -> int:
    """Run all mutants; returns 1 if one of them is not killed."""
    n_caught = n_killed = 0
    for mutant in MUTANTS:
        with patched(mutant) as root:
            outcome = outcome_of(root)
            caught = is_caught(outcome)
            killed = caught or (bool(mutant.test) and is_killed(root, mutant.test))
        n_caught, n_killed = n_caught + caught, n_killed + killed
        by_suite = "" if caught else f"; {'killed by' if killed else 'NOT KILLED by'} {mutant.test or 'any test'}"
        print(f"{mutant.file}: {mutant.name}: {outcome}{by_suite}", flush=True)
    print(f"caught {n_caught} of {len(MUTANTS)} by a run's own laws or values, {n_killed} of {len(MUTANTS)} with the suite")
    return int(n_killed < len(MUTANTS))


if __name__ == "__main__":
    sys.exit(main())
