"""Links of README and docs: those within lead to files and headings that are there; those to other places are listed here."""

import re
from urllib.parse import urlsplit

import pytest
from pages import FENCE, PAGES, ROOT

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
ADDRESS = re.compile(r"https?://[^\s)>\"'`|]+[^\s)>\"'`|.,;]")
ELSEWHERE = {"https://distributed.dask.org", "https://vega.github.io/vega-lite/"}
"""Every address of another place, for those who have a network to try them."""


def prose(page):
    """The text of ``page`` without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page):
    """What links to headings of ``page`` may say, as GitHub and MyST make it of them."""
    headings = re.findall(r"^#{1,6} +(.+?) *$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_within_lead_somewhere(page):
    wrong = []
    for link in LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" not in link and not (target.exists() and (not anchor or anchor in anchors(target))):
            wrong.append(link)
    assert wrong == []


def test_links_to_other_places_are_listed():
    found = {address for page in PAGES for address in ADDRESS.findall(prose(page))}
    assert found == ELSEWHERE
    assert [address for address in found if urlsplit(address).scheme != "https" or "." not in urlsplit(address).netloc] == []


def test_a_heading_is_found_as_links_say_it(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A first, `second` (third)\n\n```text\n# not this\n```\n")
    assert anchors(page) == {"a-first-second-third"}
