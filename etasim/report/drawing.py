"""What pictures share: colours, sheets of a wanted width, titles, the table beside a picture, files."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from textwrap import fill
from typing import Any
from weakref import WeakKeyDictionary

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from etasim.config.errors import InputError, Problem, allowed_names
from etasim.pe.causes import CAUSE_COLUMNS
from etasim.report.inputs import inputs_of
from etasim.report.naming import plain, plain_name, shortened, subject
from etasim.report.reading import StoredResult
from etasim.report.staging import staged_file
from etasim.report.store import RESULTS, RUN
from etasim.report.tables import PHASE_NAMES, Row, by_layer, forward_order
from etasim.workload.lowering import PHASES

PHASE_COLOURS = {"ff": "#0072B2", "bp": "#D55E00", "wg": "#009E73", "wu": "#CC79A7"}
"""Okabe and Ito's palette, which colour-blind readers tell apart; markers repeat the distinction."""
LIMIT_COLOUR, QUIET_COLOUR, UNKNOWN_COLOUR = "#444444", "#999999", "#EEEEEE"
CLASS_COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#999999", "#333333")
RESULT_COLOUR = "#DDDDDD"
CAUSE_COLOURS = ("#333333", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#F0E442", "#D9D9D9")
CYCLE_COLOURS = dict(zip(CAUSE_COLUMNS, CAUSE_COLOURS, strict=True))
MANY_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#000000", "#999999")
WRITE_HATCH = "////"
STYLE: dict[Any, Any] = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "figure.dpi": 150}
NARROW_STYLE = STYLE | {"font.size": 7, "axes.titlesize": 7, "xtick.labelsize": 6, "ytick.labelsize": 6, "legend.fontsize": 6}
NARROW_INCHES = 5.0
"""A picture of less is for a column of a paper: smaller letters, fewer ticks."""
LEAST_INCHES, MOST_INCHES = 2.5, 60.0
ROW_INCHES, PANEL_INCHES = 0.19, 2.6
LARGEST_PIXELS = 60_000
"""Of a side of a picture: a deep network is drawn coarser, because matplotlib writes no more than 2^16."""

Data = Sequence[Mapping[str, Any]]
_width_inches: ContextVar[float | None] = ContextVar("width_inches", default=None)
_tables: "WeakKeyDictionary[Figure, Data]" = WeakKeyDictionary()


@contextmanager
def drawn_at(width_inches: float | None) -> Iterator[None]:
    """Pictures that are drawn meanwhile are so wide; None: as wide as each likes."""
    token = _width_inches.set(width_inches)
    try:
        with rc_context(NARROW_STYLE if is_narrow() else STYLE):
            yield
    finally:
        _width_inches.reset(token)


def is_narrow() -> bool:
    """Whether a picture is drawn for a column of a paper."""
    width = _width_inches.get()
    return width is not None and width < NARROW_INCHES


def inches_of(text: str | None) -> float | None:
    """A width such as ``88mm``, ``8.8 cm`` or ``3.5in`` in inches. Raises InputError for anything else, or beyond what can be drawn."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(mm|cm|in)\s*", text)
    inches = float(found[1]) / {"mm": 25.4, "cm": 2.54, "in": 1.0}[found[2]] if found else 0.0
    if not LEAST_INCHES <= inches <= MOST_INCHES:
        message = f"must be a length such as 88mm, 8.8cm or 3.5in, of {LEAST_INCHES:g} to {MOST_INCHES:g} in, got {text!r}"
        raise InputError([Problem("--width", 1, "", message)])
    return inches


def size_of(width_inches: float, height_inches: float, grows: bool = False) -> tuple[float, float]:
    """Width and height of a picture that likes to be of this size. One that ``grows`` with its rows keeps its height."""
    wanted = _width_inches.get()
    if wanted is None:
        return width_inches, height_inches
    return wanted, height_inches if grows else max(height_inches * wanted / width_inches, min(height_inches, 0.62 * height_inches))


class Sheet(Figure):
    """A picture that a notebook shows and no window does: pyplot, and the backend that a user chose for it, do not know it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=STYLE["figure.dpi"])
        return buffer.getvalue()


def sheet(rows: int = 1, columns: int = 1, *, figsize: tuple[float, float], **panels: Any) -> tuple[Sheet, Any]:
    """A new picture of ``figsize`` inches and its panels, as those of ``Figure.subplots``."""
    figure = Sheet(figsize=figsize, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **panels)


def tabulate(figure: Figure, rows: Data) -> Figure:
    """Keep what ``figure`` shows as rows, for the file beside it."""
    _tables[figure] = rows
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write ``figure`` to ``path`` (format by suffix). Raises InputError for an unknown format."""
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in formats:
        message = f"unknown picture format {path.suffix!r}; {allowed_names(path.suffix[1:], formats)}"
        raise InputError([Problem(str(path), None, "-o", message)])
    dpi = min(STYLE["figure.dpi"], LARGEST_PIXELS / max(figure.get_size_inches()))
    with staged_file(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
    return path


def save_table(figure: Figure, path: Path) -> None:
    """Write what ``figure`` shows as CSV, if it says so."""
    if rows := _tables.get(figure):
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with staged_file(path) as temporary:
            temporary.write_text(buffer.getvalue(), encoding="utf-8", newline="\n")


def set_title(figure: Figure, what: str, result: StoredResult, note: str = "") -> None:
    """What is drawn of which result, and below it what has to be said beside."""
    named = f"{what}: {subject(shortened(result.network), shortened(result.architecture), result.summary['batch'], result.fidelity)}"
    size = 7 if is_narrow() else 10
    letters = max(int(figure.get_size_inches()[0] * 122 / size), 20)
    lines = [fill(line, letters) for line in (named, note) if line]
    figure.suptitle(plain("\n".join(lines)), x=0.01, ha="left", fontsize=size)


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str] | None = None) -> None:
    """One legend under all panels, in as many columns as there is room for."""
    texts = [handle.get_label() for handle in handles] if labels is None else list(labels)
    letters = figure.get_size_inches()[0] * (21 if is_narrow() else 16)
    columns = max(1, min(len(texts), int(letters / (max(map(len, texts), default=1) + 5))))
    figure.legend(handles, [plain(text) for text in texts], loc="outside lower center", ncols=columns, frameon=False)


def legend_beside(axes: Axes, handles: Sequence[Any] | None = None) -> None:
    """A legend of its own on the right of a panel, the kinds on top of a stack first; below it in a column of a paper."""
    entries = axes.get_legend_handles_labels()[0] if handles is None else list(handles)
    if is_narrow():
        place = axes.get_subplotspec()
        below = 5 if place is None or place.is_last_row() else 1  # in letters: under the axis of time, which the last panel has
        axes.legend(handles=entries, loc="upper left", bbox_to_anchor=(0, 0), borderaxespad=below, ncols=3, frameon=False, fontsize=5)
    else:
        axes.legend(handles=entries[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=7)


def panels(
    result: StoredResult,
    rows: Sequence[Row],
    title: str,
    unit: str,
    draw: Callable[[Axes, Sequence[int], Sequence[Row], str], None],
    note: str = "",
) -> Figure:
    """One panel a phase side by side, one line a layer, first layer on top; ``draw(axes, lines, rows, phase)`` fills a panel with bars.

    A layer of which a phase has no row is marked there: it is not a bar of length 0.
    """
    layers = _forward_layers(result, rows)
    phases = [phase for phase in PHASE_NAMES if any(row["phase"] == phase for row in rows)]
    size = size_of(1.8 + PANEL_INCHES * max(len(phases), 2), 1.5 + ROW_INCHES * max(len(layers), 5), grows=True)
    figure, grid = sheet(1, len(phases), sharex=True, sharey=True, squeeze=False, figsize=size)
    for axes, phase in zip(grid[0], phases, strict=True):
        own = [row for row in rows if row["phase"] == phase]
        places = [layers.index(row.layer) for row in own]
        draw(axes, places, own, phase)
        for missing in sorted(set(range(len(layers))) - set(places)):
            axes.annotate("none", (0.02, missing), xycoords=("axes fraction", "data"), va="center", fontsize=5, color=QUIET_COLOUR)
        axes.set_title(phase if is_narrow() else f"{phase}: {PHASE_NAMES[phase]}", loc="left")
        axes.tick_params(axis="y", length=0)
        axes.grid(True, axis="x", alpha=0.3)
        axes.set_axisbelow(True)
        if is_narrow():
            axes.xaxis.set_major_locator(MaxNLocator(2))
        else:
            axes.set_xlabel(unit)
    if is_narrow():
        grid[0, len(phases) // 2].set_xlabel(unit)
    grid[0, 0].set_yticks(range(len(layers)), [plain_name(layer) for layer in layers], fontsize=5 if is_narrow() else 8)
    grid[0, 0].set_ylim(len(layers) - 0.4, -0.6)
    set_title(figure, title, result, note)
    by_label = {label: handle for axes in grid[0] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if by_label:
        legend_below(figure, list(by_label.values()), list(by_label))
    return figure


def _forward_layers(result: StoredResult, rows: Sequence[Row]) -> list[str]:
    """The layers of ``rows`` in the order of the forward pass; where one has no row in it (a ReLU that runs in the backward pass only), the
    network says where it belongs, if the folder has it."""
    by_name = by_layer(rows)
    if all(own[0].phase == PHASES[0] for own in by_name.values()) or not (result.folder / RUN).exists():
        return list(by_name)
    return forward_order(by_name, inputs_of(result.folder).network)


def row_name(row: Row) -> str:
    """Layer and phase."""
    return plain(f"{shortened(row.layer, 28)} {row.phase}")


def known_rows(result: StoredResult, rows: Sequence[Row], columns: Sequence[str], what: str) -> tuple[list[Row], str]:
    """The ``rows`` whose ``columns`` are all known, and a note if there are others. Raises InputError if there is none."""
    known = [row for row in rows if None not in [row[column] for column in columns]]
    if not known:
        raise nothing_to_draw(result, f"the {what} of this result are not known")
    return known, f"{what} of {len(rows) - len(known)} rows unknown" if len(known) < len(rows) else ""


OF_SERIES = ("stalls_over_time", "peaks", "power", "occupancy", "residency", "noc_classes", "noc_over_time")
"""Pictures that need a series; `bandwidth` draws one if there is one."""
OF_FOLDERS = ("rooflines", "energy", "peaks")
"""Pictures that need the run.yaml beside a result too."""

OF_ESTIMATES = ("bandwidth", "bandwidth_layers", "bandwidth_phases", "roofline", "energy")
"""Pictures whose figures an estimate has."""


def nothing_to_draw(result: StoredResult, reason: str) -> InputError:
    """What the picture lacks; of an estimate, also what to do instead."""
    if result.is_estimate:
        drawn = " and ".join(f"`etasim plot DIR {name}`" for name in OF_ESTIMATES)
        reason += f"; an estimate counts no stalls and simulates no network: run with --fidelity cycle, or draw {drawn}"
    return InputError([Problem(str(result.folder / RESULTS), 1, "", f"nothing to draw: {reason}")])
