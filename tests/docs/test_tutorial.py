"""The tutorial, followed to the letter in an empty folder: every output is the page's, but for how long runs took."""

from itertools import pairwise

import pytest
from pages import PICTURE, PICTURES, TUTORIAL, Session, blocks, without_times


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return Session(tmp_path_factory.mktemp("tour"))


@pytest.mark.parametrize("page", TUTORIAL, ids=lambda page: page.stem)
def test_every_output_is_that_of_the_page(reader, page):
    """What has moved on purpose is written by ``python tests/given/pages.py``."""
    pytest.importorskip("sklearn")
    assert reader.read(page) == page.read_text(encoding="utf-8")


def test_pages_lead_from_one_to_the_next():
    assert len(TUTORIAL) == 7
    for page, following in pairwise(TUTORIAL):
        assert page.read_text(encoding="utf-8").rstrip().splitlines()[-1].endswith(f"]({following.name}).")


def test_pictures_are_those_that_were_drawn(reader):
    shown = [name for page in TUTORIAL for name in PICTURE.findall(page.read_text(encoding="utf-8"))]
    assert shown
    for name in shown:
        assert (PICTURES / name).read_bytes().startswith(b"\x89PNG")
        assert (reader.folder / name).exists()


def test_nothing_but_times_is_left_open():
    assert without_times("0.8 s, 0.01 M cycles/s; results in first") == "(time); results in first"
    assert without_times("time 0.8 s; 5,540 cycles") == "time 0.8 s; 5,540 cycles"


def test_a_moved_figure_is_found(tmp_path):
    page = TUTORIAL[0]
    first = next(block for block in blocks(page) if block.language == "console")
    moved = first._replace(text=first.text.replace(" cycles\n", " cycles or so\n"))
    assert moved.text != first.text
    assert without_times(Session(tmp_path).do(moved)) == without_times(first.text)
