"""The package of this folder, installed beside etasim as a user would install it."""

import shutil
from pathlib import Path

import pytest
from installing import HERE, Command, command_with


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
    """Python that finds the package; without the compiler, which would take a minute for its kernels and ours."""
    return command_with(installed, NUMBA_DISABLE_JIT="1")


@pytest.fixture(scope="session")
def without_package() -> Command:
    """Python that does not."""
    return command_with()
