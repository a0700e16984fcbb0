"""What tests of several rooms share: the small machine, and one finished simulation of it."""

import os

import pytest
from hypothesis import settings
from small_networks import TINY, architecture, finished

settings.register_profile("ci", derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(scope="session")
def small():
    """The architecture of a few PEs."""
    return architecture()


@pytest.fixture(scope="session")
def iteration():
    """One finished iteration of a small network with a strided residual block: (mapping, machine, total cycles)."""
    return finished(architecture(), TINY, batch=2)
