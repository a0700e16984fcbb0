"""Labels of points that do not cover each other."""

from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

OFFSETS_POINTS = ((6, 4, "left"), (6, -9, "left"), (-6, 4, "right"), (-6, -9, "right"), (0, 9, "center"), (0, -15, "center"))


def label_points(
    axes: Axes, labels: Iterable[tuple[float, float, str]], fontsize: float = 7, markers: Iterable[tuple[float, float, float]] = ()
) -> None:
    """Write each (x, y, text) beside its point, most important first, over none of the ``markers`` (x, y, radius in points); one that finds
    no free place is left out.

    Axes limits must be final.
    """
    figure: Any = axes.figure
    figure.draw_without_rendering()
    taken = [text.get_window_extent() for text in axes.texts]
    for *place, points in markers:
        (x, y), room = axes.transData.transform(place), points * figure.dpi / 72
        taken.append(Bbox.from_extents(x - room, y - room, x + room, y + room))
    for x, y, text in labels:
        for right, up, side in OFFSETS_POINTS:
            label = axes.annotate(text, (x, y), (right, up), textcoords="offset points", fontsize=fontsize, ha=side)
            label.set_path_effects([withStroke(linewidth=2, foreground="white")])
            box = label.get_window_extent()
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            label.remove()
