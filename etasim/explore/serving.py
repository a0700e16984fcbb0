"""A page served on this machine alone, made anew whenever what it shows changes."""

import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from etasim.config import InputError, Problem
from etasim.explore.database import DATABASE
from etasim.explore.pages import page_of
from etasim.machine.checkpoint import saved_cycle
from etasim.report.page.document import Page, PageSection, html
from etasim.report.page.markup import element
from etasim.report.store import CHECKPOINT, LAYERS, RESULTS, RUN, SERIES

HOST = "127.0.0.1"
FOLLOWED = (RESULTS, LAYERS, RUN, SERIES, CHECKPOINT, DATABASE, f"{DATABASE}-wal")
"""Files of a folder whose change is news."""


class LivePage:
    """The page of ``folders`` as it is now; one that cannot be made yet says what is there, and why."""

    def __init__(self, folders: Sequence[Path], with_nests: bool):
        self._folders, self._with_nests = folders, with_nests
        self._lock = threading.Lock()
        self._made = ("", "")

    def state(self) -> str:
        """A text that changes with what the page shows."""
        files = (folder / name for folder in self._folders for name in FOLLOWED)
        return " ".join(_identity(file) for file in [*self._folders, *files])

    def text(self) -> str:
        """The page, made again only if the state is another."""
        with self._lock:
            state = self.state()
            if self._made[0] != state:
                self._made = (state, html(self._page(), live=state))
            return self._made[1]

    def _page(self) -> Page:
        try:
            return page_of(self._folders, self._with_nests)
        except InputError as error:
            return _waiting(self._folders, error)


def _identity(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "-"
    return f"{status.st_mtime_ns}.{status.st_size}" if path.is_file() else "folder"


def _waiting(folders: Sequence[Path], error: InputError) -> Page:
    """What there is of results that cannot be shown yet."""
    lines = [element("li", str(problem)) for problem in error.problems]
    for folder in folders:
        if (cycle := saved_cycle(folder / CHECKPOINT)) is not None:
            lines.append(element("li", f"{folder}: a run that is not finished, saved at core cycle {cycle:,}"))
    text = element("p", "This page loads again as soon as something changes.", class_="lead")
    return Page("Nothing to show yet", text, [PageSection("state", "What is there", [element("ul", lines)])], {}, {}, [])


def server_of(page: LivePage, port: int) -> ThreadingHTTPServer:
    """A server of ``page`` on this machine's own address and ``port`` (0: one that is free). Raises InputError for a port that is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            names = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}  # type: ignore[attr-defined]
            if self.headers.get("Host") not in names:  # another name that leads here may be a foreign page's
                self.send_error(403)
            elif self.path == "/":
                self._send(page.text(), "text/html; charset=utf-8")
            elif self.path == "/state":
                self._send(page.state(), "text/plain; charset=utf-8")
            else:
                self.send_error(404)

        def _send(self, text: str, kind: str) -> None:
            content = text.encode()
            self.send_response(200)
            fields = {"Content-Type": kind, "Content-Length": str(len(content)), "Cache-Control": "no-store"}
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing: the terminal belongs to the user."""

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        raise InputError([Problem("--port", None, "", f"{port} cannot be used: {error.strerror or error}")]) from None


def serve_page(folders: Sequence[Path], with_nests: bool, port: int, say: Callable[[str], None]) -> None:
    """Serve the page of ``folders`` until the process is told to end. Raises InputError where there is not even a folder."""
    missing = [folder for folder in folders if not folder.exists()]
    if missing:
        raise InputError(Problem(str(folder), None, "", "no such folder") for folder in missing)
    with server_of(LivePage(folders, with_nests), port) as server:
        say(f"http://{HOST}:{server.server_port}/ shows {', '.join(map(str, folders))}; Ctrl-C ends it")
        server.serve_forever(poll_interval=0.2)
