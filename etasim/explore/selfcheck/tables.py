"""What the studies found, as tables of text and on the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from etasim.explore.answer_tables import UNKNOWN, fitted, number, table
from etasim.explore.selfcheck.estimating import HIGH_PERCENTILE

Cells = list[list[str]]
"""The first line is the heading."""

SIGNED, PERCENT, RATIO = "{:+.2f}", "{:.2f}", "{:.4f}"
Found = Mapping[str, Any]


def change_cells(found: Found) -> Cells:
    """A line for each change, the last for all. *No before*: the machine itself cannot run."""
    cells = [["more", "cases", "slower", "worst %", "median %", "infeasible", "no before"]]
    for line in (*found["changes"], found["total"]):
        percents = [number(line[f"{name}_percent"], SIGNED) for name in ("worst", "median")]
        counts = [number(line[name]) for name in ("infeasible", "unjudged")]
        cells.append([line["change"], number(line["cases"]), number(line["slower"]), *percents, *counts])
    return cells


def batch_cells(found: Found) -> Cells:
    """Cycles an image by network, fidelity and batch."""
    cells = [["network", "fidelity", "batch", "cycles an image", "change %"]]
    for line in found["batches"]:
        figures = [number(line["cycles_an_image"], "{:,.0f}"), number(line["change_percent"], SIGNED)]
        about = [line["network"], line["fidelity"], number(line["batch"])]
        cells.append([*about, *(figures if line["status"] == "ok" else [line["status"], UNKNOWN])])
    return cells


def bar_cells(found: Found) -> Cells:
    """What was found beside what must be."""
    cells = [["bar", "found", "must be", ""]]
    for each in found["bars"]:
        limit = f"{'>=' if each['is_least'] else '<='} {each['limit']:g}"
        cells.append([each["bar"], number(each["found"]), limit, "met" if each["met"] else "missed"])
    return cells


def network_cells(found: Found) -> Cells:
    """How well the estimate does on each network: rank correlation, how far its best machine is behind, percentiles of the error."""
    cells = [["network", "machines", "infeasible", "Spearman", "best behind %", "median %", f"{HIGH_PERCENTILE}th %"]]
    for line in found["networks"]:
        counts = [number(line[name]) for name in ("machines", "infeasible")]
        errors = [number(line[f"{name}_percent"], PERCENT) for name in ("best", "median_error", "high_error")]
        cells.append([line["network"], *counts, number(line["rank_correlation"], RATIO), *errors])
    return cells


def drawn(title: str, cells: Cells) -> Table:
    """``cells`` on the terminal; only the first column is text."""
    made = table(title, cells[0][:1], cells[0][1:])
    for line in cells[1:]:
        made.add_row(*map(Text, line))
    return made


def monotone_tables(found: Found) -> RenderableType:
    """What `monotone` found, without the worst cases."""
    return fitted(drawn("More hardware: change of the cycles (cycle model)", change_cells(found)), *_closing(found))


def batch_tables(found: Found) -> RenderableType:
    """What `monotone --batches` found."""
    return fitted(drawn("Cycles an image as the batch grows", batch_cells(found)), *_closing(found))


def estimate_tables(found: Found) -> RenderableType:
    """What `estimate` found, without the worst estimates."""
    return fitted(drawn("The estimate beside the cycle model", network_cells(found)), *_closing(found))


def doubt_tables(found: Found) -> RenderableType:
    """What `doubts` found, without the worst estimates."""
    cells = [["machines", "n", "median %", "95th %", "worst %"]]
    for line in found["groups"]:
        cells.append([line["group"], number(line["machines"]), *(number(line[f"p{p}_percent"], PERCENT) for p in (50, 95, 100))])
    return fitted(drawn("Error of the estimated cycles, by whether it is flagged", cells), *_closing(found))


def worst_doubts(found: Found) -> list[str]:
    """The worst estimates, each with the command that simulates the machine and what the estimate says against itself."""
    lines = []
    for each in found["worst"]:
        lines += [f"{each['error_percent']:+.2f} %: {each['command']}", *(f"  {doubt}" for doubt in each["doubts"] or ["not flagged"])]
    return lines


def nest_cells(found: Found) -> Cells:
    """How far the chosen plan of each operation, and the best of the tuned, are behind the best; nests that fit, those that were tried, and
    different programs among these; the place of the best in the order of the closed form."""
    cells = [["operation", "phase", "nests", "tried", "programs", "own cycles", "chosen %", "tuned %", "best is"]]
    for line in found["operations"]:
        counts = [number(line[name], "{:,}") for name in ("nests", "tried", "programs", "own_cycles")]
        percents = [number(line[f"{name}_percent"], SIGNED) for name in ("chosen", "tuned")]
        cells.append([line["layer"], line["phase"], *counts, *percents, number(line["best_rank"])])
    return cells


def nest_tables(found: Found) -> RenderableType:
    """What `nests` found, without the pins."""
    return fitted(drawn("Cycles behind the best nest (cycle model)", nest_cells(found)), drawn("Bars", bar_cells(found)))


def worst_nests(found: Found, limit_percent: float) -> list[str]:
    """Operations whose chosen plan is more than ``limit_percent`` behind, the worst first, each with both plans as YAML pins them."""
    lines = []
    for each in sorted(found["operations"], key=lambda each: -each["chosen_percent"]):
        if each["chosen_percent"] > limit_percent:
            about = f"{each['architecture']} DIR/{each['layer']}.yaml --batch {each['batch']}"
            lines.append(f"{each['chosen_percent']:+.2f} %: conv.{each['phase']} of {about}; the best has {each['pins']['best']}")
            lines.append(f"  chosen was {({k: v for k, v in each['pins']['chosen'].items() if v != each['pins']['best'][k]})}")
    return lines


def _closing(found: Found) -> Sequence[RenderableType]:
    failed = [Text(f"failed: {each['label']}, {each['network']}, batch {each['batch']}: {each['reason']}") for each in found["failures"]]
    return [Group(*failed), drawn("Bars", bar_cells(found))]


def worst_changes(found: Found) -> list[str]:
    """The worst cases, each with the command that simulates the machine with more hardware."""
    lines = []
    for each in found["worst"]:
        cycles = f"{each['before_cycles']:,} -> {each['after_cycles']:,} cycles"
        lines.append(f"{each['change_percent']:+.2f} %: {each['change']} from {each['old']} to {each['new']}, {cycles}")
        lines.append(f"  {each['command']}")
    return lines


def worst_estimates(network: Found) -> list[str]:
    """The worst estimates of a network, each with the command that simulates the machine."""
    return [f"{each['error_percent']:+.2f} %: {each['command']}" for each in network["worst"]]
