"""The package of this folder, installed beside etasim as a user would install it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
Command = Callable[..., subprocess.CompletedProcess]


def command_with(*folders: Path, **more: str) -> Command:
    """Runs Python with ``folders`` and this checkout on its path."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*folders, CHECKOUT)))} | more

    def run(*arguments: object) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> Path:
    """The folder in which the package is installed."""
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(HERE / "package", folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    done = command_with()("-m", "pip", "install", *options, "--target", folder / "site", source)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="session")
def with_package(installed) -> Command:
    """Python that finds the package."""
    return command_with(installed)


@pytest.fixture(scope="session")
def without_package() -> Command:
    """Python that does not."""
    return command_with()
