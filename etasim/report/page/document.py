"""A page from its parts: sections of texts, tables and charts, the data that charts and layers read, and what can be downloaded."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import etasim
from etasim.core.registry import METRICS
from etasim.report.page import assets
from etasim.report.page.markup import Markup, element, join
from etasim.report.staging import write_text
from etasim.report.tables import PHASE_NAMES


class Toggle(NamedTuple):
    """A class of a chart that can be taken out: the ``value`` of its field, its name, its colour. ``is_out``: until a reader puts it in."""

    value: str
    label: str
    colour: str | None
    is_out: bool = False


class Chart(NamedTuple):
    """A chart: a Vega-Lite ``spec`` whose data names datasets of the page. ``alt`` says in words what it shows; ``axis`` is what its
    horizontal axis shares with others, "time" or "layer"; ``toggles`` are groups of classes, by heading."""

    name: str
    title: str
    alt: str
    spec: dict[str, Any]
    axis: str | None = None
    toggles: Mapping[str, Sequence[Toggle]] = {}


class PageSection(NamedTuple):
    """A part of a page with its own heading."""

    name: str
    heading: str
    parts: Sequence[Markup | Chart]


class Page(NamedTuple):
    """``lead``: what stands under the title. ``datasets``: lists of rows by name. ``downloads``: texts by file name. ``terms``: metrics of
    the glossary that are explained. ``more``: what the script reads besides."""

    title: str
    lead: Markup
    sections: Sequence[PageSection]
    datasets: Mapping[str, Sequence[Mapping[str, Any]]]
    downloads: Mapping[str, str]
    terms: Sequence[str]
    more: Mapping[str, Any] = {}


CONFIG: dict[str, Any] = {
    "background": None,
    "view": {"stroke": None},
    "font": "system-ui, sans-serif",
    "axis": {
        "labelColor": "currentColor", "titleColor": "currentColor", "domainColor": "currentColor", "tickColor": "currentColor",
        "gridColor": "currentColor", "gridOpacity": 0.12, "domainOpacity": 0.4, "tickOpacity": 0.4, "titleFontWeight": "normal",
        "labelLimit": 110,
    },
    "header": {"labelColor": "currentColor", "titleColor": "currentColor", "labelLimit": 300},
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor"},
    "text": {"color": "currentColor"},
}  # fmt: skip
"""Colours follow those of the page, so that a chart needs not be drawn again for light, dark and print."""


ZOOM = {
    "in": ("+", "zoom in"), "out": ("\u2212", "zoom out"), "left": ("\u25c0", "earlier"), "right": ("\u25b6", "later"),
    "all": ("all", "show all"),
}  # fmt: skip
"""Buttons of a chart that has an axis to zoom: what they do, their sign and their name."""


def term(name: str, label: str | None = None) -> Markup:
    """``label`` as a word of the glossary: hovering or focusing it shows its meaning, following it leads there."""
    return element("a", label or name, href=f"#term-{name}", class_="term", data_term=name)


def write_page(page: Page, path: Path) -> None:
    """Write ``page`` to ``path``, whole or not at all."""
    text = html(page)
    write_text(path, text)


def html(page: Page, live: str = "") -> str:
    """The page as text. ``live``: it is served, and loads again when its server's state is another than this one."""
    charts = [part for section in page.sections for part in section.parts if isinstance(part, Chart)]
    scripts = [*([assets.library()] if charts else []), assets.script()]
    downloads = dict(page.downloads)
    data = {
        "charts": {chart.name: {"spec": chart.spec, "axis": chart.axis} for chart in charts},
        "config": CONFIG,
        "datasets": {name: _columns(rows) for name, rows in page.datasets.items()},
        "downloads": downloads,
        "terms": {name: _meaning(name) for name in page.terms},
        "live": live, "columns": [], "phases": PHASE_NAMES, "nests": {},
        **page.more,
    }
    policy = assets.policy(scripts, "'self'" if live else "'none'")
    head = element(
        "head", element("meta", charset="utf-8"), element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=policy), element("title", page.title),
        element("style", Markup(assets.style())),
    )  # fmt: skip
    body = element(
        "body", element("a", "Skip to content", href="#content", class_="skip"), _header(page, live),
        element("main", map(_section, page.sections), _downloads(downloads), _glossary(page.terms), id="content"),
        element("footer", f"Made by etasim {etasim.__version__}. The page holds its data and its charts; it needs no network."),
        element("div", id="tip", role="tooltip", hidden=True),
        element("script", Markup(_json(data)), type="application/json", id="page-data"),
        *(element("script", Markup(script)) for script in scripts),
    )  # fmt: skip
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _json(data: Any) -> str:
    """``data`` as JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows as the names of their columns and lists of values: the names once."""
    names = list(rows[0]) if rows else []
    return {"columns": names, "rows": [[row[name] for name in names] for row in rows]}


def _meaning(name: str) -> dict[str, Any]:
    metric = METRICS[name]
    return {"unit": metric.unit, "formula": metric.formula, "meaning": metric.meaning}


def _header(page: Page, live: str) -> Markup:
    anchors = [(section.name, section.heading) for section in page.sections]
    anchors += [(name, name.capitalize()) for name, content in (("downloads", page.downloads), ("glossary", page.terms)) if content]
    links = (element("li", element("a", heading, href=f"#{name}")) for name, heading in anchors)
    theme = element("button", "Light or dark", type="button", id="theme")
    follow = element("label", element("input", type="checkbox", id="follow", checked=True), " follow") if live else None
    nav = element("nav", element("ul", links), follow, theme, aria_label="Page")
    return element("header", element("h1", page.title, dir="auto"), page.lead, nav)


def _section(section: PageSection) -> Markup:
    parts = [_figure(part) if isinstance(part, Chart) else part for part in section.parts]
    return element("section", element("h2", section.heading), parts, id=section.name)


def _figure(chart: Chart) -> Markup:
    groups = [_toggles(chart.name, heading, group) for heading, group in chart.toggles.items()]
    zoom = []
    if chart.axis:
        zoom = [element("button", sign, type="button", data_zoom=name, aria_label=f"{says}: {chart.title}", title=says)
                for name, (sign, says) in ZOOM.items()]  # fmt: skip
    save = element("button", "SVG", type="button", data_save=True, aria_label=f"save as SVG: {chart.title}", title="save the picture")
    tools = element("div", *zoom, save, class_="tools")
    caption = element("figcaption", element("strong", chart.title), element("span", chart.alt))
    plot = element("div", class_="plot", dir="ltr")
    return element("figure", caption, *groups, tools, plot, data_chart=chart.name, data_axis=chart.axis)


def _toggles(chart: str, heading: str, toggles: Sequence[Toggle]) -> Markup:
    labels = (
        element(
            "label", element("input", type="checkbox", checked=not each.is_out, value=each.value),
            element("span", class_="swatch", style=f"background:{each.colour}") if each.colour else None, each.label,
            class_="at-first-out" if each.is_out else None,
        )
        for each in toggles
    )  # fmt: skip
    return element("fieldset", element("legend", heading), *labels, class_="toggles")


def _downloads(downloads: Mapping[str, str]) -> Markup | None:
    if not downloads:
        return None
    buttons = (element("li", element("button", f"{name}", type="button", data_download=name)) for name in downloads)
    text = "The files of the result as they were read."
    return element("section", element("h2", "Downloads"), element("p", text), element("ul", buttons, class_="files"), id="downloads")


def _glossary(terms: Sequence[str]) -> Markup | None:
    if not terms:
        return None
    entries = (
        join((
            element("dt", name, element("span", f" [{METRICS[name].unit}]") if METRICS[name].unit else None, id=f"term-{name}"),
            element("dd", METRICS[name].meaning, " ", element("code", METRICS[name].formula)),
        ))
        for name in dict.fromkeys(terms)
    )  # fmt: skip
    return element("section", element("h2", "Glossary"), element("dl", entries, class_="glossary"), id="glossary")
