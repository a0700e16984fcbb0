"""The documentation as a site: no warning, every link between pages leads somewhere, the search knows the pages; commands that stand in the
pages exist."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from etasim.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/models").glob("*.md"))]
MISSING = not os.environ.get("CI") and any(importlib.util.find_spec(name) is None for name in ("sphinx", "myst_parser"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if MISSING:
        pytest.skip("needs the extra docs")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", out / "read", ROOT / "docs", out / "html"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_the_site_is_built_without_a_warning(site):
    written = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    pages = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= written


def test_the_search_knows_what_is_written(site):
    text = (site / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(re.search(r"\((\{.*\})\)", text, re.DOTALL)[1])
    found = index["terms"]["hypervolum"] if "hypervolum" in index["terms"] else index["terms"]["pareto"]
    names = {index["docnames"][i] for i in ([found] if isinstance(found, int) else found)}
    assert "explore" in names


def test_the_reference_has_every_command(site):
    text = (site / "generated" / "commands.html").read_text(encoding="utf-8")
    assert [name for name in main.commands if f"Usage: etasim {name} " not in text and name != "selfcheck"] == []


def test_the_interface_has_what_the_package_exports(site):
    import etasim

    text = (site / "generated" / "interface.html").read_text(encoding="utf-8")
    assert [name for name in etasim.__all__ if not re.search(rf"\.{name}\"", text)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_that_pages_show_exist(page):
    """The command is one, and so are its options; of pytest and scripts, the files."""
    wrong = []
    for line in re.findall(r"(?:^|`)((?:etasim|python -m pytest) [^`\n#]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
        words = line.split()
        if words[0] == "python":
            wrong += [word for word in words[3:] if word.startswith("tests/") and "NAME" not in word and not (ROOT / word).exists()]
            continue
        command = main.commands.get(words[1])
        if command is None:
            wrong += [line] if re.fullmatch(r"[a-z][a-z-]+", words[1]) else []
            continue
        each = getattr(command, "commands", {}).get(words[2] if len(words) > 2 else "", command)
        known = {name for param in each.params for name in (*param.opts, *param.secondary_opts)} | {"--help", "-h"}
        if not hasattr(each, "commands"):
            wrong += [f"{line}: {word}" for word in re.findall(r"(?<!\S)--?[a-z][a-z0-9-]*", line) if word not in known]
    assert wrong == []
