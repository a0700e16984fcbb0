"""What tests of several rooms share: the small machine, and one finished simulation of it."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported: threads that wait for each other starve the other tests

import importlib.util
import signal
import tempfile

from etasim.core.machine_code import cache_folder

if cache_folder() is None:  # whose package cannot be written and who has no home; else each process would compile anew, and say so
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="etasim-tests-")
    cache_folder.cache_clear()

import pytest
from browser import LACKING
from hypothesis import HealthCheck, settings
from small_networks import TINY, architecture, finished

for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL), (signal.SIGQUIT, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:  # in the background and under nohup; the commands that tests end must hear them
        signal.signal(_number, _handler)

# How long an example takes says how busy the machine is, not whether the code is right: no example fails for it.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


OPTIONAL = {"*_against_torch.py": "torch", "*_against_torchvision.py": "torchvision"}
"""Files of tests that compare with a package, and the package. In CI it must be there: without it they fail instead of being left out."""
MISSING = {files: package for files, package in OPTIONAL.items() if importlib.util.find_spec(package) is None}
MISSING |= {"*_in_browser.py": LACKING} if LACKING else {}
if os.environ.get("CI"):
    MISSING = {}
collect_ignore_glob = list(MISSING)


def pytest_addoption(parser):
    parser.addoption("--fuzz-minutes", type=float, help="Run random cases for that long [default: a fixed list of a minute or two].")


def pytest_report_header():
    return [f"{what} is not installed: tests that need it are left out" for what in MISSING.values()]


@pytest.fixture(scope="session")
def small():
    """The architecture of a few PEs."""
    return architecture()


@pytest.fixture(scope="session")
def iteration():
    """One finished iteration of a small network with a strided residual block: (mapping, machine, total cycles)."""
    return finished(architecture(), TINY, batch=2)
