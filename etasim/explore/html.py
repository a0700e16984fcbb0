"""One page with the tables of the reproduction and its pictures; it needs no network."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.figure import Figure

from etasim.explore.document import NOT_KNOWN, Rows, sections
from etasim.explore.reproduce import Reproduction
from etasim.report.plots import STYLE
from etasim.report.staging import staged_file

CSS = """body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}table{border-collapse:collapse;margin:1em 0}
td,th{border:1px solid #ccc;padding:.25em .6em;text-align:right}td:first-child,th:first-child{text-align:left}th{background:#f3f3f3}
img{max-width:100%}.missed{color:#b00020;font-weight:bold}"""
HALF, DOUBLE = "#0072B2", "#D55E00"


def figures(rows: Rows) -> Figure:
    """Published and simulated throughputs side by side."""
    own = [row for row in rows if "throughput [GOPS]" in row["figure"]]
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(7, 3), layout="constrained")
        for shift, name, colour in ((-0.2, "published", "#999999"), (0.2, "simulated", HALF)):
            bars = axes.bar([i + shift for i in range(len(own))], [row[name] or 0 for row in own], 0.38, label=name, color=colour)
            axes.bar_label(bars, fmt="%.0f", fontsize=8)
        axes.set_xticks(range(len(own)), [row["network"] for row in own])
        axes.set(ylabel="GOPS")
        axes.margins(y=0.15)
        axes.legend(frameon=False, loc="upper left", ncols=2)
    return figure


def tornado(variations: Rows) -> Figure:
    """Change of each throughput when an assumption is halved or doubled, largest first."""
    networks = list(dict.fromkeys(row["network"] for row in variations))
    own = [row for row in variations if row["group"].startswith("sensitivity")]
    change = {(row["group"], row["name"], row["network"]): row["change_percent"] or 0.0 for row in own}
    names = list(dict.fromkeys(name for _, name, _ in change))
    names.sort(key=lambda name: max(abs(value) for (_, key, _), value in change.items() if key == name))
    with pyplot.rc_context(STYLE):
        size = (11, 0.3 * len(names) + 1.2)
        figure, panels = pyplot.subplots(1, len(networks), figsize=size, sharey=True, layout="constrained", squeeze=False)
        for axes, network in zip(panels[0], networks, strict=True):
            for group, colour in (("sensitivity half", HALF), ("sensitivity double", DOUBLE)):
                values = [change.get((group, name, network), 0.0) for name in names]
                axes.barh(names, values, color=colour, alpha=0.75, label=group.split()[-1])
            axes.axvline(0, color="#222222", linewidth=0.8)
            axes.set(title=network, xlabel="change of GOPS [%]")
        panels[0][0].legend(frameon=False, loc="lower right")
    return figure


def ladder(variations: Rows) -> Figure:
    """Time that each ideal part saves, by network."""
    base = {row["network"]: row["total_cycles"] for row in variations if row["group"] == "base"}
    own = [row for row in variations if row["group"] == "ladder" and row.get("total_cycles")]
    names = list(dict.fromkeys(row["name"] for row in own))
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(8, 3), layout="constrained")
        width = 0.8 / len(base)
        for i, (network, cycles) in enumerate(base.items()):
            saved = {row["name"]: 100 * (1 - row["total_cycles"] / cycles) for row in own if row["network"] == network}
            places = [n + (i - (len(base) - 1) / 2) * width for n in range(len(names))]
            axes.bar(places, [saved.get(name, 0) for name in names], width, label=network)
        axes.set_xticks(range(len(names)), names)
        axes.set(ylabel="time saved if ideal [%]")
        axes.legend(frameon=False)
    return figure


def write_page(path: Path, result: Reproduction, variations: Rows, found: Mapping[str, Any] | None) -> None:
    """Write the page."""
    pictures = {"Published and simulated": [figures(result.rows)]}
    if variations:
        pictures |= {"Sensitivity: halved": [tornado(variations)], "Bottleneck ladder": [ladder(variations)]}
    body = ["<h1>Reproduction</h1><p>A comparison with print: no hardware was at hand.</p>"]
    for heading, text, table in sections(result, variations, found):
        body += [f"<h2>{escape(heading)}</h2><p>{escape(text)}</p>", *map(_image, pictures.get(heading, [])), _table(table)]
    body.append(f"<h2>What is not known</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in NOT_KNOWN)}</ul>")
    head = f"<meta charset='utf-8'><title>etasim reproduction</title><style>{CSS}</style>"
    page = f"<!DOCTYPE html><html lang='en'>{head}{''.join(body)}</html>\n"
    with staged_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def _table(table: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        missed = " class='missed'" if any(cell.startswith("missed") for cell in cells) else ""
        return f"<tr{missed}>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line(table[0], 'th')}{''.join(line(cells, 'td') for cells in table[1:])}</table>"


def _image(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    pyplot.close(figure)
    return f"<img alt='' src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'>"
