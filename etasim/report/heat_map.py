"""The network as a heat map: every link in the colour of its utilization, endpoints by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from etasim.report.drawing import is_narrow
from etasim.report.naming import plain_name

COLOURS = "YlOrRd"
LINK_COLOUR_FROM = 0.12
"""Idle links start here on the colour map, so that they can be seen on white."""
BOX_WIDTH, BOX_HEIGHT = 0.56, 0.44
LANE = 0.09
"""How far a link lies beside the line between its routers, so that both directions can be seen."""


def heat(largest: float) -> ScalarMappable:
    """Colours for utilizations of 0 to ``largest``."""
    return ScalarMappable(Normalize(-LINK_COLOUR_FROM * largest, largest or 1), COLOURS)


def _rgba(colours: Any, utilization: float) -> tuple[float, float, float, float]:
    """Of one number, which the types of matplotlib do not know."""
    red, green, blue, alpha = colours.to_rgba(utilization)
    return red, green, blue, alpha


def draw_network(axes: Axes, routers: Mapping[int, Mapping[str, Any]], links: Sequence[Mapping[str, Any]], colours: ScalarMappable) -> None:
    """``routers`` by number where they are said to be, links between them as arrows, endpoints as lines in the box of their router.

    ``links`` have ``router``, ``to`` and ``utilization``; the utilization of an endpoint is that of the port that leads to it.
    """
    places = {number: (router["x"], router["y"]) for number, router in routers.items()}
    numbers = {f"router {number}": number for number in routers}
    endpoints: dict[int, list[Mapping[str, Any]]] = {}
    for link in links:
        if link["to"] in numbers:
            _draw_link(axes, places[link["router"]], places[numbers[link["to"]]], link["utilization"], colours)
        else:
            endpoints.setdefault(link["router"], []).append(link)
    for router, (x, y) in places.items():
        _draw_router(axes, x, y, router, endpoints.get(router, []), colours)
    columns, rows = zip(*places.values(), strict=True)
    axes.set(xlim=(min(columns) - 0.5, max(columns) + 0.5), ylim=(min(rows) - 0.5, max(rows) + 0.5), aspect="equal")
    axes.set_axis_off()


def _draw_link(axes: Axes, start: tuple[float, float], end: tuple[float, float], utilization: float, colours: ScalarMappable) -> None:
    """One direction of a link, on the left of the line from ``start`` to ``end``; links of more than one step are bent."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = (dx * dx + dy * dy) ** 0.5 or 1
    aside_x, aside_y = -dy / length * LANE, dx / length * LANE
    style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 11, "linewidth": 3, "shrinkA": 0, "shrinkB": 0, "zorder": 1}
    bend = "arc3,rad=-0.25" if max(abs(dx), abs(dy)) > 1 else "arc3"
    gap_x, gap_y = dx / length * BOX_WIDTH / 2, dy / length * BOX_HEIGHT / 2
    ends = (start[0] + aside_x + gap_x, start[1] + aside_y + gap_y), (end[0] + aside_x - gap_x, end[1] + aside_y - gap_y)
    axes.add_patch(FancyArrowPatch(*ends, color=_rgba(colours, utilization), connectionstyle=bend, **style))
    if not utilization:
        return
    middle = [(a + b) / 2 for a, b in zip(*ends, strict=True)]
    beside = middle[0] + aside_x * 0.9, middle[1] + aside_y * 0.9
    axes.annotate(f"{utilization:.0%}", beside, ha="center", va="center", fontsize=3 if is_narrow() else 6, zorder=3)


def _draw_router(axes: Axes, x: float, y: float, router: int, endpoints: Sequence[Mapping[str, Any]], colours: ScalarMappable) -> None:
    """A box in the colour of the busiest port to an endpoint, with the names of its endpoints."""
    busiest = max((link["utilization"] for link in endpoints), default=0)
    box = FancyBboxPatch(
        (x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2), BOX_WIDTH, BOX_HEIGHT, "round,pad=0,rounding_size=0.06",
        facecolor=_rgba(colours, busiest), edgecolor="#444444", linewidth=0.8, zorder=2,
    )  # fmt: skip
    axes.add_patch(box)
    red, green, blue, _ = _rgba(colours, busiest)
    ink = "#000000" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "#FFFFFF"
    lines = [
        plain_name(link["to"]).replace(" buffer", "\nbuffer") + (f"\ntakes {link['utilization']:.0%}" if link["utilization"] else "")
        for link in endpoints
    ]
    size = 3 if is_narrow() else 6.5
    axes.annotate("\n".join(lines) or f"router {router}", (x, y), ha="center", va="center", fontsize=size, color=ink, zorder=4)
