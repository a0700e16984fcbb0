import io

import pytest
from rich.console import Console

from etasim.report import progress
from etasim.report.progress import COMPILING, WAITING, SimulationProgress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the test sets."""
    seconds = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    return seconds


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(file=io.StringIO(), force_terminal=True, width=120))


def notes(bars):
    return [task.fields["note"] for task in bars._progress.tasks]


def test_the_speed_leaves_compilation_out(clock):
    with SimulationProgress(compiling=True) as bars:
        update = bars.add("vgg16")
        assert notes(bars) == [COMPILING]
        clock[0] = 60.0
        update(0.1, 1_000_000)
        assert notes(bars) == ["1.0 M cycles"]
        clock[0] = 62.0
        update(0.2, 2_000_000)
        assert notes(bars) == ["2.0 M cycles, 0.50 M cycles/s"]
        assert bars._progress.tasks[0].percentage == pytest.approx(20)


def test_the_first_cycle_ends_compilation_for_every_bar(clock):
    with SimulationProgress(compiling=True) as bars:
        update, _ = bars.add("one"), bars.add("two")
        update(0.5, 100_000)
        assert notes(bars) == ["0.1 M cycles", WAITING]


def test_items_are_counted():
    with SimulationProgress(compiling=False) as bars:
        step = bars.count("points", 4)
        step("first: ok")
        assert (bars._progress.tasks[0].completed, notes(bars)) == (1, ["first: ok"])


def test_a_stage_is_said_and_compilation_with_it():
    with SimulationProgress(compiling=True) as bars:
        update = bars.add("vgg16")
        bars.stage("calibrating")
        assert notes(bars) == [f"calibrating; {COMPILING}"]
        update(0.5, 100_000)
        bars.stage("comparing")
        assert notes(bars) == ["comparing"]


def test_machine_code_that_cannot_be_kept_is_announced_as_such(monkeypatch):
    from etasim.core import jit

    monkeypatch.setattr(jit, "cache_folder", lambda: None)
    with SimulationProgress(compiling=True) as bars:
        bars.add("vgg16")
        assert notes(bars) == [progress.WITHOUT_CACHE]
