"""Tables whose headings sort."""

from collections.abc import Sequence
from typing import Any

from etasim.report.page.markup import Markup, element, region

UNKNOWN = "-"


def sortable(name: str, caption: str, headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> Markup:
    """A table called ``name``: numbers whole and to the right, what is not known as a dash."""
    heads = (element("th", element("button", heading, type="button"), scope="col", aria_sort="none") for heading in headings)
    body = (element("tr", (_cell(value, i == 0) for i, value in enumerate(row))) for row in rows)
    parts = element("caption", caption), element("thead", element("tr", heads)), element("tbody", body)
    return region(element("table", *parts, class_="sortable", id=name), caption, "tall")


def _cell(value: Any, heads: bool) -> Markup:
    name, scope = ("th", "row") if heads else ("td", None)
    if value is None:
        return element(name, UNKNOWN, scope=scope, data_value="")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        text = f"{value:,}" if isinstance(value, int) else f"{value:,.5g}"
        return element(name, text, scope=scope, class_="number", data_value=value)
    return element(name, str(value), scope=scope, dir="auto", data_value=value)
