"""The machine as a drawing: its parts, how they are connected, and how busy the run kept them."""

from typing import NamedTuple

from etasim.config import Architecture
from etasim.machine.result import FLIT_CLASSES
from etasim.pe.causes import CAUSE_COLUMNS
from etasim.program.commands import BUFFERS
from etasim.report.metrics import total
from etasim.report.naming import FIDELITY_NAMES
from etasim.report.page.markup import Markup, element, join
from etasim.report.page.run_rows import counted
from etasim.report.reading import StoredResult

UNKNOWN = "-"
COLUMN, GAP, LEVEL = 124, 16, 92
WIDTH = 4 * COLUMN + 3 * GAP + 20
"""A column of boxes, the space between two, and the distance of two rows; all of it."""
BOX_HEIGHT = 56


class DrawnPart(NamedTuple):
    """A part: where it is drawn, its name, what there is of it, and the share of the time that it was busy (None: not known)."""

    x: int
    row: float
    width: int
    name: str
    size: str
    busy: float | None
    of: str = "busy"


class DrawnLink(NamedTuple):
    """A connection between two points (x, row), and what it carried."""

    begin: tuple[int, float]
    end: tuple[int, float]
    name: str = ""
    carried: str = ""


def diagram(result: StoredResult, architecture: Architecture) -> Markup:
    """The drawing, and the same as a table for who does not see it."""
    boxes, links = _boxes(result, architecture), _links(result, architecture)
    height = int(max(box.row for box in boxes) * LEVEL + BOX_HEIGHT + 16)
    shapes = [*map(_draw_link, links), *map(_draw_box, boxes)]
    what = f"Parts of {result.architecture} and how busy they were, {FIDELITY_NAMES[result.fidelity]}"
    title = element("title", f"{what}; the table beside it says the same")
    drawing = element("svg", title, shapes, viewBox=f"0 0 {WIDTH} {height}", role="img", class_="machine",
                      aria_label=f"Architecture diagram of {result.architecture}")  # fmt: skip
    return drawing


def machine_rows(result: StoredResult, architecture: Architecture) -> list[tuple[str, str, str]]:
    """(part, size, how busy) of each box and link of the drawing."""
    rows = [(box.name, box.size, f"{_percent(box.busy)} {box.of}" if box.busy is not None else UNKNOWN)
            for box in _boxes(result, architecture)]  # fmt: skip
    return rows + [(f"link: {link.name}", "", link.carried) for link in _links(result, architecture) if link.name]


def _boxes(result: StoredResult, architecture: Architecture) -> list[DrawnPart]:
    three, x = 3 * COLUMN + 2 * GAP, [10 + i * (COLUMN + GAP) for i in range(4)]
    array, buffers, dram = architecture.array, architecture.buffers, architecture.dram
    cores = architecture.unified_core
    boxes = [
        DrawnPart(x[0], 0, three, f"DRAM: {dram.channels} x {dram.part.name}", _peak(result), _pins(result), "of the pins"),
        DrawnPart(x[0], 1, three, "DMA: three loads, a store", f"{architecture.dma.outstanding_bursts} bursts in flight", None),
    ]
    if architecture.host is not None:
        boxes.append(DrawnPart(x[3], 0, COLUMN, "host", "brings samples", None))
    for i, name in enumerate(BUFFERS):
        size = getattr(buffers, name).size_bytes
        boxes.append(DrawnPart(x[i], 2, COLUMN, f"{name} buffer", _bytes(size), _busy(result, f"{name}_buffer")))
    lanes = f"{cores.n_cores} x {cores.lanes} lanes" if cores.n_cores > 1 else f"{cores.lanes} lanes"
    boxes.append(DrawnPart(x[3], 2, COLUMN, "unified core", lanes, _unified(result)))
    noc = architecture.noc
    links = f"{noc.link_width_bits} bit links"
    boxes.append(DrawnPart(x[0], 3, three, f"network: {noc.topology}", links, _hottest(result), "on its busiest link"))
    shape = f"{array.clusters} clusters x {array.pes_per_cluster} PEs x {array.columns} x {array.lanes}"
    pes = f"{shape} = {array.macs_per_cycle:,} MACs a cycle"
    boxes.append(DrawnPart(x[0], 4, three, "PE array", pes, _clusters(result), "of the clusters' cycles"))
    if buffers.second is not None:
        boxes.append(DrawnPart(x[3], 1, COLUMN, "second level", _bytes(buffers.second.size_bytes), _busy(result, "second_buffer")))
    return boxes


def _links(result: StoredResult, architecture: Architecture) -> list[DrawnLink]:
    x = [10 + i * (COLUMN + GAP) for i in range(4)]
    middle = [each + COLUMN // 2 for each in x]
    summary, cycles = result.summary, result.summary.number("total_cycles")
    seconds = summary.number("time_ms") / 1e3
    rates = [_rate(summary.figure(f"dram_{name}_bytes"), seconds) for name in ("read", "write")]
    links = [
        DrawnLink((middle[0], 0), (middle[0], 1), "read", rates[0]), DrawnLink((middle[2], 1), (middle[2], 0), "written", rates[1]),
        *(DrawnLink((middle[i], 1), (middle[i], 2)) for i in range(len(BUFFERS))),
        DrawnLink((x[2] + COLUMN, 2.3), (x[3], 2.3)),
    ]  # fmt: skip
    ways = dict(zip(FLIT_CLASSES, ((middle[0], 2, 3), (middle[1], 2, 3), (middle[2], 3, 2)), strict=True))
    for name, (at, begin, end) in ways.items():
        flits = total(result.layers, [f"{name}_flits"])
        links.append(DrawnLink((at, begin), (at, end), name, UNKNOWN if flits is None else f"{flits / cycles:.2f} flits a cycle"))
    links += [DrawnLink((middle[0], 3), (middle[0], 4), "to clusters", _busiest(result, "cluster"))]
    links += [DrawnLink((middle[2], 4), (middle[2], 3), "to error ports", _busiest(result, "error"))]
    if architecture.host is not None:
        links.append(DrawnLink((x[3], 0.3), (x[2] + COLUMN, 0.3)))
    if architecture.buffers.second is not None:
        links.append(DrawnLink((x[2] + COLUMN, 1.3), (x[3], 1.3)))
    return links


def _draw_box(box: DrawnPart) -> Markup:
    y, meter = box.row * LEVEL + 4, box.width - 16
    share = 0.0 if box.busy is None else min(box.busy, 1.0)
    parts = [element("rect", x=box.x, y=y, width=box.width, height=BOX_HEIGHT, rx=6, class_="part", style=f"--busy:{100 * share:.1f}%")]
    parts.append(element("text", box.name, x=box.x + 8, y=y + 17, class_="name"))
    is_wide = box.width > COLUMN
    known = "" if box.busy is None else f"{_percent(box.busy)} {box.of if is_wide else ''}"
    parts.append(element("text", box.size, x=box.x + 8, y=y + 34))
    parts.append(element("text", known, x=box.x + box.width - 8, y=y + (17 if is_wide else 34), class_="right"))
    if box.busy is not None:
        parts.append(element("rect", x=box.x + 8, y=y + 43, width=meter, height=6, rx=3, class_="meter"))
        parts.append(element("rect", x=box.x + 8, y=y + 43, width=round(meter * share, 1), height=6, rx=3, class_="used"))
    return element("g", *parts)


def _draw_link(link: DrawnLink) -> Markup:
    (x1, r1), (x2, r2) = link.begin, link.end
    if r1 == r2:
        return element("line", x1=x1, x2=x2, y1=r1 * LEVEL + 4, y2=r1 * LEVEL + 4, class_="link")
    down = r2 > r1
    y1, y2 = r1 * LEVEL + 4 + (BOX_HEIGHT if down else 0), r2 * LEVEL + 4 + (0 if down else BOX_HEIGHT)
    tip, side = (y2 - 6 if down else y2 + 6), 4
    arrow = element("path", d=f"M{x1} {y1}V{y2}M{x2 - side} {tip}L{x2} {y2}L{x2 + side} {tip}", class_="link")
    if not link.name:
        return arrow
    middle, texts = (y1 + y2) / 2, ((link.name, -2), (link.carried, 10))
    return join((arrow, *(element("text", text, x=x1 + 8, y=middle + below, class_="flow") for text, below in texts)))


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.1%}"


def _bytes(n_bytes: int) -> str:
    unit = next(unit for unit in (1 << 20, 1 << 10, 1) if n_bytes >= unit)
    return f"{n_bytes / unit:g} {({1 << 20: 'MiB', 1 << 10: 'KiB', 1: 'B'})[unit]}"


def _rate(n_bytes: float | None, seconds: float) -> str:
    return UNKNOWN if n_bytes is None else f"{n_bytes / seconds / 1e9:.2f} GB/s"


def _peak(result: StoredResult) -> str:
    used, peak = (result.summary.figure(name) for name in ("dram_bandwidth_gb_per_s", "dram_peak_gb_per_s"))
    return f"{UNKNOWN if used is None else f'{used:.1f}'} of {UNKNOWN if peak is None else f'{peak:.1f}'} GB/s"


def _pins(result: StoredResult) -> float | None:
    used, peak = (result.summary.figure(name) for name in ("dram_bandwidth_gb_per_s", "dram_peak_gb_per_s"))
    return used / peak if used is not None and peak else None


def _busy(result: StoredResult, component: str) -> float | None:
    """Mean share of the cycles over all instances."""
    known = counted(result.components.get(component, ()), "busy_cycles")
    return sum(known) / len(known) / result.summary.number("total_cycles") if known else None


def _unified(result: StoredResult) -> float | None:
    known = _busy(result, "unified_core")
    counted = total(result.layers, ["unified_core_busy_cycles"])
    return known if known is not None or counted is None else min(counted / result.summary.number("total_cycles"), 1.0)


def _clusters(result: StoredResult) -> float | None:
    busy, everything = total(result.layers, CAUSE_COLUMNS[:1]), total(result.layers, CAUSE_COLUMNS)
    return busy / everything if busy is not None and everything else None


def _hottest(result: StoredResult, towards: str = "") -> float | None:
    """Of the links to what is called ``towards``, the share of the cycles in which the busiest carried a flit."""
    flits = [link["flits"] for link in result.components.get("noc_link", ()) if str(link["to"]).startswith(towards)]
    return max(flits) / result.summary.number("total_cycles") if flits else None


def _busiest(result: StoredResult, towards: str) -> str:
    share = _hottest(result, towards)
    return UNKNOWN if share is None else f"busiest {share:.1%}"
