"""What tests of several rooms share: the small machine, and one finished simulation of it."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported: threads that wait for each other starve the other tests

import importlib.util

import pytest
from hypothesis import settings
from small_networks import TINY, architecture, finished

settings.register_profile("ci", derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


HAS_TORCH = bool(os.environ.get("CI")) or importlib.util.find_spec("torch") is not None
"""In CI PyTorch must be there: without it the comparisons with it fail instead of being left out."""
collect_ignore_glob = [] if HAS_TORCH else ["*_against_torch.py"]


def pytest_addoption(parser):
    parser.addoption("--fuzz-minutes", type=float, help="Run random cases for that long [default: a fixed list of a minute or two].")


def pytest_report_header():
    return None if HAS_TORCH else "PyTorch is not installed: comparisons with it are left out"


@pytest.fixture(scope="session")
def small():
    """The architecture of a few PEs."""
    return architecture()


@pytest.fixture(scope="session")
def iteration():
    """One finished iteration of a small network with a strided residual block: (mapping, machine, total cycles)."""
    return finished(architecture(), TINY, batch=2)
