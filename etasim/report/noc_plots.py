"""Pictures of the network: how busy each link is, of all flits and of each message class, over the whole iteration and over time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from etasim.report.drawing import MANY_COLOURS, is_narrow, legend_beside, nothing_to_draw, set_title, sheet, size_of, tabulate
from etasim.report.heat_map import COLOURS, draw_network, heat
from etasim.report.naming import plain_name
from etasim.report.over_time import Steps, finish, name_layers, stack, steps_of
from etasim.report.reading import StoredResult

ROUTER_INCHES = 1.5
MOST_LINKS = 24
"""That a picture over time shows of a class: the busiest."""
LINK_INCHES = 0.14
TAKES = "share of the cycles with a flit; in a box: of the link to its end"


def noc(result: StoredResult) -> Figure:
    """Utilization of every link of the network over the whole iteration, and of every port to an endpoint; a panel a physical network."""
    routers, links = (result.components.get(name) for name in ("noc_router", "noc_link"))
    cycles = result.summary["total_cycles"]
    if not routers or not links:
        raise nothing_to_draw(result, "no network was simulated")
    links = [link | {"utilization": link["flits"] / cycles} for link in links]
    networks = [router["network"] for router in routers]
    panels = [(f"network {n}" if max(networks) else "", n, links) for n in sorted(set(networks))]
    figure = _maps(routers, panels, max(link["utilization"] for link in links))
    set_title(figure, "Link utilization", result, TAKES)
    return tabulate(figure, [{name: link.get(name) for name in ("router", "port", "to", "flits", "utilization")} for link in links])


def noc_classes(result: StoredResult) -> Figure:
    """The same for each message class: which links its flits take; a panel a class."""
    routers, steps = result.components.get("noc_router"), steps_of(result)
    arrays = steps.series.arrays
    flits, classes = arrays["link_flits"].sum(axis=0), arrays["flit_classes"].tolist()
    if not routers or not flits.any():
        raise nothing_to_draw(result, "no network was simulated")
    busy = flits / steps.lengths_cycles.sum()
    named = [{"router": router, "port": port, "to": to} for (router, port), to in
             zip(arrays["links"].tolist(), arrays["link_targets"].tolist(), strict=True)]  # fmt: skip
    panels = []
    for i, name in enumerate(classes):
        links = [link | {"utilization": float(share)} for link, share in zip(named, busy[:, i], strict=True)]
        networks = {routers[link["router"]]["network"] for link in links if link["utilization"]} or {0}
        panels.append((f"{name}: {flits[:, i].sum():,} flits on {np.count_nonzero(flits[:, i])} links", min(networks), links))
    figure = _maps(routers, panels, float(busy.max()))
    set_title(figure, "Link utilization by message class", result, TAKES)
    return tabulate(figure, [
        link | {"class": name, "flits": int(flits[i, c]), "utilization": float(busy[i, c])}
        for c, name in enumerate(classes) for i, link in enumerate(named)
    ])  # fmt: skip


def _maps(routers: Sequence[Mapping[str, Any]], panels: Sequence[tuple[str, int, Sequence[Mapping[str, Any]]]], largest: float) -> Figure:
    """Maps below each other in one scale: of each its title, the number of its physical network, and links with their utilization."""
    colours: ScalarMappable = heat(largest)
    wide, high = (1 + max(router[axis] for router in routers) for axis in "xy")
    size = size_of(1.6 + ROUTER_INCHES * wide, 0.7 + (0.92 * ROUTER_INCHES * high + 0.3) * len(panels))
    figure, grid = sheet(len(panels), 1, squeeze=False, figsize=size)
    for axes, (title, network, links) in zip(grid[:, 0], panels, strict=True):
        own = {i: router for i, router in enumerate(routers) if router["network"] == network}
        draw_network(axes, own, [link for link in links if link["router"] in own], colours)
        axes.set_title(title, loc="left")
    ticks = MaxNLocator(8, steps=[1, 2, 5, 10])
    scale = figure.colorbar(colours, ax=grid[:, 0], shrink=0.8, ticks=ticks, format=PercentFormatter(1), label="cycles with a flit")
    scale.ax.set_ylim(bottom=0)
    return figure


def noc_over_time(result: StoredResult) -> Figure:
    """Flits of each message class over the iteration, and for each class how busy the links that carry it are with it."""
    steps = steps_of(result)
    arrays = steps.series.arrays
    if not arrays["link_flits"].any():
        raise nothing_to_draw(result, "no network was simulated")
    classes = arrays["flit_classes"].tolist()
    busy = steps.amounts("link_flits") / steps.lengths_cycles[:, None, None]
    injected = steps.amounts("noc_flits_injected") / steps.lengths_cycles[:, None]
    flits_of = arrays["link_flits"].sum(axis=0)
    shown = [np.argsort(-flits_of[:, c], kind="stable")[: min(MOST_LINKS, np.count_nonzero(flits_of[:, c]))] for c in range(len(classes))]
    used = [c for c in range(len(classes)) if len(shown[c])]
    heights = [1.6, *(LINK_INCHES * len(shown[c]) for c in used)]
    size = size_of(11, 2.4 + 0.35 * len(used) + sum(heights), grows=True)
    figure, grid = sheet(1 + len(used), 1, sharex=True, figsize=size, height_ratios=heights)
    stack(grid[0], steps.edges_ms, injected, MANY_COLOURS, classes)
    grid[0].set_ylabel("flits a cycle\ninjected")
    grid[0].grid(True, axis="y", alpha=0.3)
    legend_beside(grid[0])
    name_layers(grid[0], result, steps.series.clock_hz)
    for axes, c in zip(grid[1:], used, strict=True):
        mesh = _raster(axes, steps, busy[:, shown[c], c], [_link_name(arrays, i) for i in shown[c]])
        n_carry = np.count_nonzero(flits_of[:, c])
        axes.set_title(f"{classes[c]}: {len(shown[c])} of {n_carry} links that carry it", loc="left")
    figure.colorbar(mesh, ax=grid[1:], format=PercentFormatter(1, decimals=0), label="cycles with a flit of the class", pad=0.01)
    of_links = flits_of.sum(axis=1)
    note = f"{np.count_nonzero(of_links)} of {len(of_links)} links carry a flit; of each class the busiest first"
    set_title(figure, "The network over time", result, note)
    columns = {f"{name}_flits_a_cycle": injected[:, i] for i, name in enumerate(classes)}
    columns |= {
        f"router_{arrays['links'][i, 0]}_port_{arrays['links'][i, 1]}_{classes[c]}": busy[:, i, c] for c in used for i in shown[c]
    }
    return finish(figure, grid[-1], steps, columns)


def _link_name(arrays: Mapping[str, np.ndarray], i: int) -> str:
    return plain_name(f"router {arrays['links'][i, 0]} to {arrays['link_targets'][i]}")


def _raster(axes: Axes, steps: Steps, shares: np.ndarray, names: Sequence[str]) -> Any:
    """A line a link, in it the ``shares`` [step, link] as colours from 0 to 1."""
    lines = np.arange(len(names) + 1) - 0.5
    mesh = axes.pcolormesh(steps.edges_ms, lines, shares.T, cmap=COLOURS, vmin=0, vmax=1, rasterized=True)
    axes.set_yticks(range(len(names)), names, fontsize=4 if is_narrow() else 6)
    axes.set_ylim(len(names) - 0.5, -0.5)
    return mesh
