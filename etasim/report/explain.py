"""The glossary on the terminal."""

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from etasim.config.errors import InputError, Problem, allowed_names, suggest
from etasim.core.registry import METRICS
from etasim.report.example_run import example
from etasim.report.glossary import picture_of


def explanation(name: str) -> RenderableType:
    """Definition of the metric ``name``; InputError that suggests a close name, or lists all."""
    if name not in METRICS:
        close = suggest(name, METRICS)
        hint = f"did you mean {close!r}? `etasim explain` lists all" if close else allowed_names(name, METRICS)
        raise InputError([Problem("explain", 1, name, f"unknown metric; {hint}")])
    metric = METRICS[name]
    table = Table(title=metric.name, title_justify="left", show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("unit", metric.unit or "text")
    table.add_row("formula", metric.formula)
    table.add_row("meaning", metric.meaning)
    table.add_row("written to", ", ".join(metric.files))
    if metric.better:
        table.add_row("better", metric.better)
    if picture := picture_of(name):
        table.add_row("picture", f"etasim plot DIR {picture}")
    if worked := example(name, metric.formula):
        table.add_row("example", Text(worked))
    return table


def index() -> RenderableType:
    """Name, unit and file of every metric."""
    table = Table(box=None)
    for heading in ("metric", "unit", "written to"):
        table.add_column(heading)
    for _, metric in METRICS.items():
        table.add_row(metric.name, metric.unit, ", ".join(metric.files))
    return table
