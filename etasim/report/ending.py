"""The end of a process, ordinary or sudden: what is unfinished is taken away, what is finished stays, and nothing is left in between.

A signal that ends a command line (Ctrl-C, a terminal that closes, `kill`) is answered by a thread of its own, because the main thread may
be in machine code, or in the compiler, for seconds. It waits until no files are being put into their places, undoes what is unfinished,
ends the workers and leaves at once with 128 + the signal's number.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
MESSAGE = "interrupted; finished results are kept, nothing is half-written"
SHOW_CURSOR = "\n\x1b[?25h"
"""A progress bar hides it."""
PR_SET_PDEATHSIG = 1

_answering = threading.Event()
_duties: list[Callable[[], None]] = []
_whole = threading.RLock()


@contextmanager
def undone_by(undo: Callable[[], None]) -> Iterator[None]:
    """Call ``undo`` at the end of the block, however it ends, and if the process ends within it."""
    _duties.append(undo)
    try:
        yield
    finally:
        try:
            undo()
        finally:
            _duties.remove(undo)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A block that runs to its end: no signal ends the process in it, and a KeyboardInterrupt comes after it."""
    with _whole:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        received = []
        previous = signal.signal(signal.SIGINT, lambda *_: received.append(True))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)
    if received:
        signal.raise_signal(signal.SIGINT)


def end_on_signals() -> None:
    """Answer the ending signals from now on; those that the process was started to ignore (nohup) stay ignored. Main thread only."""
    if sys.platform == "win32" or _answering.is_set():
        return
    _answering.set()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for name in ENDING_SIGNALS:
        number = getattr(signal, name)
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    threading.Thread(target=_wait_for_signal, args=(reading,), name="signals", daemon=True).start()


def _wait_for_signal(reading: int) -> None:
    endings = {getattr(signal, name) for name in ENDING_SIGNALS}
    while (number := os.read(reading, 1)[0]) not in endings:
        pass  # another signal that Python handles wrote its number too
    with _whole:
        for undo in reversed(_duties):
            with suppress(OSError):
                undo()
        if "multiprocessing" in sys.modules:
            for worker in sys.modules["multiprocessing"].active_children():
                worker.kill()
        with suppress(OSError):
            os.write(2, ((SHOW_CURSOR if os.isatty(2) else "") + MESSAGE + "\n").encode())
        os._exit(128 + number)


def leave_at_once() -> NoReturn:
    """End a process that has done everything, with status 0 and without the end of the interpreter: threads that a library leaves behind
    may ask for its lock then, which aborts the process."""
    with _whole:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def obey_parent(pipe: "Connection") -> None:
    """First thing in a worker process: from now on it ends with its parent. What it shall do is sent afterwards, as a function of ``pipe``,
    because to know it can take seconds of imports."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    with suppress(EOFError):
        pipe.recv()(pipe)


def end_with_parent() -> None:
    """End as soon as the parent is gone, whatever this process is doing."""
    import multiprocessing

    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has one"
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent.pid:
            os._exit(1)

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, name="parent", daemon=True).start()
