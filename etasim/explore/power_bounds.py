"""What the powers of the published comparison hang on: bounds by what has a source, and what the published ratio would imply.

Of a machine the sourced part of its power is a lower bound. What the measured neighbour takes beyond the table, in proportion to
multipliers and clock, is the upper bound of ETA; nothing bounds the prior art from above.
"""

from typing import Any

from etasim.config.energy import ASSUMED
from etasim.machine.result import TypedRow
from etasim.report.metrics import rounded
from etasim.report.published import FIGURES, NEIGHBOUR_ARCHITECTURE, NEIGHBOUR_WATT, PRIOR_NETWORK

Row = dict[str, Any]


def published_ratio(quantity: str) -> float:
    """The published figure of ``quantity`` beside the prior art."""
    return next(figure.published for figure in FIGURES if (figure.network, figure.quantity) == (PRIOR_NETWORK, quantity))


def sourced_watt(summary: TypedRow) -> float:
    """Power of what has a source."""
    return summary.number("power_w") * (1 - summary.number("energy_assumed_percent") / 100)


def remainder_watt(own: TypedRow, neighbour: TypedRow) -> float:
    """What the neighbour takes beyond the table, in proportion to multipliers and clock."""
    scale = 1.0
    for name in ("mac_units", "core_clock_hz"):
        scale *= own.number(name) / neighbour.number(name)
    return max(NEIGHBOUR_WATT - neighbour.number("power_w"), 0.0) * scale


def power_bounds(own: TypedRow, prior: TypedRow, neighbour: TypedRow) -> list[Row]:
    """One row a figure: ``low``, ``by_table``, ``high`` (None: nothing bounds it), ``published``, and what it ``hangs_on``. Nothing where
    the energy of one of the three is not known."""
    if any(not summary or summary.figure("power_w") is None for summary in (own, prior, neighbour)):
        return []
    sourced, table = sourced_watt(own), own.number("power_w")
    high = table + remainder_watt(own, neighbour)
    prior_sourced, prior_table = sourced_watt(prior), prior.number("power_w")
    speedup = own.number("throughput_gops") / prior.number("throughput_gops")
    wanted, power_ratio = published_ratio("efficiency_ratio"), published_ratio("efficiency_ratio") / published_ratio("speedup")
    found: list[tuple[str, float, float, float | None, float | None, str]] = [
        ("power of ETA [W]", sourced, table, high, None,
         f"low: what has a source; by the table: {100 * (1 - sourced / table):.0f} % {ASSUMED}; high: with what it leaves unexplained "
         f"of the {NEIGHBOUR_WATT:g} W of {NEIGHBOUR_ARCHITECTURE}, by multipliers and clock"),
        ("power of the prior art [W]", prior_sourced, prior_table, None, None,
         f"by the table: {100 * (1 - prior_sourced / prior_table):.0f} % {ASSUMED}; nothing bounds it from above"),
        ("energy efficiency over prior art", speedup * prior_sourced / high, speedup * prior_table / table, None, wanted,
         f"by the table: {ASSUMED} as the powers are"),
        (f"power of the prior art that {wanted:g} implies [W]", power_ratio * sourced, power_ratio * table, power_ratio * high, None,
         f"{wanted:g} / {published_ratio('speedup'):g} times the power of ETA, {ASSUMED} as that is"),
    ]  # fmt: skip
    names = ("figure", "low", "by_table", "high", "published", "hangs_on")
    return [{name: rounded(cell) if isinstance(cell, float) else cell for name, cell in zip(names, row, strict=True)} for row in found]
