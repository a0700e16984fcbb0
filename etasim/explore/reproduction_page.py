"""The page of the reproduction: published figures beside simulated ones, what was calibrated, and what each assumption decides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etasim.explore.document import Rows, sections
from etasim.explore.findings import ANY, FINDINGS, NUMBER, NUMBER_OR_NULL, TEXT, TEXT_OR_NULL, TRUTH, wrong_in
from etasim.explore.markdown import UNKNOWN
from etasim.explore.reproduce import Reproduction
from etasim.report.drawing import CLASS_COLOURS
from etasim.report.naming import fidelity_names
from etasim.report.page.document import Chart, Page, PageSection
from etasim.report.page.markup import Markup, element, table
from etasim.report.page.run_charts import frame, hidden, params, scale, tip, toggles
from etasim.report.published import CAVEATS, STATUSES, Claim
from etasim.report.reading import read_json, refuse

ORIGINS = {"published": "#999999", "simulated": "#0072B2"}
CHANGES = {"sensitivity half": "#0072B2", "sensitivity double": "#D55E00"}
CHANGE_NAMES = {"sensitivity half": "halved", "sensitivity double": "doubled"}
_FIGURE = {
    "figure": TEXT, "status": TEXT, "network": TEXT, "published": NUMBER, "simulated": NUMBER_OR_NULL, "error_percent": NUMBER_OR_NULL,
    "tolerance_percent": NUMBER, "within_tolerance": TRUTH, "calibrated": TRUTH, "batch": NUMBER_OR_NULL, "total_cycles": NUMBER_OR_NULL,
    "assumption": TEXT, "source": TEXT, "reason": TEXT_OR_NULL,
}  # fmt: skip
_BOARD = {"resource": TEXT, "used": NUMBER, "available": NUMBER, "share_percent": NUMBER, "fits": NUMBER, "estimate": NUMBER}
FORM = {
    "rows": [_FIGURE], "fidelity": [{"network": TEXT, "phase": TEXT, "difference_percent": NUMBER}], "board": [_BOARD],
    "power": [{"figure": TEXT, "low": NUMBER, "by_table": NUMBER, "high": NUMBER_OR_NULL, "published": NUMBER_OR_NULL, "hangs_on": TEXT}],
    "about": {}, "claims": [{"claim": TEXT, "verdict": TEXT, "reason": TEXT}], "found": ANY,
}  # fmt: skip
"""What the page needs of what `etasim reproduce --json` prints."""


def reproduction_page(path: Path) -> Page:
    """The page of what `etasim reproduce --json` printed into ``path``. Raises InputError for a file that holds something else."""
    found, advice = read_json(path), "give the JSON of `etasim reproduce` of this version"
    refuse(path, wrong_in(FORM, found, ()), advice)
    if found["found"] is not None:
        refuse(path, wrong_in(FINDINGS, found["found"], ("found",)), advice)
    refuse(path, ((("rows", i, "status"), "unknown") for i, row in enumerate(found["rows"]) if row["status"] not in STATUSES), advice)
    claims = tuple(Claim(each["claim"], each["verdict"], each["reason"]) for each in found["claims"])
    about = {str(name): str(text) for name, text in found["about"].items()}
    result = Reproduction(found["rows"], found["fidelity"], found["board"], about, claims, found["power"], found["found"])
    return page_of_reproduction(result, [])


def page_of_reproduction(result: Reproduction, variations: Rows) -> Page:
    """The page of ``result``; with ``variations``, if there are any."""
    caveats = element("ul", (element("li", caveat) for caveat in CAVEATS))
    parts = [PageSection("about", "What was compared", [table(("what", ""), list(result.about.items()), "About", "about"), caveats])]
    charts = _charts(result, variations)
    for i, (heading, text, cells) in enumerate(sections(result, variations)):
        parts.append(PageSection(f"part-{i}", heading, [element("p", text), *charts.pop(heading, []), _table(heading, cells)]))
    assumptions = dict.fromkeys(f"{row['assumption']}." for row in result.rows)
    parts.append(PageSection("assumptions", "Assumptions", [element("ul", (element("li", line) for line in assumptions))]))
    lead = element("p", "Published figures beside simulated ones: a comparison with print.", class_="lead")
    datasets = {"figures": _figures(result.rows), "changes": _changes(variations), "ladder": _ladder(variations)}
    return Page("Reproduction", lead, parts, datasets, {}, [])


def _table(caption: str, cells: Sequence[Sequence[str]]) -> Markup:
    rows = [[element("span", cell, class_="missed") if cell.startswith("missed") else cell for cell in row] for row in cells[1:]]
    return table(cells[0], rows, caption)


def _figures(rows: Rows) -> list[dict[str, Any]]:
    """Published and simulated throughputs, one row each."""
    own = [row for row in rows if row["status"] == "published" and row["figure"].endswith("[GOPS]")]
    return [
        {"network": row["network"], "batch": row["batch"], "origin": origin, "gops": row[origin], "error_percent": row["error_percent"]}
        for row in own for origin in ORIGINS
    ]  # fmt: skip


def _changes(variations: Rows) -> list[dict[str, Any]]:
    """Change of each throughput where an assumption is halved or doubled."""
    names = ("network", "name", "group", "change_percent", "throughput_gops")
    return [{name: row.get(name) for name in names} for row in variations if row["group"] in CHANGES]


def _ladder(variations: Rows) -> list[dict[str, Any]]:
    """Time that each ideal part saves, in percent."""
    base = {row["network"]: row.get("total_cycles") for row in variations if row["group"] == "base"}
    rows = []
    for row in variations:
        if row["group"] == "ladder":
            cycles, own = base.get(row["network"]), row.get("total_cycles")
            rows.append({"network": row["network"], "name": row["name"], "saved": 100 * (1 - own / cycles) if own and cycles else None})
    return rows


def _charts(result: Reproduction, variations: Rows) -> dict[str, list[Chart]]:
    """Charts by the heading that they stand under."""
    machine = result.about.get("machine", "")
    heading = STATUSES["published"].partition(": ")[0]
    charts = {heading: [_published_chart(machine)]} if _figures(result.rows) else {}
    if variations:
        fidelity = fidelity_names(row["fidelity"] for row in variations)
        networks = list(dict.fromkeys(row["network"] for row in variations))
        varied, ideal = (list(dict.fromkeys(row["name"] for row in rows)) for rows in (_changes(variations), _ladder(variations)))
        charts["Sensitivity: halved"] = [_tornado_chart(i, network, varied, fidelity) for i, network in enumerate(networks)]
        charts["Bottleneck ladder"] = [_ladder_chart(networks, ideal, fidelity)]
    return charts


def _bars(data: str, field: str, encoding: dict[str, Any], height: int, transform: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Bars of ``field``, and a dash where it is not known."""
    known, unknown = ({"filter": f"{sign}isValid(datum.{field})"} for sign in ("", "!"))
    where = {name: part for name, part in encoding.items() if name in ("x", "y", "xOffset", "yOffset") and part.get("field") != field}
    return frame({
        "data": {"name": data}, "transform": list(transform), "params": params(0, 1),
        "layer": [{"mark": "bar", "transform": [known], "encoding": encoding},
                  {"mark": {"type": "text", "text": UNKNOWN, "color": "currentColor"}, "transform": [unknown], "encoding": where}],
    }, height)  # fmt: skip


def _published_chart(machine: str) -> Chart:
    spec = _bars("figures", "gops", {
        "x": {"field": "network", "type": "nominal", "title": None, "axis": {"labelAngle": 0}},
        "xOffset": {"field": "origin", "scale": {"domain": list(ORIGINS)}},
        "y": {"field": "gops", "type": "quantitative", "title": "GOPS"},
        "color": {"field": "origin", "type": "nominal", "scale": scale(ORIGINS), "legend": None},
        "tooltip": tip("network", "origin", "batch", "gops", "error_percent", gops=",.2f", error_percent="+.2f"),
    }, 240, [hidden("origin")])  # fmt: skip
    alt = f"Published and simulated throughputs: {machine}. A dash is not simulated."
    return Chart("published", "Throughputs", alt, spec, None, {"figure": toggles(ORIGINS)})


def _tornado_chart(place: int, network: str, names: Sequence[str], fidelity: str) -> Chart:
    spec = _bars("changes", "change_percent", {
        "y": {"field": "name", "type": "nominal", "title": None, "scale": {"domain": names}, "axis": {"labelLimit": 200}},
        "yOffset": {"field": "group", "scale": {"domain": list(CHANGES)}},
        "x": {"field": "change_percent", "type": "quantitative", "title": "change of GOPS [%]"},
        "color": {"field": "group", "type": "nominal", "scale": scale(CHANGES), "legend": None},
        "tooltip": tip("name", "group", "change_percent", "throughput_gops", change_percent="+.2f", throughput_gops=",.2f"),
    }, 420, [{"filter": {"field": "network", "equal": network}}, hidden("group")])  # fmt: skip
    alt = f"Change of the throughput where an assumption is halved or doubled: {fidelity}. A dash: no such machine."
    return Chart(f"tornado-{place}", network, alt, spec, None, {"assumption": toggles(CHANGES, CHANGE_NAMES)})


def _ladder_chart(networks: Sequence[str], names: Sequence[str], fidelity: str) -> Chart:
    tones = dict(zip(networks, CLASS_COLOURS, strict=False))
    spec = _bars("ladder", "saved", {
        "x": {"field": "name", "type": "nominal", "title": None, "scale": {"domain": names}, "axis": {"labelAngle": 0}},
        "xOffset": {"field": "network", "scale": {"domain": list(networks)}},
        "y": {"field": "saved", "type": "quantitative", "title": "time saved if ideal [%]"},
        "color": {"field": "network", "type": "nominal", "scale": scale(tones), "legend": None},
        "tooltip": tip("name", "network", "saved", saved=".2f"),
    }, 260, [hidden("network")])  # fmt: skip
    alt = f"Time that an ideal part would save, by network: {fidelity}. A dash is not known."
    return Chart("ladder", "Bottleneck ladder", alt, spec, None, {"network": toggles(tones)})
