"""The page of a study says what the stores behind it hold."""

import re

import pytest
from test_answers import NETWORK, SPACE, throughput

from etasim.explore import study
from etasim.explore.exploration import SearchPlan

REFERENCE = """\
architecture: eta_vc709
networks: [digits_cnn, tiny.yaml]
batch: [1]
objectives: [{metric: throughput_gops, direction: maximize}]
fidelity: cycle
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(NETWORK)
    for name, text in (("SPACE", SPACE.replace("NETWORK", "tiny.yaml")), ("REFERENCE", REFERENCE)):
        path = tmp_path / f"{name.lower()}.yaml"
        path.write_text(text)
        monkeypatch.setattr(study, name, str(path))
    monkeypatch.setattr(study, "PLAN", SearchPlan("grid", None, 0, 4))
    return tmp_path


def test_the_page_states_the_figures_of_the_stores(folder):
    page = folder / "page" / "pe_array.md"
    page.parent.mkdir()
    study.study(folder / "out", page, workers=1)
    text = page.read_text()
    point, factor = int(re.search(r"Point (\d+):", text)[1]), float(re.search(r"It has ([\d.]+) times", text)[1])
    assert factor == pytest.approx(
        throughput(folder / "out/space", point, "cycle") / throughput(folder / "out/reference", 0, "cycle"), abs=5e-4
    )
    assert text.count("| eta_vc709 |") == 1
    for picture in study.PICTURES:
        assert f"pe_array_{picture}.png" in text
        assert (page.parent / f"pe_array_{picture}.png").stat().st_size > 5000
    before = page.read_bytes()
    study.study(folder / "out", page, workers=2)
    assert page.read_bytes() == before, "nothing was evaluated again, and the page depends on the stores alone"
