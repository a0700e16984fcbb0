"""What tests of several rooms share: the small machine, and one finished simulation of it."""

import pytest
from small_networks import TINY, architecture, finished


@pytest.fixture(scope="session")
def small():
    """The architecture of a few PEs."""
    return architecture()


@pytest.fixture(scope="session")
def iteration():
    """One finished iteration of a small network with a strided residual block: (mapping, machine, total cycles)."""
    return finished(architecture(), TINY, batch=2)
