"""Terminal tables of explorations and of the questions about them: at most `WIDTH` columns, in a pipe too."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from etasim.explore.answers import differing
from etasim.explore.figures import BATCH
from etasim.report.naming import FIDELITY_NAMES, told_assumed

WIDTH = 100
UNKNOWN = "-"
ESTIMATE_OFF = "estimate off %"


def fitted(*parts: RenderableType) -> RenderableType:
    """``parts`` below each other, none wider than `WIDTH`."""
    return Constrain(Group(*parts), WIDTH)


def number(value: object, form: str = "{:,.5g}") -> str:
    """A figure as a cell: whole numbers whole, what is not known as a dash."""
    if value is None:
        return UNKNOWN
    return f"{value:,}" if isinstance(value, int) else form.format(value) if isinstance(value, float) else str(value)


def table(title: str, texts: Sequence[str], numbers: Sequence[str], last: Sequence[str] = ()) -> Table:
    """An empty table: columns of texts, of numbers, and of texts again."""
    made = Table(title=title, title_justify="left", caption_justify="left")
    for heading in texts:
        made.add_column(heading, overflow="fold")
    for heading in numbers:
        made.add_column(heading, justify="right", overflow="fold")
    for heading in last:
        made.add_column(heading, overflow="fold")
    return made


def settings_text(design: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The values of ``keys`` by the short names of the keys."""
    names = short_names([*design["settings"]])
    return ", ".join(f"{names.get(key, key)}={value(design, key)}" for key in keys)


def value(design: Mapping[str, Any], key: str) -> Any:
    """What a design has for a key, or the batch."""
    return design["batch"] if key == BATCH else design["settings"][key]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each key, with the one before where that is not enough."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: name if last.count(name) == 1 else ".".join(key.split(".")[-2:]) for key, name in zip(keys, last, strict=True)}


def best_table(answer: Mapping[str, Any]) -> RenderableType:
    """The designs of `etasim best`, one line each; what all of them share stands below."""
    designs, objectives = answer["designs"], answer["objectives"]
    name = FIDELITY_NAMES[answer["fidelity"]]
    plural = "" if answer["n_found"] == 1 else "s"
    what = f"{answer['n_found']} design{plural} on the front" if answer["front"] else f"best by {told_assumed(objectives[0]['metric'])}"
    judged = [i for i in range(len(objectives)) if any(design["off_percent"][i] is not None for design in designs)]
    differs = differing(designs)
    short = short_names([*designs[0]["settings"]]) if designs else {}
    wanted = [told_assumed(objective["metric"]) for objective in objectives]
    headings = wanted + [f"{ESTIMATE_OFF}\n{wanted[i]}" for i in judged]
    headings += [short.get(key, key).replace("_", "\n").replace(".", "\n") for key in differs]
    shown = table(f"{answer['space']}: {what} ({name})", (), ("point", *headings))
    for design in designs:
        off = [number(design["off_percent"][i], "{:+.1f}") for i in judged]
        shown.add_row(str(design["point"]), *map(number, design["objectives"]), *off, *(Text(str(value(design, key))) for key in differs))
    parts: list[RenderableType] = [shown] if designs else [Text(f"{answer['space']}: no design meets all of it ({name})")]
    if designs:
        same = settings_text(designs[0], [key for key in (*designs[0]["settings"], BATCH) if key not in differs])
        parts += [Text(f"all: {same}")] if same else []
        rest = f"the first {len(designs):,} of {answer['n_found']:,}; `etasim best --top N` shows more"
        parts += [Text(rest)] if len(designs) < answer["n_found"] else []
    return fitted(*parts, Text(aggregate_text(answer)), Text(evaluated_text(answer)))


def aggregate_text(answer: Mapping[str, Any]) -> str:
    """How the objectives join the networks."""
    joined = {objective["aggregate"].replace("_", " ") for objective in answer["objectives"]}
    networks = answer["networks"]
    return f"{networks[0]}" if len(networks) == 1 else f"{' and '.join(sorted(joined))} over {', '.join(networks)}"


def evaluated_text(answer: Mapping[str, Any]) -> str:
    """How many evaluations the answer rests on."""
    counts = ", ".join(f"{entry['n']:,} {FIDELITY_NAMES[entry['fidelity']]} {entry['status']}" for entry in answer["evaluations"])
    return f"{answer['designs_of_space']:,} designs in the space; method {answer['method']}; evaluations: {counts or 'none'}"


def ladder_table(title: str, limit: str | None, rungs: Sequence[Mapping[str, Any]]) -> Table:
    """Throughput with each part idealised."""
    shown = table(title, ("idealised",), ("GOPS", "change %"), ("",))
    for row in rungs:
        note = "most of all parts" if row["name"] == limit else row["reason"]
        shown.add_row(row["name"], number(row["throughput_gops"], "{:,.1f}"), number(row["change_percent"], "{:+.1f}"), Text(note))
    return shown


def shares_table(title: str, by_name: Mapping[str, Mapping[str, float | None]]) -> Table:
    """Shares in percent, a column for each name: there are fewer of them than of shares."""
    shown = table(title, ("",), list(by_name))
    for share in next(iter(by_name.values())):
        values = (shares[share] for shares in by_name.values())
        shown.add_row(share.removesuffix("_share").replace("_", " "), *(UNKNOWN if value is None else f"{value:.1%}" for value in values))
    return shown


def bottleneck_tables(answer: Mapping[str, Any]) -> RenderableType:
    """The ladder of a machine on a network, and where its cycles go."""
    fidelity = FIDELITY_NAMES[answer["fidelity"]]
    subject = f"{answer['network']} on {answer['architecture']}, batch {answer['batch']}, {fidelity}"
    verdict = f"idealising the {answer['limit']} brings most" if answer["limit"] else "no part alone holds it back"
    parts: list[RenderableType] = [ladder_table(subject, answer["limit"], answer["ladder"]), Text(verdict)]
    parts.append(shares_table("Share of the cycles", {answer["network"]: answer["phase_shares"]}))
    if None not in answer["cluster_shares"].values():
        parts.append(shares_table("What clusters do with their cycles", {answer["network"]: answer["cluster_shares"]}))
    else:
        parts.append(Text("stalls are known to the cycle model only: --fidelity cycle"))
    return fitted(*parts)


def why_tables(answer: Mapping[str, Any]) -> RenderableType:
    """What `etasim why` prints of a design."""
    name, asked = FIDELITY_NAMES[answer["fidelity"]], FIDELITY_NAMES[answer["asked_in"]]
    about = table(f"{answer['space']}, point {answer['point']} ({name}): {answer['status']}", ("",), (), ("",))
    for key, setting in {**answer["settings"], "batch": answer["batch"]}.items():
        about.add_row(key, Text(str(setting)))
    for metric, own in zip(answer["objective_names"], answer["objectives"], strict=True):
        about.add_row(Text(metric, "bold"), number(own))
    parts: list[RenderableType] = [about, *([Text(f"reason: {answer['reason']}")] if answer["reason"] else [])]
    parts += [_constraint_table(answer)] if answer["constraints"] else []
    parts += [
        ladder_table(f"{network}: ladder of idealised parts ({asked})", found["limit"], found["rungs"])
        for network, found in answer["ladders"].items()
    ]
    parts.append(shares_table(f"Share of the cycles ({name})", answer["phase_shares"]))
    if all(None not in shares.values() for shares in answer["cluster_shares"].values()):
        parts.append(shares_table(f"What clusters do with their cycles ({name})", answer["cluster_shares"]))
    parts += [_step_table(answer, asked)] if answer["steps"] else []
    return fitted(*parts)


def _constraint_table(answer: Mapping[str, Any]) -> Table:
    shown = table("Constraints, on the network where each is nearest", ("constraint",), ("headroom %",), ("values", ""))
    for entry in answer["constraints"]:
        values = ", ".join(f"{name} {number(found)}" for name, found in entry["values"].items())
        if not values:
            values = ", ".join(f"{row['resource']} {row['share_percent']:.0f} %" for row in answer["board"])
        holds = {True: "holds", False: "broken", None: "not known"}[entry["holds"]]
        shown.add_row(Text(entry["constraint"]), number(entry["headroom_percent"], "{:+.1f}"), Text(values), holds)
    return shown


def _step_table(answer: Mapping[str, Any], asked: str) -> Table:
    shown = table(f"The next step on each axis ({asked}): change of the objectives in %", ("axis", "to"), answer["objective_names"], ("",))
    for row in answer["steps"]:
        note = "" if row["status"] == "ok" else f"{row['status']}: {row['reason']}"
        shown.add_row(row["axis"], Text(row["to"]), *(number(change, "{:+.1f}") for change in row["change_percent"]), Text(note))
    return shown


LAYERS_SHOWN = 8
"""Of those that gain, and of those that lose."""


def compare_tables(answer: Mapping[str, Any]) -> RenderableType:
    """What differs between two machines or results, in percent of A."""
    about = table("A and B", ("",), (), ("network", "batch", "", "name"))
    for side in ("a", "b"):
        own = answer[side]
        about.add_row(side.upper(), own["network"], str(own["batch"]), FIDELITY_NAMES[own["fidelity"]], Text(own["name"]))
    machine = table("Architecture", ("key", "A", "B"), ())
    for row in answer["architecture"]:
        machine.add_row(row["key"], *(Text(UNKNOWN if row[side] is None else str(row[side])) for side in "ab"))
    metrics = table("Figures", ("figure", "unit"), ("A", "B", "change %"), ("",))
    for row in answer["metrics"]:
        metrics.add_row(
            row["name"], row["unit"], number(row["a"]), number(row["b"]), number(row["change_percent"], "{:+.1f}"), _verdict(row)
        )
    parts: list[RenderableType] = [about, machine if answer["architecture"] else Text("the same architecture"), metrics]
    if not answer["same_network"]:
        return fitted(*parts, Text("different networks: their layers are not compared"))
    known = [row for row in answer["layers"] if row["gain_cycles"]]
    gains = sorted((row for row in known if row["gain_cycles"] > 0), key=lambda row: -row["gain_cycles"])
    losses = sorted((row for row in known if row["gain_cycles"] < 0), key=lambda row: row["gain_cycles"])
    for title, rows in (("Layers on which B is faster", gains), ("Layers on which B is slower", losses)):
        shown = table(f"{title}: {len(rows)}", ("layer", "phase"), ("A cycles", "B cycles", "B saves"))
        for row in rows[:LAYERS_SHOWN]:
            shown.add_row(row["layer"], row["phase"], *(number(row[name]) for name in ("a_cycles", "b_cycles", "gain_cycles")))
        parts += [shown] if rows else [Text(f"{title}: none")]
    return fitted(*parts)


def _verdict(row: Mapping[str, Any]) -> str:
    if row["better"] is None or not row["change_percent"]:
        return ""
    return "better" if (row["change_percent"] > 0) == (row["better"] == "higher") else "worse"
