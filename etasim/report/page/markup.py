"""HTML and SVG as text in which whatever comes from outside is escaped, because nothing else can be written."""

from collections.abc import Iterable
from html import escape
from typing import Any

VOID = {"meta", "input", "br", "hr"}
"""Elements without an end."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | None | Iterable[Any]


def element(name: str, /, *children: Child, **attributes: object) -> Markup:
    """``<name attributes>children</name>``: children and values are escaped unless they are `Markup`; None is left out.

    ``class_`` is the attribute class, ``data_x`` data-x; True stands for an attribute without a value, None and False for none.
    """
    given = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None and value is not False)
    return Markup(f"<{name}{given}>" if name in VOID else f"<{name}{given}>{join(children)}</{name}>")


def join(children: Iterable[Any]) -> Markup:
    """All ``children``, one after the other; those that are not `Markup` escaped."""
    return Markup("".join(_text(child) for child in children))


def _text(child: Any) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    return escape(child) if isinstance(child, str) else join(child)


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'


def table(heading: Iterable[Child], rows: Iterable[Iterable[Child]], caption: str, class_: str | None = None) -> Markup:
    """A table in a box that scrolls by itself where the screen is narrow; the first cell of a row heads it."""
    head = element("thead", element("tr", (element("th", each, scope="col") for each in heading)))
    lines = (
        element("tr", (element("td" if i else "th", cell, scope=None if i else "row", dir="auto") for i, cell in enumerate(row)))
        for row in rows
    )
    made = element("table", element("caption", caption), head, element("tbody", lines), class_=class_)
    return region(made, caption)


def region(content: Markup, label: str, kind: str = "") -> Markup:
    """A box around ``content`` that scrolls by itself, by the keyboard too. ``kind``: a class more."""
    return element("div", content, class_=f"scroll {kind}".strip(), tabindex="0", role="region", aria_label=label)
