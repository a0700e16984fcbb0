"""Result folders whose files are not what etasim writes: one clear error each, never a traceback, never a wrong picture."""

import copy
import json
import os
from random import Random

import pytest
from matplotlib import pyplot
from rich.console import Console
from run_results import make_result

from etasim.cli import main
from etasim.config import InputError
from etasim.core.registry import PICTURES
from etasim.report.reading import MOST_PROBLEMS, read_results
from etasim.report.run_info import run_info
from etasim.report.store import LAYERS, RESULTS, write_results
from etasim.report.tables import report

WRONG = (None, True, -1, 0, 10**400, float("inf"), "x", [], {}, [[[]]], {"a": {"b": 1}})


@pytest.fixture
def folder(tmp_path):
    result = make_result("digits_cnn", "eta_small")
    write_results(result, tmp_path / "out", run_info(result, 1.0))
    return tmp_path / "out"


def leaves(value, path=()):
    """Paths of everything below ``value``, sections and lists included."""
    yield path
    if isinstance(value, (dict, list)):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(below, (*path, key))


def replaced(data, path, value):
    """``data`` with ``value`` at ``path``."""
    if not path:
        return value
    changed = copy.copy(data)
    changed[path[0]] = replaced(data[path[0]], path[1:], value)
    return changed


def attempt(function, *arguments):
    """(what ``function`` returns, nothing), or (nothing, the InputError that it raises)."""
    try:
        return function(*arguments), None
    except InputError as error:
        return None, error


def test_every_value_replaced_by_every_kind_is_read_or_refused(folder):
    """What is read can be printed, and drawn."""
    data, random = json.loads((folder / RESULTS).read_text()), Random(1)
    pairs = [(path, value) for path in leaves(data) for value in WRONG]
    read, refused = [], []
    for path, value in random.sample(pairs, 500):
        (folder / RESULTS).write_text(json.dumps(replaced(data, path, value)))
        result, error = attempt(read_results, folder)
        (refused if error else read).append(error or result)
    assert len(refused) > 100
    assert len(read) > 20
    assert all(0 < len(error.problems) <= MOST_PROBLEMS for error in refused)
    with open(os.devnull, "w") as nowhere:
        for result in random.sample(read, 20):
            Console(file=nowhere).print(report(result))
    for result, kind in zip(random.sample(read, 6), ("bandwidth", "noc") * 3, strict=True):
        _, error = attempt(PICTURES[kind], result)
        assert error is None or "nothing to draw" in str(error)
        pyplot.close("all")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "results.json:1: damaged: nested more than 32 deep"),
        ('{"a":' * 100_000, "results.json:1: damaged: nested more than 32 deep"),
        ('{"schema_version": ' + "9" * 5000 + "}", "results.json:1: damaged: "),
        ('{"schema_version": NaN}', "results.json:1: damaged: NaN is no number"),
        ("", "results.json:1: damaged: Expecting value"),
        ("[]", "schema_version: is None; this version of etasim reads 1"),
        ('{"schema_version": [[1]]}', "schema_version: is [[1]]; this version"),
        ('{"schema_version": 1, "summary": 3}', "summary: must be a section, got 3"),
        ('{"schema_version": 1, "fidelity": "cycles"}', "fidelity: unknown name 'cycles'; allowed: analytical, cycle; did you mean"),
    ],
    ids=range(9),
)
@pytest.mark.parametrize("kind", ["stalls"])
def test_the_command_line_refuses_in_one_line_each_with_status_2(folder, text, message, kind, capsys):
    (folder / RESULTS).write_text(text)
    with pytest.raises(SystemExit) as end:
        main(["plot", str(folder), kind])
    told = capsys.readouterr().err
    assert end.value.code == 2
    assert message in told
    assert "Traceback" not in told
    assert not (folder / f"{kind}.png").exists()


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("macs", "x", "macs must be a number, got 'x'"),
        ("macs", "", "macs is missing"),
        ("cycles", "-1", "cycles must be a number, finite and not negative, got '-1'"),
        ("utilization", "nan", "utilization must be a number, finite and not negative, got 'nan'"),
        ("phase", "fp", "unknown phase 'fp'"),
        ("cycles", "9" * 5000, "cycles must be a number"),
        ("cycles", "1.5", "cycles must be a whole number, got '1.5'"),
    ],
)
def test_a_wrong_cell_is_named_with_its_line(folder, column, cell, message):
    lines = (folder / LAYERS).read_text().splitlines()
    cells = lines[2].split(",")
    cells[lines[0].split(",").index(column)] = cell
    (folder / LAYERS).write_text("\n".join([*lines[:2], ",".join(cells), *lines[3:], ""]))
    with pytest.raises(InputError) as refused:
        read_results(folder)
    assert f"layers.csv:3: damaged: {message}" in str(refused.value)


@pytest.mark.parametrize("name", [RESULTS, LAYERS])
def test_only_regular_files_are_read(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(InputError, match="cannot be read: not a regular file"):
        read_results(folder)
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    with pytest.raises(InputError, match="cannot be read: not a regular file"):
        read_results(folder)


def test_a_link_of_a_router_that_is_not_there_is_refused(folder):
    data = json.loads((folder / RESULTS).read_text())
    data["components"]["noc_link"][0]["router"] = 99
    (folder / RESULTS).write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"components.noc_link\[0\].router: there is no router 99"):
        read_results(folder)


def test_the_fidelity_is_read_back(folder):
    assert read_results(folder).fidelity == "cycle"
    result = make_result(analytical=True)
    write_results(result, folder, run_info(result, 1.0), force=True)
    assert read_results(folder).is_estimate
