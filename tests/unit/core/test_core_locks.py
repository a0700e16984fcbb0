"""A byte of a file belongs to one process at a time, and to nobody once that has ended."""

import subprocess
import sys

import pytest

from etasim.core import machine_code
from etasim.core.locks import LOCKS, alone
from etasim.core.machine_code import Code, prepare

pytestmark = pytest.mark.skipif(not LOCKS, reason="the system locks no bytes of files")

HOLDS = "import sys, time; from etasim.core.locks import alone; from pathlib import Path\n" \
        "with alone(Path(sys.argv[1]), int(sys.argv[2])): print('mine', flush=True); time.sleep(600)"  # fmt: skip


class Holder:
    """Another process that has a byte of a file locked until it is killed."""

    def __init__(self, file, byte):
        self.process = subprocess.Popen([sys.executable, "-c", HOLDS, str(file), str(byte)], stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        assert self.process.stdout.readline() == "mine\n"
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def is_alone(file, byte, waits=False):
    with alone(file, byte, waits) as is_ours:
        return is_ours


def test_another_process_has_its_byte_to_itself_until_it_is_killed(tmp_path):
    with Holder(tmp_path / "locks", 7):
        assert not is_alone(tmp_path / "locks", 7)
        assert is_alone(tmp_path / "locks", 8)
    assert is_alone(tmp_path / "locks", 7)
    assert is_alone(tmp_path / "locks", 7, waits=True)


def test_where_nothing_can_be_locked_nobody_waits(tmp_path):
    assert is_alone(tmp_path / "no folder" / "locks", 1)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_code, "cache_folder", lambda: tmp_path)
    return tmp_path


def twice(number):
    return 2 * number


def test_what_another_process_compiles_is_left_to_it(cache):
    def compiled():
        made.append("again")
        return Code("twice", b"code")

    made, path = [], machine_code._path(twice, int)
    with Holder(cache / machine_code.LOCKS, machine_code._byte(path)):
        prepare(twice, int, compiled)
        assert not made
        assert machine_code._read(path) is None
    for _ in range(2):
        prepare(twice, int, compiled)
    assert made == ["again"]
    assert machine_code._code_of(path, compiled) == Code("twice", b"code")
    assert made == ["again"]


def test_who_waited_for_another_process_reads_what_it_kept(cache, monkeypatch):
    path, kept, reads = machine_code._path(twice, int), Code("twice", b"theirs"), []

    def read(path):
        """Nothing before the lock is had, what the other process has written after."""
        reads.append(path)
        return kept if len(reads) > 1 else None

    monkeypatch.setattr(machine_code, "_read", read)
    assert machine_code._code_of(path, pytest.fail) == kept
