"""Pages without a browser: what they are made of, what they refuse, what they are served by."""

import http.client
import json
import re
import shutil
import sys
import threading
from collections import Counter

import numpy as np
import pytest
from command_line import invoke
from run_results import make_result
from small_networks import TINY, architecture

from etasim.config import InputError
from etasim.explore import serving
from etasim.explore.pages import page_of
from etasim.machine import simulate
from etasim.report.inputs import read_inputs
from etasim.report.page import assets, run_page, series_rows
from etasim.report.page.document import html
from etasim.report.page.markup import Markup, element, table
from etasim.report.page.run_rows import page_rows
from etasim.report.reading import read_results
from etasim.report.series import read_series
from etasim.report.store import write_results

pytest.importorskip("vl_convert")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_results(make_result("digits_cnn"), folder, {"wall_seconds": 1.0, "versions": {"etasim": "0"}})
    return folder


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """A run with a series."""
    folder = tmp_path_factory.mktemp("sampled")
    write_results(simulate(architecture(), TINY, batch=2, series_every=0), folder, {})
    return folder


@pytest.fixture(autouse=True)
def library(monkeypatch):
    """Bundling the charting library takes seconds; what it holds is for the tests in a browser."""
    monkeypatch.setattr(assets, "library", lambda: "/* charts */")


def test_what_comes_from_outside_is_escaped():
    text = "<b>\"'&"
    assert element("p", text, title=text) == '<p title="&lt;b&gt;&quot;&#x27;&amp;">&lt;b&gt;&quot;&#x27;&amp;</p>'
    assert "<b>" not in table([text], [[text, text]], text)
    assert element("p", Markup("<i>"), None, hidden=True, id=None) == "<p hidden><i></p>"


def test_the_data_of_a_page_cannot_end_its_element(run):
    page = page_of([run])
    text = html(page._replace(datasets={"rows": [{"layer": "</script><script>alert(1)</script>"}]}))
    data = re.search('<script type="application/json" id="page-data">(.*?)</script>', text, re.DOTALL).group(1)
    assert json.loads(data)["datasets"]["rows"]["rows"] == [["</script><script>alert(1)</script>"]]


def test_only_the_scripts_of_the_page_may_run(run):
    text = html(page_of([run]))
    policy = re.search('Content-Security-Policy" content="([^"]*)"', text).group(1)
    scripts = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    assert [policy.count("sha256-"), len(scripts)] == [2, 2]
    assert policy.replace("&#x27;", "'") == assets.policy(scripts)
    assert "unsafe" not in policy.replace("style-src &#x27;unsafe-inline&#x27;", "")
    assert not re.search(r'(src|href)="(https?:)?//', text)


def test_equal_results_give_equal_pages(run):
    assert html(page_of([run])) == html(page_of([run]))


def test_a_page_is_written_whole(run, tmp_path):
    result = invoke("report", run, "-o", tmp_path / "new" / "page.html")
    assert result.exit_code == 0, result.stderr
    text = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert text.endswith("</html>\n")


def damaged(run, tmp_path, name, text):
    folder = tmp_path / "damaged"
    shutil.copytree(run, folder)
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("name", ["results.json", "layers.csv", "run.yaml", "run_info.json"])
def test_a_damaged_folder_is_named(run, tmp_path, name):
    folder = damaged(run, tmp_path, name, "{")
    (tmp_path / "page.html").write_text("kept")
    result = invoke("report", folder, "-o", tmp_path / "page.html")
    assert (result.exit_code, result.stderr.split(":")[0]) == (2, str(folder / name))
    assert (tmp_path / "page.html").read_text() == "kept"


def test_rows_that_are_missing_are_noticed(run, tmp_path):
    """Their shares of the iteration add up to all of it."""
    lines = (run / "layers.csv").read_text().splitlines(keepends=True)
    folder = damaged(run, tmp_path, "layers.csv", "".join(lines[:-1]))
    for command in (("report", folder, "-o", tmp_path / "page.html"), ("plot", folder, "all"), ("plot", folder, "stalls")):
        result = invoke(*command)
        assert (result.exit_code, result.stderr.split(":")[0]) == (2, str(folder / "layers.csv"))
        assert "rows are missing" in result.stderr


def leaves(value, path=()):
    """Paths of all values in sections and in the first section of each list."""
    if isinstance(value, dict):
        return [place for key, below in value.items() for place in leaves(below, (*path, key))]
    return leaves(value[0], (*path, 0)) if isinstance(value, list) and value else [path]


def test_every_value_replaced_is_shown_or_refused(run, tmp_path, monkeypatch):
    folder, inputs = tmp_path / "run", read_inputs(str(run / "run.yaml"), None)
    shutil.copytree(run, folder)
    monkeypatch.setattr(run_page, "read_inputs", lambda *_: inputs)
    outcomes = Counter()
    for name in ("results.json", "run_info.json"):
        whole = (run / name).read_text()
        for path in leaves(json.loads(whole)):
            for wrong in (None, "text", 10**9, [3]):
                content = json.loads(whole)
                at = content
                for key in path[:-1]:
                    at = at[key]
                at[path[-1]] = wrong
                (folder / name).write_text(json.dumps(content))
                try:
                    html(page_of([folder]))
                    outcomes["shown"] += 1
                except InputError:
                    outcomes["refused"] += 1
        (folder / name).write_text(whole)
    assert min(outcomes["shown"], outcomes["refused"]) > 50


def test_what_cannot_be_shown_is_named(run, tmp_path):
    assert invoke("report", tmp_path, "-o", tmp_path / "p.html").stderr == (
        f"{tmp_path}: holds neither results.json of a run nor points.db of an exploration\n"
    )
    assert invoke("report", tmp_path / "no", "-o", tmp_path / "p.html").stderr == f"{tmp_path / 'no'}: no such folder\n"
    assert invoke("report", *[run] * 9, "-o", tmp_path / "p.html").stderr == "DIR: 9 results; a page compares at most 8\n"
    assert not (tmp_path / "p.html").exists()


@pytest.mark.parametrize("place", ["run.yaml", "", "layers.csv/page.html"])
def test_a_page_is_not_written_over_what_it_is_of(run, tmp_path, place):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = invoke("report", folder, "-o", folder / place)
    assert (result.exit_code, str(folder / place.split("/")[0]) in result.stderr, "-o" in result.stderr) == (2, True, True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_series_that_is_damaged_or_of_another_run_is_named(run, sampled, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    for content, said in ((b"PK", "damaged"), ((sampled / "series.npz").read_bytes(), "is of another run than results.json beside it")):
        (folder / "series.npz").write_bytes(content)
        result = invoke("report", folder, "-o", tmp_path / "page.html")
        assert (result.exit_code, result.stderr.startswith(f"{folder / 'series.npz'}: {said}")) == (2, True)
        assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("most", [7, 500])
def test_samples_that_are_joined_keep_their_sums(sampled, monkeypatch, most):
    monkeypatch.setattr(series_rows, "MOST_SAMPLES", most)
    result, series = read_results(sampled), read_series(sampled)
    samples = series_rows.samples_of(result, series)
    assert len(samples.edges_ms) <= most + 1
    assert samples.edges_ms[-1] == pytest.approx(result.summary.number("time_ms"))
    lengths = np.diff(samples.edges_ms) * 1e6  # GB/s over 1 ns: bytes
    for way in ("read", "write"):
        moved = sum((band.values * lengths).sum() for band in samples.traffic if band.key.startswith(way))
        assert moved == pytest.approx(result.summary.number(f"dram_{way}_bytes"))
    assert sum(band.values for band in samples.causes) == pytest.approx(np.full(len(lengths), 100))
    most_held = series.arrays["held_bytes"].sum(2).max(axis=0) / 1024
    shown = [max(sum(band.values for band in bands), default=0) for bands in samples.held.values()]
    assert shown == pytest.approx(most_held.tolist())
    rows = series_rows.sample_rows(samples, page_rows(result, TINY))
    assert {row["layer"] for row in rows} <= {row.layer for row in result.layers}


def test_it_is_written_or_served(run, tmp_path):
    for options in ([], ["--serve", "-o", tmp_path / "page.html"]):
        result = invoke("report", run, *options)
        assert (result.exit_code, result.stderr.startswith("-o: ")) == (2, True)


def test_a_missing_extra_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    monkeypatch.setattr("etasim.report.extras.find_spec", lambda name: None)
    result = invoke("report", run, "-o", tmp_path / "page.html")
    assert (result.exit_code, result.stderr) == (
        2, "vl_convert:1: is not installed; it comes with: pip install 'etasim[report]'\n"
    )  # fmt: skip


@pytest.fixture
def served(tmp_path):
    """A page of a folder that is still empty, and what asks its server."""
    server = serving.server_of(serving.LivePage([tmp_path], False), 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def ask(path="/", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        found = answer.status, answer.read().decode()
        connection.close()
        return found

    yield ask, server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_served_page_follows_what_appears(served, run, tmp_path):
    ask, server = served
    assert server.server_address[0] == "127.0.0.1"
    assert "Nothing to show yet" in ask()[1]
    before = ask("/state")
    for path in run.iterdir():
        shutil.copy(path, tmp_path)
    assert ask("/state") != before
    assert "digits_cnn on eta_vc709" in ask()[1]


def test_nobody_else_is_served(served):
    ask, server = served
    assert ask(Host=f"evil.example:{server.server_port}")[0] == 403
    assert ask("/../etc/passwd")[0] == 404
    assert ask(Host=f"localhost:{server.server_port}")[0] == 200


def test_a_port_that_is_taken_is_named(served, tmp_path):
    with pytest.raises(InputError, match=r"--port: .* cannot be used"):
        serving.server_of(serving.LivePage([tmp_path], False), served[1].server_port)
    assert invoke("report", tmp_path / "no", "--serve").stderr == f"{tmp_path / 'no'}: no such folder\n"


def test_an_estimate_is_called_one_in_every_title(tmp_path):
    write_results(simulate(architecture(), TINY, fidelity="analytical"), tmp_path, {"wall_seconds": 1.0, "versions": {"etasim": "0"}})
    page = html(page_of([tmp_path]))
    for tag in ("title", "h1", "strong"):
        titles = re.findall(rf"<{tag}\b[^>]*>([^<]*)<", page)
        assert titles
        assert all(", analytical estimate" in title for title in titles), tag
