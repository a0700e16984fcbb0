"""Pages of the documentation that run: the fenced blocks of a page, one after the other in one folder.

What stands behind the fence says what a block is:

- ``console``: lines ``$ command``, below each what it prints. What is printed where the status is not 0 includes the errors.
- ``bash``: commands, without what they print; each ends with status 0.
- ``python``: runs, in the namespace of the page.
- ``yaml``, ``toml``, ``python``, ``csv`` with ``# NAME`` as the first line: the file NAME, for the blocks below.
- ``yaml`` otherwise: an input, read as what the mark says that it is.
- ``text`` and ``mermaid`` are read by people.

A mark is a comment in the line above the fence: ``<!-- not run: REASON -->``, ``<!-- run by FILE -->`` (a test), ``<!-- yaml: KIND -->``.
In a console block a line ``...`` stands for lines that the page leaves out.

``python tests/given/pages.py`` writes into the tutorial, and into other pages with console blocks, what commands print and draw now.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from command_line import invoke

ROOT = Path(__file__).parents[2]
TUTORIAL = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
DOCS = sorted(page for page in (ROOT / "docs").rglob("*.md") if "generated" not in page.parts)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
FENCE = re.compile(r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"# ([\w./-]+\.(?:yaml|toml|py|csv))\n")
PICTURES, PICTURE = ROOT / "docs" / "images" / "tutorial", re.compile(r"\]\(\.\./images/tutorial/([^)]+)\)")
PROMPT, LEFT_OUT = "$ ", "..."
OF_THIS_MACHINE = (re.compile(r"\b[\d.]+ s, [\d.]+ M cycles/s\b"),)
"""What no page can say beforehand: how long a run took here."""


class Block(NamedTuple):
    """A fenced block of a page. ``span``: where its text stands in that of the page."""

    page: Path
    line: int
    mark: str
    language: str
    text: str
    span: tuple[int, int]

    @property
    def where(self) -> str:
        """For a message."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def reason(self) -> str | None:
        """Why it is not run, if it is not."""
        return self.mark.partition("not run: ")[2] or None

    @property
    def test(self) -> str | None:
        """The file of the test that runs it, if that is another one."""
        return self.mark.partition("run by ")[2] or None

    @property
    def file(self) -> str | None:
        """Name of the file that it is."""
        named = NAMED.match(self.text)
        return named[1] if named else None

    @property
    def commands(self) -> list[str]:
        """What is typed in a shell."""
        if self.language == "console":
            return [line.removeprefix(PROMPT) for line in self.text.splitlines() if line.startswith(PROMPT)]
        whole = self.text.replace("\\\n", "")
        return [line for line in whole.splitlines() if line and not line.startswith("#")] if self.language == "bash" else []


def blocks(page: Path) -> list[Block]:
    """The blocks of ``page``, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start("text")), found["mark"] or "", found["language"], found["text"], found.span("text"))
        for found in FENCE.finditer(text)
    ]


def without_times(text: str) -> str:
    """``text`` without what depends on the machine that runs it."""
    for pattern in OF_THIS_MACHINE:
        text = pattern.sub("(time)", text)
    return text


class Session:
    """A reader in an empty folder, who does what pages say."""

    def __init__(self, folder: Path):
        self.folder, self.status = folder, 0
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self._site = folder / ".site"

    def read(self, page: Path) -> str:
        """Do what ``page`` says; the text that it should have, which differs from what it has where another thing is printed."""
        text, done = page.read_text(encoding="utf-8"), 0
        parts = []
        for block in blocks(page):
            parts += [text[done : block.span[0]], self.do(block)]
            done = block.span[1]
        return "".join([*parts, text[done:]])

    def do(self, block: Block) -> str:
        """Do what ``block`` says; the text that it should have."""
        if block.reason or block.test:
            return block.text
        with contextlib.chdir(self.folder):
            if block.file:
                Path(block.file).parent.mkdir(parents=True, exist_ok=True)
                Path(block.file).write_text(block.text, encoding="utf-8")
            elif block.language == "python":
                exec(compile("\n" * block.line + block.text, block.page, "exec"), self.namespace)
            elif block.language == "console":
                return "".join(self._answered(command, shown) for command, shown in _exchanges(block.text))
            for command in block.commands:
                printed = self._printed(command)
                assert self.status == 0, f"{block.where}: {command}\n{printed}"
        return block.text

    def _answered(self, command: str, shown: list[str]) -> str:
        """``command`` with what it prints, as far as the page shows it."""
        printed = [line.rstrip() for line in self._printed(command).rstrip().splitlines()]
        if LEFT_OUT in shown:
            before = shown.index(LEFT_OUT)
            after = len(shown) - before - 1
            printed = [*printed[:before], LEFT_OUT, *printed[len(printed) - after :]]
        if without_times("\n".join(printed)) == without_times("\n".join(shown)):
            printed = shown
        return "".join(f"{line}\n" for line in [PROMPT + command, *printed])

    def _printed(self, command: str) -> str:
        """What a shell shows of it; ``etasim`` runs in this process as long as no package was installed beside it."""
        words = shlex.split(command, comments=True)
        if words == ["echo", "$?"]:
            return str(self.status)
        if words[0] == "etasim" and not self._site.exists():
            result = invoke(*words[1:])
            if result.exception is not None and not isinstance(result.exception, SystemExit):
                raise result.exception
            self.status = result.exit_code
            return result.output if self.status else result.stdout
        if words[:2] == ["pip", "install"]:
            options = "--quiet --no-deps --no-build-isolation --no-index --disable-pip-version-check --target"
            command = f"python -m pip install {options} {self._site} {shlex.join(words[2:])}"
        elif words[0] == "etasim":
            command = f"python -m {command}"
        there = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": f"{self._site}:{ROOT}"}
        done = subprocess.run(["bash", "-c", command], env=os.environ | there, capture_output=True, text=True, check=False)
        self.status = done.returncode
        return done.stderr + done.stdout if self.status else done.stdout


def _exchanges(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines below it."""
    for part in re.split(rf"^{re.escape(PROMPT)}", text, flags=re.MULTILINE)[1:]:
        command, *shown = part.rstrip().splitlines()
        yield command, [line.rstrip() for line in shown]


def main() -> None:
    """Follow the tutorial in a new folder, and each other page that shows outputs in one of its own; write down what is printed."""
    showing = [page for page in PAGES if any(block.language == "console" for block in blocks(page))]
    for pages in [TUTORIAL, *([page] for page in showing if page not in TUTORIAL)]:
        _write(pages)


def _write(pages: list[Path]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder))
        for page in pages:
            text = session.read(page)
            print(f"{page.relative_to(ROOT)}: {'as it was' if text == page.read_text(encoding='utf-8') else 'written'}")
            page.write_text(text, encoding="utf-8")
            for name in PICTURE.findall(text):
                (PICTURES / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path(folder) / name, PICTURES / name)


if __name__ == "__main__":
    main()
