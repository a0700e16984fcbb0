"""What a result does in a Python session, whether it was just simulated or read from a folder."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etasim.machine.result import LayerRow, TypedRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

    from etasim.report.reading import StoredResult

SCREEN_COLUMNS = 110
HINT = "More: .summary, .rows, .energy, .board, .to_pandas(), .plot('bandwidth'), .report('page.html')"
HTML = "<pre style='font-family: monospace; line-height: 1.2; overflow-x: auto'>{}</pre>"


class InSession:
    """Prints as a screen of text, and as a table in a notebook; draws its pictures and its page."""

    stored: "StoredResult"
    """The figures as its files have them."""

    @contextmanager
    def in_a_folder(self) -> "Iterator[StoredResult]":
        """The result with its files, in a folder of its own if it has none yet."""
        raise NotImplementedError

    @property
    def rows(self) -> tuple[LayerRow, ...]:
        """The rows of layers.csv: a layer in a phase each, in program order; ``explain`` a column with `etasim explain NAME`."""
        return tuple(self.stored.layers)

    @property
    def energy(self) -> tuple[TypedRow, ...]:
        """Energy of each action of each component: ``component``, ``action``, ``count``, ``energy_mj`` (None: not known, ``excluded`` says
        why), ``share_percent``, ``source``. Counts times stated energies, not measured."""
        return tuple(TypedRow(row) for row in self.stored.components.get("energy", []))

    @property
    def board(self) -> tuple[TypedRow, ...]:
        """What the machine takes of its board: ``resource``, ``used``, ``available``, ``share_percent``, ``fits``, ``estimate``; arithmetic
        on the configuration, not synthesis. Empty for a machine without a board."""
        return tuple(TypedRow(row) for row in self.stored.components.get("board", []))

    def to_pandas(self) -> Any:
        """`rows` as a ``pandas.DataFrame``, what is not known as NaN. Raises InputError if pandas is not installed."""
        from etasim.report.extras import need

        need("pandas")
        import pandas  # type: ignore[import-untyped, import-not-found, unused-ignore]  # an extra

        return pandas.DataFrame([dict(row) for row in self.rows])

    def plot(self, picture: str = "bandwidth", path: str | Path | None = None, *, width: str | None = None) -> "Figure":
        """Draw ``picture`` (docs/pictures.md), ``width`` such as "88mm" wide; with ``path`` also into that file, format by suffix.

        Returns matplotlib's figure, which a notebook shows; pyplot and its backend are not touched. Raises UnknownNameError for another
        name, InputError for a result that lacks what the picture is of.
        """
        from etasim.report.drawing import inches_of
        from etasim.report.plots import drawn

        with self.in_a_folder() as result:
            return drawn(picture, result, None if path is None else Path(path), inches_of(width))

    def report(self, path: str | Path) -> Path:
        """Write the page of this run to ``path``, which any browser opens. Raises InputError without the extra ``report``."""
        from etasim.report.extras import need
        from etasim.report.outputs import check_outputs
        from etasim.report.page.document import write_page
        from etasim.report.page.run_page import run_page

        need("vl_convert")
        check_outputs([("path", Path(path))])
        with self.in_a_folder() as result:
            write_page(run_page(result.folder), Path(path))
        return Path(path)

    def __repr__(self) -> str:
        return _printed(self.stored)

    def _repr_html_(self) -> str:
        return as_html(self)


def as_html(value: object) -> str:
    """What ``value`` prints, for a notebook."""
    return HTML.format(escape(repr(value)))


def text_of(*parts: "RenderableType") -> str:
    """What rich can draw, as text of the width of a screen."""
    from rich.console import Console

    text = io.StringIO()
    Console(width=SCREEN_COLUMNS, file=text, color_system=None, highlight=False, force_jupyter=False).print(*parts, sep="\n")
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _printed(result: "StoredResult") -> str:
    from etasim.report.tables import doubts_text, stall_table, summary_table

    return text_of(summary_table(result), *doubts_text(result), "", stall_table(result), "", HINT)
