"""The page of an exploration: its front, what every axis brings, how the search went, and the designs as a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etasim.core.registry import METRICS
from etasim.explore.answer_tables import aggregate_text, evaluated_text, number, short_names
from etasim.explore.answers import best, best_fidelity, differing, question
from etasim.explore.database import Evaluations
from etasim.explore.exploration_charts import drawn_charts
from etasim.explore.figures import BATCH
from etasim.explore.points import POINTS
from etasim.explore.scores import scores
from etasim.report.naming import FIDELITY_NAMES, told_assumed
from etasim.report.page.document import Chart, Page, PageSection, term
from etasim.report.page.markup import Markup, element, join, table
from etasim.report.page.run_charts import frame, hidden, params, scale, tip, toggles
from etasim.report.page.tables import sortable
from etasim.report.store import read_text

FRONT, OTHER, REFUSED = "on the front", "meets the constraints", "breaks a constraint"
TONES = {FRONT: "#D55E00", OTHER: "#0072B2", REFUSED: "#999999"}
MOST_DESIGNS = 20_000
"""That a chart shows: the first that the search asked for."""
MOST_LISTED = 500

Design = dict[str, Any]


def exploration_page(folder: Path) -> Page:
    """The page of the exploration in ``folder``, also of one that goes on. Raises InputError for a folder without one."""
    with Evaluations(folder) as evaluations:
        fidelity = best_fidelity(evaluations)
        answer = best(evaluations, question(evaluations.space, None, None, fidelity, MOST_LISTED))
        designs = _designs(evaluations, fidelity, {design["point"] for design in answer["designs"]})
        drawn, datasets = drawn_charts(evaluations)
    objectives = [objective["metric"] for objective in answer["objectives"]]
    hover = _hover(answer, designs, objectives)
    known = any(design["o0"] is not None for design in designs)
    charts = _charts(objectives, hover) if known else [element("p", "No design has figures yet.")]
    sections = [
        PageSection("summary", "What it found", [_summary(answer)]),
        PageSection("charts", "Designs", [*charts, *drawn]),
        PageSection("axes", "What each axis brings", _axis_charts(answer, designs, objectives[0], hover)),
        PageSection("front", "The front", [_front(answer)]),
        PageSection("provenance", "Where it comes from", [_provenance(answer, folder)]),
    ]
    lead = element("p", f"{aggregate_text(answer)}; {FIDELITY_NAMES[fidelity]}; {evaluated_text(answer)}", class_="lead", dir="auto")
    downloads = {POINTS: read_text(folder / POINTS)} if (folder / POINTS).exists() else {}
    terms = [name for name in objectives if name in METRICS]
    title, sections = f"Exploration {answer['space']}", [section for section in sections if section.parts]
    return Page(title, lead, sections, {"designs": designs} | datasets, downloads, terms)


def _designs(evaluations: Evaluations, fidelity: str, front: set[int]) -> list[Design]:
    """One row a design: its objectives ``o0`` ..., its settings ``k0`` ..., what it is, and when the search asked for it."""
    asked = {row["point"]: row["asked"] for row in evaluations.rows(("point", "network", "fidelity", "asked"), fidelity=fidelity)}
    first = sorted(scores(evaluations, fidelity), key=lambda score: (asked[score.number], score.number))[:MOST_DESIGNS]
    rows, best_so_far = [], None
    sign = 1 if evaluations.space.objectives[0].direction == "maximize" else -1
    for order, score in enumerate(first):
        design = evaluations.space.design(score.number)
        value = score.values[0] if score.is_feasible else None
        if value is not None and (best_so_far is None or sign * value > sign * best_so_far):
            best_so_far = value
        settings = {**design.settings, BATCH: design.batch}
        rows.append({
            "point": score.number, "label": design.label, "order": order, "best": best_so_far,
            "what": FRONT if score.number in front else OTHER if score.is_feasible else REFUSED,
            **{f"o{i}": value for i, value in enumerate(score.values)},
            **{f"k{i}": _plain(settings.get(key)) for i, key in enumerate((*evaluations.space.keys, BATCH))},
        })  # fmt: skip
    return rows


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, float, str)) else str(value)


def _keys(answer: Mapping[str, Any]) -> list[str]:
    """What ``k0`` ... are."""
    return [*answer["designs"][0]["settings"], BATCH] if answer["designs"] else []


def _varied(answer: Mapping[str, Any], designs: Sequence[Design]) -> dict[int, str]:
    """The keys in which ``designs`` differ, by place."""
    return {i: key for i, key in enumerate(_keys(answer)) if len({design[f"k{i}"] for design in designs}) > 1}


def _hover(answer: Mapping[str, Any], designs: Sequence[Design], objectives: Sequence[str]) -> list[dict[str, Any]]:
    """What hovering over a design shows: its number, its objectives and its settings."""
    names = short_names(_keys(answer))
    shown = [{"field": f"o{i}", "title": name, "format": ",.6~g"} for i, name in enumerate(objectives)]
    varied = ({"field": f"k{i}", "title": names.get(key, key)} for i, key in _varied(answer, designs).items())
    return [*tip("point", "what"), *shown, *varied]


def _charts(objectives: Sequence[str], hover: list[dict[str, Any]]) -> list[Markup | Chart]:
    return [*([_front_chart(objectives, hover)] if len(objectives) > 1 else []), _search_chart(objectives[0], hover)]


def _axis_charts(answer: Mapping[str, Any], designs: Sequence[Design], objective: str, hover: list[dict[str, Any]]) -> list[Markup | Chart]:
    known = [design for design in designs if design["o0"] is not None]
    names = short_names(_keys(answer))
    return [_axis_chart(i, names.get(key, key), key, objective, hover) for i, key in _varied(answer, known).items()]


def _points(x: dict[str, Any], y: dict[str, Any], hover: list[dict[str, Any]], **mark: Any) -> dict[str, Any]:
    return {
        "transform": [hidden("what"), {"filter": "isValid(datum.o0)"}],
        "mark": {"type": "point", "filled": True, "size": 45, **mark},
        "encoding": {
            "x": x, "y": y, "color": {"field": "what", "type": "nominal", "scale": scale(TONES), "legend": None},
            "opacity": {"condition": {"test": f"datum.what === '{FRONT}'", "value": 1}, "value": 0.55}, "tooltip": hover,
        },
    }  # fmt: skip


def _measure(field: str, title: str) -> dict[str, Any]:
    return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False}, "axis": {"labelOverlap": True}}


def _front_chart(objectives: Sequence[str], hover: list[dict[str, Any]]) -> Chart:
    spec = frame({"data": {"name": "designs"}, **_points(_measure("o1", objectives[1]), _measure("o0", objectives[0]), hover),
                  "params": params(0, 1)}, 360)  # fmt: skip
    alt = f"Each design by {objectives[1]} and {objectives[0]}; those on the front are beaten by no other in all objectives."
    return Chart("front-chart", f"{objectives[0]} against {objectives[1]}", alt, spec, None, {"designs": toggles(TONES)})


def _search_chart(objective: str, hover: list[dict[str, Any]]) -> Chart:
    points = _points(_measure("order", "designs asked for before"), _measure("o0", objective), hover)
    line = {"mark": {"type": "line", "interpolate": "step-after", "color": "currentColor"},
            "encoding": {"x": _measure("order", "designs asked for before"), "y": _measure("best", objective)}}  # fmt: skip
    spec = frame({"data": {"name": "designs"}, "layer": [line, points], "params": params(0, 1)})
    alt = f"{objective} of each design in the order of the search; the line is the best so far that meets the constraints."
    return Chart("search", "How the search went", alt, spec, None, {"designs": toggles(TONES)})


def _axis_chart(place: int, name: str, key: str, objective: str, hover: list[dict[str, Any]]) -> Chart:
    x = {"field": f"k{place}", "type": "ordinal", "title": name, "axis": {"labelAngle": 0, "labelOverlap": True}}
    points = _points(x, _measure("o0", objective), hover, type="tick", thickness=2)
    spec = frame({"data": {"name": "designs"}, **points, "params": params(0, 1)}, 180)
    alt = f"{objective} of all designs by {key}: what the axis decides, and what the others leave."
    return Chart(f"axis-{place}", f"{objective} by {name}", alt, spec)


def _summary(answer: Mapping[str, Any]) -> Markup:
    objectives = answer["objectives"]
    count = element("li", element("span", "designs on the front"), element("b", f"{answer['n_found']:,}"),
                    element("span", f"of {answer['designs_of_space']:,} in the space"))  # fmt: skip
    tiles = [count]
    for i, objective in enumerate(objectives):
        pick = max if objective["direction"] == "maximize" else min
        found = [(design["objectives"][i], design["point"]) for design in answer["designs"] if design["objectives"][i] is not None]
        if found:
            value, point = pick(found)
            name = objective["metric"]
            label = term(name) if name in METRICS else element("span", name)
            tiles.append(element("li", label, element("b", number(value)), element("span", f"best of the front: point {point}")))
    return element("ul", tiles, class_="tiles")


def _front(answer: Mapping[str, Any]) -> Markup:
    designs, objectives = answer["designs"], answer["objectives"]
    if not designs:
        return element("p", "No design meets all constraints yet.")
    differs = differing(designs)
    names = short_names([*designs[0]["settings"]])
    headings = ["point", *(told_assumed(objective["metric"]) for objective in objectives), *(names.get(key, key) for key in differs)]
    rows = [
        [design["point"], *design["objectives"], *(design["batch"] if key == BATCH else design["settings"].get(key) for key in differs)]
        for design in designs
    ]
    shown = sortable("front-rows", "Designs on the front; `etasim why DIR POINT` says what limits one", headings, rows)
    more = answer["n_found"] - len(designs)
    return join((shown, element("p", f"{more:,} more: etasim best") if more else None))


def _provenance(answer: Mapping[str, Any], folder: Path) -> Markup:
    objectives = "; ".join(f"{objective['direction']} {objective['metric']}" for objective in answer["objectives"])
    rows = [
        ("space", answer["space"]), ("networks", ", ".join(answer["networks"])), ("objectives", objectives), ("method", answer["method"]),
        ("seed", str(answer["seed"])), ("fidelity", FIDELITY_NAMES[answer["fidelity"]]), ("evaluations", evaluated_text(answer)),
        ("folder", folder.absolute().name), ("ask further", f"etasim best {folder}; etasim why {folder} POINT"),
    ]  # fmt: skip
    return table(("what", ""), rows, "Provenance", "about")
