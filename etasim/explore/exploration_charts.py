"""Charts of an exploration's page that need more than a row a design: parallel coordinates, and the best by two axes."""

from typing import Any

from etasim.config import InputError
from etasim.explore.database import Evaluations
from etasim.explore.pictures import Shown, cells_of, lines_of, step_text
from etasim.report.page.document import Chart
from etasim.report.page.run_charts import frame, params, tip

MOST_LINES = 300
"""Designs that the parallel coordinates of a page show: the best."""
LINES, CELLS = "lines", "cells"
"""Datasets of the page."""

Rows = list[dict[str, Any]]


def drawn_charts(evaluations: Evaluations) -> tuple[list[Chart], dict[str, Rows]]:
    """The charts that there is something for, and their datasets."""
    charts, datasets = [], {}
    for name, draw in ((LINES, _parallel), (CELLS, _sensitivity)):
        try:
            chart, datasets[name] = draw(evaluations)
        except InputError:  # no feasible design, or fewer than two axes
            continue
        charts.append(chart)
    return charts, datasets


def _parallel(evaluations: Evaluations) -> tuple[Chart, Rows]:
    space, found = evaluations.space, lines_of(evaluations, MOST_LINES)
    rows = []
    for design, heights in zip(found.designs, found.heights.tolist(), strict=True):
        steps = space.steps(design.number)
        shown = [step_text(space, i, steps[i]) for i in found.axes] + [f"{value:.6g}" for value in design.known]
        rows += [
            {"point": design.number, "column": column, "name": name, "height": height, "value": text, "best": design.known[0]}
            for column, (name, height, text) in enumerate(zip(found.names, heights, shown, strict=True))
        ]
    objective = space.objectives[0].metric
    x = {"field": "name", "type": "nominal", "sort": {"field": "column"}, "title": None, "axis": {"labelAngle": -25, "grid": True}}
    y = {"field": "height", "type": "quantitative", "title": "lowest to highest", "axis": {"labels": False, "ticks": False, "grid": False}}
    colour = {"field": "best", "type": "quantitative", "scale": {"scheme": "viridis"}, "legend": {"title": objective, "orient": "top"}}
    line = {"mark": {"type": "line", "opacity": 0.6, "strokeWidth": 1.2},
            "encoding": {"x": x, "y": y, "detail": {"field": "point"}, "color": colour}}  # fmt: skip
    dots = {"mark": {"type": "point", "filled": True, "size": 30},
            "encoding": {"x": x, "y": y, "color": colour, "tooltip": tip("point", "name", "value")}}  # fmt: skip
    spec = frame({"data": {"name": LINES}, "layer": [line, dots], "params": params(0, 1)}, 360)
    alt = f"Each design as a line through its settings and objectives, from the lowest to the highest; coloured by {objective}."
    return Chart("parallel", f"The {len(found.designs):,} best designs in parallel coordinates", alt, spec), rows


def _sensitivity(evaluations: Evaluations) -> tuple[Chart, Rows]:
    space, found = evaluations.space, cells_of(evaluations, Shown())
    objective, names = space.objectives[0].metric, [space.axes[i].name for i in (found.x, found.y)]
    rows = [
        {"x": step_text(space, found.x, x), "y": step_text(space, found.y, y), "x_step": x, "y_step": y, "best": value}
        for (x, y), value in sorted(found.best.items())
    ]
    middle = (min(found.best.values()) + max(found.best.values())) / 2
    x = {"field": "x", "type": "ordinal", "sort": {"field": "x_step"}, "title": names[0], "axis": {"labelAngle": 0, "labelOverlap": True}}
    y = {"field": "y", "type": "ordinal", "sort": {"field": "y_step", "order": "descending"}, "title": names[1]}
    shown = [{"field": "x", "title": names[0]}, {"field": "y", "title": names[1]}, {"field": "best", "title": objective, "format": ",.6~g"}]
    colour = {"field": "best", "type": "quantitative", "scale": {"scheme": "viridis"}, "legend": {"title": objective, "orient": "top"}}
    ink = {"condition": {"test": f"datum.best > {middle!r}", "value": "#000000"}, "value": "#FFFFFF"}
    layers = [
        {"mark": {"type": "rect"}, "encoding": {"x": x, "y": y, "color": colour, "tooltip": shown}},
        {"mark": {"type": "text", "fontSize": 10, "aria": False},
         "encoding": {"x": x, "y": y, "text": {"field": "best", "format": ".4~g"}, "color": ink, "tooltip": shown}},
    ]  # fmt: skip
    spec = frame({"data": {"name": CELLS}, "layer": layers, "params": params(0, 1)}, 280)
    alt = f"The best {objective} for each pair of steps of {names[0]} and {names[1]}, whatever the others; the two axes that matter most."
    return Chart("sensitivity", f"Best {objective} by {names[0]} and {names[1]}", alt, spec), rows
