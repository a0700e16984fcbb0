"""The stamp of machine code changes with whatever a kernel is made of, and with nothing else."""

import textwrap
from types import ModuleType

import pytest

from etasim.core import channel, jit
from etasim.core.stamp import _pieces, stamp
from etasim.machine import engine
from etasim.memory import feeder, mover
from etasim.memory.dram import schedule
from etasim.noc import router
from etasim.pe import cluster

CALLED = """
    LIMIT = 3
    TABLE = np.array([1, 2, 3])

    @kernel
    def clamp(value):
        \"\"\"At most LIMIT.\"\"\"
        return min(value, LIMIT)

    @kernel
    def unrelated(value):
        return value * 7
"""

CALLER = """
    chosen = chooser("chosen", ("value",), lambda: [called.clamp])

    @entry
    def compute(value):
        total = called.clamp(value) + called.TABLE[0]  # a comment
        return total + chosen(0, value)
"""


def compute(called: str = CALLED, caller: str = CALLER):
    """The function ``compute`` of two modules with these sources."""
    below, above = ModuleType("called"), ModuleType("caller")
    for module, text in ((below, called), (above, caller)):
        vars(module).update({name: getattr(jit, name) for name in ("chooser", "entry", "kernel")}, called=below)
        exec("import numpy as np\n" + textwrap.dedent(text), vars(module))
    return above.compute


def test_equal_sources_have_equal_stamps():
    assert stamp(compute()) == stamp(compute())


@pytest.mark.parametrize(("old", "new"), [
    ("LIMIT = 3", "LIMIT = 4"), ("[1, 2, 3]", "[1, 2, 4]"), ("[1, 2, 3]", "[1.0, 2, 3]"), ("min(value", "max(value"),
    ("return min(value, LIMIT)", "return min(value, LIMIT) + 1"), ("total + chosen", "total - chosen"), ("TABLE[0]", "TABLE[1]"),
])  # fmt: skip
def test_a_stamp_changes_with_what_a_kernel_reaches(old, new):
    assert old in CALLED + CALLER
    assert stamp(compute(CALLED.replace(old, new), CALLER.replace(old, new))) != stamp(compute())


@pytest.mark.parametrize(("old", "new"), [
    ("a comment", "another comment"), ("At most LIMIT.", "No more than LIMIT."), ("value * 7", "value * 8"),
    ("def unrelated", "\n\n    def unrelated"),
])  # fmt: skip
def test_a_stamp_does_not_change_with_anything_else(old, new):
    assert old in CALLED + CALLER
    assert stamp(compute(CALLED.replace(old, new), CALLER.replace(old, new))) == stamp(compute())


def test_a_kernel_that_a_package_adds_is_part_of_the_stamp():
    added = CALLER.replace("[called.clamp]", "[called.clamp, called.unrelated]")
    assert stamp(compute(caller=added)) != stamp(compute())
    assert stamp(compute(CALLED.replace("value * 7", "value * 8"), added)) != stamp(compute(caller=added))


@pytest.fixture(autouse=True)
def no_memory_of_what_a_test_has_edited():
    yield
    _pieces.cache_clear()


def stamps() -> dict[str, str]:
    _pieces.cache_clear()
    return {name: stamp(part.step) for name, part in engine.PARTS.items()}


@pytest.mark.parametrize(("edited", "parts"), [
    (feeder._advance, {"feeders"}), (schedule.better, {"dram"}), (router.step_router, {"noc"}), (mover._finish, {"movers"}),
    (cluster._drain, {"clusters"}),
    (channel.n_taken, {"dma", "host"}), (channel.push, set(engine.PARTS)),
])  # fmt: skip
def test_an_edit_changes_the_stamps_of_the_parts_that_it_is_in(edited, parts, monkeypatch):
    before, function = stamps(), getattr(edited, "py_func", edited)
    monkeypatch.setattr(function, "__code__", function.__code__.replace(co_consts=(*function.__code__.co_consts, 12345)))
    assert {name for name, now in stamps().items() if now != before[name]} == parts
