"""One page with the tables of the reproduction and its pictures; it needs no network."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from etasim.explore.document import UNKNOWN, Rows, number, sections
from etasim.explore.reproduce import Reproduction
from etasim.report.naming import fidelity_names, plain
from etasim.report.plots import STYLE
from etasim.report.published import ARCHITECTURE, CAVEATS
from etasim.report.staging import staged_file

CSS = """body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}table{border-collapse:collapse;margin:1em 0}
td,th{border:1px solid #ccc;padding:.25em .6em;text-align:right}td:first-child,th:first-child,.about td{text-align:left}
th{background:#f3f3f3}img{max-width:100%}.missed{color:#b00020;font-weight:bold}"""
HALF, DOUBLE = "#0072B2", "#D55E00"


def figures(result: Reproduction) -> Figure:
    """Published and simulated throughputs side by side; one that is not simulated has no bar."""
    own = [row for row in result.rows if row["status"] == "published" and row["figure"].endswith("[GOPS]")]
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(7, 3.2), layout="constrained")
        for shift, name, colour in ((-0.2, "published", "#999999"), (0.2, "simulated", HALF)):
            known = [(i + shift, row[name]) for i, row in enumerate(own) if row[name] is not None]
            bars = axes.bar([place for place, _ in known], [value for _, value in known], 0.38, label=name, color=colour)
            axes.bar_label(bars, fmt="%.0f", fontsize=8)
        _say_unknown(axes, [(i + 0.2, 0.0) for i, row in enumerate(own) if row["simulated"] is None])
        axes.set_xticks(range(len(own)), [plain(f"{row['network']}, batch {number(row['batch'], '{}')}") for row in own], fontsize=8)
        axes.set(ylabel="GOPS")
        axes.set_title(plain(f"Published and simulated throughputs: {result.about.get('machine', ARCHITECTURE)}"), loc="left")
        axes.margins(y=0.15)
        axes.legend(frameon=False, loc="upper left", ncols=2)
    return figure


def _say_unknown(axes: Axes, places: Sequence[tuple[float, float]]) -> None:
    """A dash where a bar is not known."""
    for place in places:
        axes.annotate(UNKNOWN, place, (0, 2), textcoords="offset points", ha="center")


def _title(what: str, variations: Rows) -> str:
    """Title of a picture of ``variations``: machine, fidelity, batch."""
    fidelities = fidelity_names(row["fidelity"] for row in variations)
    return plain(f"{what}: {variations[0].get('architecture', ARCHITECTURE)}, its batch unless varied, {fidelities}")


def tornado(variations: Rows) -> Figure:
    """Change of each throughput when an assumption is halved or doubled, largest first; one that is not known has no bar."""
    networks = list(dict.fromkeys(row["network"] for row in variations))
    own = [row for row in variations if row["group"].startswith("sensitivity")]
    change = {(row["group"], row["name"], row["network"]): row["change_percent"] for row in own}
    names = list(dict.fromkeys(name for _, name, _ in change))
    names.sort(key=lambda name: max(abs(value or 0) for (_, key, _), value in change.items() if key == name))
    with pyplot.rc_context(STYLE):
        size = (11, 0.3 * len(names) + 1.4)
        figure, panels = pyplot.subplots(1, len(networks), figsize=size, sharey=True, layout="constrained", squeeze=False)
        for axes, network in zip(panels[0], networks, strict=True):
            axes.set_yticks(range(len(names)), names)
            for group, colour, shift in (("sensitivity half", HALF, -0.2), ("sensitivity double", DOUBLE, 0.2)):
                values = [(i + shift, change.get((group, name, network))) for i, name in enumerate(names)]
                known = [(place, value) for place, value in values if value is not None]
                axes.barh([place for place, _ in known], [value for _, value in known], 0.38, color=colour, label=group.split()[-1])
                _say_unknown(axes, [(0.0, place - 0.25) for place, value in values if value is None])
            axes.axvline(0, color="#222222", linewidth=0.8)
            axes.set(title=plain(network), xlabel="change of GOPS [%]")
        panels[0][0].legend(frameon=False, loc="lower right")
        figure.suptitle(_title("Assumptions halved and doubled (a dash: no such machine)", variations), x=0.01, ha="left", fontsize=10)
    return figure


def ladder(variations: Rows) -> Figure:
    """Time that each ideal part saves, by network; one that is not known has no bar."""
    base: dict[str, Any] = {row["network"]: row.get("total_cycles") for row in variations if row["group"] == "base"}
    own = [row for row in variations if row["group"] == "ladder"]
    names = list(dict.fromkeys(row["name"] for row in own))
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(8, 3.2), layout="constrained")
        width = 0.8 / len(base)
        for i, (network, cycles) in enumerate(base.items()):
            ideal: dict[str, Any] = {row["name"]: row.get("total_cycles") for row in own if row["network"] == network}
            places = {name: n + (i - (len(base) - 1) / 2) * width for n, name in enumerate(names)}
            known = [name for name in names if ideal.get(name) and cycles]
            saved = [100 * (1 - ideal[name] / cycles) for name in known]
            axes.bar([places[name] for name in known], saved, width, label=plain(network))
            _say_unknown(axes, [(places[name], 0.0) for name in names if name not in known])
        axes.set_xticks(range(len(names)), names)
        axes.set(ylabel="time saved if ideal [%]")
        axes.set_title(_title("Bottleneck ladder", variations), loc="left")
        axes.legend(frameon=False)
    return figure


def write_page(path: Path, result: Reproduction, variations: Rows, found: Mapping[str, Any] | None) -> None:
    """Write the page."""
    pictures = {"Published": [figures(result)]}
    if variations:
        pictures |= {"Sensitivity: halved": [tornado(variations)], "Bottleneck ladder": [ladder(variations)]}
    about = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in result.about.items())
    body = [f"<h1>Reproduction</h1><table class='about'>{about}</table>", _list(CAVEATS)]
    for heading, text, table in sections(result, variations, found):
        body += [f"<h2>{escape(heading)}</h2><p>{escape(text)}</p>", *map(_image, pictures.get(heading, [])), _table(table)]
    assumptions = dict.fromkeys(f"{row['assumption']}." for row in result.rows)
    body.append(f"<h2>Assumptions</h2>{_list(assumptions)}")
    head = f"<meta charset='utf-8'><title>etasim reproduction</title><style>{CSS}</style>"
    page = f"<!DOCTYPE html><html lang='en'>{head}{''.join(body)}</html>\n"
    with staged_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


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
