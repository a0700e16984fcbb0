"""How a process ends that is told to, in the middle of anything."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import etasim
from etasim.report.ending import MESSAGE, undone_by, uninterrupted

HEAD = """\
import hashlib, time
from pathlib import Path
from etasim.report.ending import end_on_signals, uninterrupted
from etasim.report.staging import staged_file, staged_folder
end_on_signals()
deaf = lambda seconds: hashlib.pbkdf2_hmac("sha256", b"", b"", seconds * 2_000_000)  # as machine code: it lets no signal shorten it
"""
STAGING = """
with staged_folder(Path("new/out")) as staged, staged_file(Path("text")) as text:
    (staged / "a").write_text("half")
    Path("ready").touch()
    deaf(30)
"""
PLACING = """
with uninterrupted():
    Path("first").write_text("whole")
    Path("ready").touch()
    deaf(1)
    Path("second").write_text("whole")
deaf(30)
"""
CLEANING = """
try:
    Path("ready").touch()
    deaf(30)
finally:
    raise RuntimeError("what the end of the process breaks is not told")
"""


def end(folder, body, *numbers):
    """Run ``body``, send it the signals when it is ready; status, what it said, seconds it went on."""
    environment = os.environ | {"PYTHONPATH": str(Path(etasim.__file__).resolve().parents[1])}
    process = subprocess.Popen([sys.executable, "-c", HEAD + body], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    while not (folder / "ready").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    (folder / "ready").unlink()
    sent = time.monotonic()
    for number in numbers:
        process.send_signal(number)
    _, errors = process.communicate()
    return process.returncode, errors, time.monotonic() - sent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_machine_code_does_not_delay_the_end_and_nothing_unfinished_stays(tmp_path, number):
    status, errors, seconds = end(tmp_path, STAGING, number)
    assert (status, errors) == (128 + number, f"{MESSAGE}\n")
    assert seconds < 2
    assert os.listdir(tmp_path) == []


def test_an_impatient_user_is_told_once(tmp_path):
    status, errors, _ = end(tmp_path, STAGING, signal.SIGINT, signal.SIGTERM, signal.SIGINT)
    assert status in (130, 143)
    assert errors == f"{MESSAGE}\n"
    assert os.listdir(tmp_path) == []


def test_files_on_their_way_into_place_arrive_first(tmp_path):
    status, errors, _ = end(tmp_path, PLACING, signal.SIGTERM)
    assert (status, errors) == (143, f"{MESSAGE}\n")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"first": "whole", "second": "whole"}


def test_no_traceback_comes_out_of_the_end(tmp_path):
    assert end(tmp_path, CLEANING, signal.SIGTERM)[:2] == (143, f"{MESSAGE}\n")


def test_what_was_ignored_from_the_start_stays_ignored(tmp_path):
    body = "Path('ready').touch()\ntime.sleep(0.3)\nPath('done').touch()\n"
    code = f"import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n{HEAD}{body}"
    environment = os.environ | {"PYTHONPATH": str(Path(etasim.__file__).resolve().parents[1])}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    assert process.wait() == 0
    assert (tmp_path / "done").exists()


def test_an_interrupt_waits_for_the_end_of_a_block_in_a_process_that_is_not_a_command():
    done = []

    def block():
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("to the end")
        done.append("further")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["to the end"]


def test_a_block_is_undone_however_it_ends():
    undone = []
    with undone_by(lambda: undone.append(1)):
        pass

    def fail():
        with undone_by(lambda: undone.append(2)):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert undone == [1, 2]


def test_who_leaves_at_once_has_said_everything_and_waits_for_no_thread():
    """Not for one that would go on for ever, nor for what the interpreter does at its end."""
    code = (
        "import atexit, threading\nfrom etasim.report.ending import leave_at_once\n"
        "threading.Thread(target=threading.Event().wait).start()\natexit.register(print, 'end')\n"
        "print('done', end='')\nleave_at_once()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done", "")
