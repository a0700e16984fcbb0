"""docs/parity.md is generated from what was simulated, whose bars it shows."""

import json
from pathlib import Path

from etasim.explore import parity_page
from etasim.report import parity

ROOT = Path(__file__).parents[3]
FOUND = json.loads((ROOT / parity_page.DATA).read_text(encoding="utf-8"))


def test_the_page_is_that_of_the_data():
    assert (ROOT / parity_page.PAGE).read_text(encoding="utf-8") == parity_page.document(FOUND)


def test_the_cycle_model_meets_the_bars_too():
    """Of the whole iteration, which takes minutes: what is on file."""
    heading, *layers = parity_page.layer_table(FOUND)
    assert len(layers) == 9
    assert all(abs(float(row[heading.index("cycle model") + 1])) <= parity.LAYER_BAR for row in layers)
    forward, every, rate = (abs(float(row[-1])) for row in parity_page.total_table(FOUND)[1:])
    assert forward <= parity.TOTAL_BAR
    assert every <= parity.TOTAL_BAR
    assert rate <= parity.RATE_BAR
