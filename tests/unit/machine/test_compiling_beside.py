"""Helpers compile what a first simulation needs, are started when something must be compiled, and end with who asked."""

import os

import pytest

from etasim.config import load_architecture
from etasim.core import jit
from etasim.core.layout import layout_of
from etasim.machine import compiling_beside, engine
from etasim.machine.compiling_beside import MOST_HELPERS, help_compiling, start_compiling
from etasim.machine.elaborate import elaborate
from etasim.mapping import map_iteration
from etasim.workload import load_network
from etasim.workload.lowering import PHASES


def layouts(architecture, network, phases, window):
    mapping = map_iteration(load_architecture(architecture), load_network(network), 1, phases, window)
    machine = elaborate(load_architecture(architecture), mapping)
    return {(kernel, layout_of(frame)) for kernel, frame in engine.parts_of(machine)}


def test_a_small_weight_update_needs_the_kernels_of_large_iterations():
    large = layouts("eta_vc709", "resnet20_cifar", PHASES, 1000)
    assert large == layouts("eta_small", "digits_cnn", ("wu",), 1000)
    assert len(large) == 2 * (len(engine.PARTS) - len(engine.OF_SOME_MACHINES))


class Started:
    """In the place of a helper."""

    commands: list = []  # noqa: RUF012

    def __init__(self, command, **_):
        self.commands.append(command)


@pytest.fixture
def started(monkeypatch):
    monkeypatch.setattr(Started, "commands", [])
    monkeypatch.setattr(compiling_beside.subprocess, "Popen", Started)
    monkeypatch.setattr(compiling_beside.atexit, "register", lambda *_: None)
    monkeypatch.setattr(compiling_beside.os, "sched_getaffinity", lambda _: set(range(64)))
    compiling_beside._start_helpers.cache_clear()
    yield Started.commands
    compiling_beside._start_helpers.cache_clear()


@pytest.mark.skipif(jit.DISABLED, reason="nothing is compiled")
def test_helpers_are_started_once_and_only_if_something_must_be_compiled(started, monkeypatch):
    monkeypatch.setattr(compiling_beside, "is_compiled", lambda *_: True)
    assert not start_compiling()
    assert not started
    monkeypatch.setattr(compiling_beside, "is_compiled", lambda *_: False)
    assert start_compiling()
    assert start_compiling(functional=True)
    assert [command[-2:] for command in started] == [[str(number), str(os.getpid())] for number in range(MOST_HELPERS)]


@pytest.mark.skipif(jit.DISABLED, reason="nothing is compiled")
def test_a_machine_of_one_core_compiles_by_itself(started, monkeypatch):
    monkeypatch.setattr(compiling_beside, "is_compiled", lambda *_: False)
    monkeypatch.setattr(compiling_beside.os, "sched_getaffinity", lambda _: {0})
    assert start_compiling()
    assert not started


def test_a_helper_compiles_the_largest_parts_first_and_stops_when_nobody_needs_them(monkeypatch):
    parts = []
    monkeypatch.setattr(compiling_beside.frame, "compile_part", lambda kernel, _: parts.append(kernel))
    help_compiling(0, asked_by=os.getpid())
    assert not parts, "this process is not its own parent"
    help_compiling(0, asked_by=os.getppid())
    assert [kernel.__module__ for kernel in parts[:2]] == ["etasim.noc.part", "etasim.memory.dram.part"]
    assert len(parts) == 2 * (len(engine.PARTS) - len(engine.OF_SOME_MACHINES))
