"""A metric with a picture: the arithmetic intensity of each layer and phase, and of the iteration."""

from fractions import Fraction

from matplotlib.figure import Figure

from etasim.core.registry import METRICS, PICTURES
from etasim.report.glossary import LAYERS, SUMMARY, Metric
from etasim.report.metrics import DRAM_READ_COLUMNS, DRAM_WRITE_COLUMNS, ratio, total
from etasim.report.plots import PHASE_COLOURS, known_rows, panels
from etasim.report.reading import StoredResult


def compute(_result, rows) -> Fraction | None:
    """Operations over DRAM bytes of ``rows``; None where bytes are not known, or there are none."""
    return ratio(2 * total(rows, ["macs"]), total(rows, (*DRAM_READ_COLUMNS, *DRAM_WRITE_COLUMNS)))


INTENSITY = Metric(
    name="arithmetic_intensity",
    unit="1/B",
    formula="2 * useful_macs / (dram_read_bytes + dram_write_bytes)",
    meaning="Operations for each byte that crosses the DRAM bus.",
    files=(SUMMARY, LAYERS),
    better="higher",
    compute=compute,
)


def picture(result: StoredResult) -> Figure:
    """A bar for each layer and phase that multiplies."""
    rows, note = known_rows(result, [row for row in result.layers if row["macs"]], (INTENSITY.name,), "DRAM bytes")

    def draw(axes, lines, rows, phase) -> None:
        axes.barh(lines, [row[INTENSITY.name] for row in rows], color=PHASE_COLOURS[phase])

    return panels(result, rows, "Arithmetic intensity", "operations per DRAM byte", draw, note)


METRICS.add(INTENSITY.name, INTENSITY)
PICTURES.add("intensity", picture)
