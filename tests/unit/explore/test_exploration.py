"""Explorations: the same whatever the workers and interruptions, every evaluation on disk once, nothing mixed."""

import csv
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import deque
from functools import partial
from pathlib import Path

import pytest
from command_line import invoke

import etasim
from etasim.config import InputError
from etasim.explore.assess import assess
from etasim.explore.database import DATABASE, Evaluations, Recorder, Search, columns
from etasim.explore.exploration import SearchPlan, explore, promising, run_exploration
from etasim.explore.pareto import pareto_front
from etasim.explore.points import read_points
from etasim.explore.scores import directions, joined, joins_networks, scores
from etasim.explore.space_file import Objective
from etasim.explore.space_reading import load_design_space, restored_space
from etasim.explore.workers import Workers

SPACE = """\
architecture: eta_vc709
networks: [digits_cnn]
batch: [1, 2]
set: {noc.columns: auto, noc.rows: auto, noc.placement: auto}
axes:
  - {key: array.clusters, range: {from: 1, to: 4}}
  - {key: array.lanes, powers_of_two: {from: 4, to: 16}}
  - {key: unified_core.lanes, values: [8, 24]}
constraints: [fits_board, dsp <= 1000]
objectives:
  - {metric: throughput_gops, direction: maximize}
  - {metric: dsp, direction: minimize}
fidelity: analytical
"""


@pytest.fixture
def space_file(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


def table(folder):
    """points.csv but for the seconds that evaluations took."""
    with (Path(folder) / "points.csv").open(newline="") as file:
        return [{name: cell for name, cell in row.items() if name != "wall_seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The whole grid, undisturbed, by one worker."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "space.yaml").write_text(SPACE)
    explore(folder / "space.yaml", folder / "out", workers=1)
    return folder / "out"


def test_a_grid_has_every_design_once(whole):
    rows = table(whole)
    assert [int(row["point"]) for row in rows] == list(range(4 * 3 * 2 * 2))
    assert {row["status"] for row in rows} == {"ok", "infeasible", "excluded"}
    assert all((row["throughput_gops"] != "") == (row["status"] == "ok") for row in rows)
    assert [row["array.lanes"] for row in rows[:9:4]] == ["4", "8", "16"]
    assert len(read_points(whole / "points.csv")) == len(rows), "etasim plot DIR pareto reads it"


def test_workers_make_no_difference(space_file, tmp_path, whole):
    explore(space_file, tmp_path / "out", workers=2)
    assert table(tmp_path / "out") == table(whole)


@pytest.mark.parametrize("method", ["random", "nsga2", "tpe"])
def test_a_search_is_the_same_for_a_seed_whatever_the_workers(space_file, tmp_path, method):
    if method != "random":
        pytest.importorskip("optuna")
    for name, workers, seed in (("a", 1, 3), ("b", 2, 3), ("c", 1, 4)):
        explore(space_file, tmp_path / name, method=method, budget=16, seed=seed, workers=workers)
    assert table(tmp_path / "a") == table(tmp_path / "b")
    assert table(tmp_path / "a") != table(tmp_path / "c")
    assert len(table(tmp_path / "a")) == 16


def test_values_are_those_of_the_grid(space_file, tmp_path, whole):
    explore(space_file, tmp_path / "out", method="random", budget=10, workers=1)
    by_id = {row["point_id"]: row for row in table(whole)}
    rows = table(tmp_path / "out")
    assert sorted(int(row["asked"]) for row in rows) == list(range(10))
    assert all(row == by_id[row["point_id"]] | {"asked": row["asked"]} for row in rows)


SCRIPT = """\
import sys
from etasim.explore.exploration import explore
if __name__ == "__main__":
    explore("space.yaml", "out", method=sys.argv[1], budget=int(sys.argv[2]), seed=5, workers=2, resume=True)
"""


def n_rows(folder):
    try:
        with Evaluations(folder) as evaluations:
            return sum(evaluations.count().values())
    except (InputError, OSError):
        return 0


@pytest.mark.parametrize("method", ["grid", "nsga2"])
def test_killed_three_times_and_resumed_it_is_as_if_undisturbed(tmp_path, method):
    if method != "grid":
        pytest.importorskip("optuna")
    source = random.Random(7)
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "run.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(etasim.__file__).resolve().parents[1])}
    command, budget = [sys.executable, "run.py", method], "40"
    for part in (1, 2, 3):
        process = subprocess.Popen([*command, budget], cwd=tmp_path, env=environment)
        deadline = time.monotonic() + 60
        while n_rows(tmp_path / "out") < 8 * part and process.poll() is None and time.monotonic() < deadline:
            time.sleep(source.uniform(0.005, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "out" / "points.csv").exists(), "it was killed before the end"
    found = n_rows(tmp_path / "out")
    assert found >= 20
    subprocess.run([*command, budget], cwd=tmp_path, env=environment, check=True)
    explore(tmp_path / "space.yaml", tmp_path / "undisturbed", method=method, budget=40, seed=5, workers=1)
    assert table(tmp_path / "out") == table(tmp_path / "undisturbed")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {DATABASE, "points.csv"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_on_a_signal_at_once_with_whole_rows(space_file, tmp_path, number):
    """Ctrl-C, and `kill`: status 128 + the signal, no worker left, and --resume goes on."""
    environment = os.environ | {"PYTHONPATH": str(Path(etasim.__file__).resolve().parents[1])}
    command = [sys.executable, "-m", "etasim", "explore", "space.yaml", "--out", "out", "--workers", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while n_rows(tmp_path / "out") < 6 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)  # workers would hold the pipes open
    assert process.returncode == 128 + number
    assert "finished results are kept" in told
    assert not (tmp_path / "out" / "points.csv").exists()
    assert n_rows(tmp_path / "out") >= 6
    with Evaluations(tmp_path / "out") as evaluations:
        assert {status for _, status in evaluations.count()} <= {"ok", "infeasible", "excluded"}
    subprocess.run([*command, "--resume"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    explore(space_file, tmp_path / "undisturbed", workers=1)
    assert table(tmp_path / "out") == table(tmp_path / "undisturbed")


def test_parquet_has_what_the_table_has(space_file, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    from etasim.explore.parquet import export_parquet

    with explore(space_file, tmp_path / "out", workers=1) as evaluations:
        found = parquet.read_table(export_parquet(evaluations))
        rows = list(evaluations.rows(columns(evaluations.space)))
    assert found.to_pylist() == [dict(row) for row in rows]
    assert str(found.schema.field("dsp").type) == "int64"
    assert str(found.schema.field("throughput_gops").type) == "double"


def test_parquet_without_its_package_says_what_to_install(space_file, tmp_path, monkeypatch):
    monkeypatch.setattr("etasim.report.extras.find_spec", lambda package: None)
    done = invoke("explore", space_file, "--out", tmp_path / "out", "--parquet")
    assert done.exit_code == 2
    assert "pip install 'etasim[parquet]'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_whoever_cannot_read_lets_go_of_the_file(tmp_path):
    """Or who writes would wait for it, and leave its journal behind."""
    writer = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE begun (name TEXT)")
    with pytest.raises(InputError) as kept, Evaluations(tmp_path):
        pass
    assert writer.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    writer.close()
    assert kept.value.problems


def test_nothing_is_evaluated_twice(space_file, tmp_path, whole):
    space = load_design_space(space_file)
    jobs = []

    def run(folder, **options):
        run_exploration(
            space, folder, SearchPlan(), Workers(lambda job, progress: jobs.append(job) or assess(space, job, progress), 1), **options
        )

    run(tmp_path / "out")
    assert len(jobs) == space.size
    run(tmp_path / "out", resume=True)
    assert len(jobs) == space.size
    run(tmp_path / "out", overwrite=True)
    assert len(jobs) == 2 * space.size
    assert table(tmp_path / "out") == table(whole)


REFUSED = [
    ({"resume": False}, SPACE, "exists; --resume goes on"),
    ({"resume": True}, SPACE.replace("dsp <= 1000", "dsp <= 900"), "belongs to another space"),
    ({"resume": True}, SPACE.replace("to: 4}", "to: 3}"), "belongs to another space"),
    ({"resume": True, "seed": 1}, SPACE, "a search by --method grid --seed 0"),
    ({"resume": True, "method": "random"}, SPACE, "a search by --method grid --seed 0"),
]


@pytest.mark.parametrize(("options", "text", "message"), REFUSED)
def test_what_belongs_to_another_exploration_is_not_mixed_in(space_file, tmp_path, options, text, message):
    explore(space_file, tmp_path / "out", budget=3, workers=1)
    before = (tmp_path / "out" / DATABASE).read_bytes()
    space_file.write_text(text)
    with pytest.raises(InputError, match=message):
        explore(space_file, tmp_path / "out", budget=3, workers=1, **options)
    assert (tmp_path / "out" / DATABASE).read_bytes() == before
    explore(space_file, tmp_path / "out", budget=2, workers=1, overwrite=True)
    assert len(table(tmp_path / "out")) == 2


def test_one_folder_has_one_writer_and_any_number_of_readers(space_file, tmp_path):
    space = load_design_space(space_file)
    with Recorder(tmp_path / "out", space, Search("grid", 0), resume=False) as recorder:
        with pytest.raises(InputError, match="another etasim is writing into it"):
            explore(space_file, tmp_path / "out", workers=1, resume=True)
        design = space.design(0)
        recorder.add([recorder.row(design, "digits_cnn", "cycle", {"status": "ok", "violation": 0.0, "throughput_gops": 5.5})])
        with Evaluations(tmp_path / "out") as reader:
            (row,) = reader.rows()
            assert (row["throughput_gops"], row["core_clock_hz"], row["array.clusters"]) == (5.5, None, 1)
            assert tuple(row) == columns(space)
            recorder.add([recorder.row(space.design(1), "digits_cnn", "cycle", {"status": "ok", "violation": 0.0})])
            assert reader.count() == {("cycle", "ok"): 2}
    assert [path.name for path in (tmp_path / "out").iterdir()] == [DATABASE]


def test_a_full_disk_is_said_and_loses_nothing(space_file, tmp_path):
    space = load_design_space(space_file)
    with Recorder(tmp_path / "out", space, Search("grid", 0), resume=False) as recorder:
        recorder._connection.execute("PRAGMA max_page_count = 30").fetchall()
        rows = (recorder.row(design, "digits_cnn", "cycle", {"status": "ok", "reason": "x" * 3000}) for design in space.designs())
        with pytest.raises(OSError, match="full") as caught:
            deque((recorder.add([row]) for row in rows), maxlen=0)
        added = sum(recorder.count().values())
        assert caught.value.filename == str(tmp_path / "out" / DATABASE)
        assert 0 < added < space.size
    assert n_rows(tmp_path / "out") == added


@pytest.mark.parametrize("content", [b"", b"no database", None])
def test_a_folder_without_an_exploration_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / DATABASE).write_bytes(content)
    with pytest.raises(InputError, match=r"holds no exploration|damaged|another version"), Evaluations(tmp_path):
        pass


def fragile(space, job, progress):
    """As `assess`, but some designs raise, die, or take too long."""
    if job.design.number == 4:
        raise ValueError("no luck")
    if job.design.number == 9:
        os._exit(3)
    if job.design.number == 13:
        time.sleep(600)
    return assess(space, job, progress)


def test_what_breaks_is_a_row_with_its_reason_and_the_rest_goes_on(space_file, tmp_path, whole):
    space = load_design_space(space_file)
    run_exploration(space, tmp_path / "out", SearchPlan(), Workers(partial(fragile, space), 2, timeout_s=20))
    failed = {int(row["point"]): row["reason"] for row in table(tmp_path / "out") if row["status"] == "failed"}
    assert failed == {4: "ValueError: no luck", 9: "the worker process ended with status 3", 13: "took longer than 20 s"}
    with Evaluations(tmp_path / "out") as evaluations:
        assert {score.number for score in scores(evaluations, "analytical") if score.status == "failed"} == set(failed)
    run_exploration(space, tmp_path / "out", SearchPlan(), Workers(partial(assess, space), 1), resume=True)
    assert table(tmp_path / "out") == table(whole)


def test_screening_verifies_the_front_of_the_estimate(tmp_path, whole):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE.replace("analytical", "screen"))
    with explore(path, tmp_path / "out", top=3, workers=1) as evaluations:
        assert {status for fidelity, status in evaluations.count() if fidelity == "cycle"} == {"ok"}
        verified = {score.number for score in scores(evaluations, "cycle")}
        feasible = [score for score in scores(evaluations, "analytical") if score.is_feasible]
        better = directions(evaluations.space.objectives)
        front = {feasible[i].number for i in pareto_front([score.known for score in feasible], better)}
        assert len(verified) == 3
        assert verified <= front
        assert set(promising(evaluations, len(front))) == front
        assert len(promising(evaluations, 10**6)) == len(feasible)
    analytical = [row for row in table(tmp_path / "out") if row["fidelity"] == "analytical"]
    assert [row["throughput_gops"] for row in analytical] == [row["throughput_gops"] for row in table(whole)]


def test_a_space_is_kept_beside_its_evaluations(space_file, tmp_path):
    space = load_design_space(space_file)
    explore(space_file, tmp_path / "out", budget=2, workers=1)
    space_file.unlink()
    with Evaluations(tmp_path / "out") as evaluations:
        assert evaluations.space.digest == space.digest
        assert list(evaluations.space.designs()) == list(space.designs())
    assert restored_space(space.kept()).base.architecture == space.base.architecture


def test_objectives_join_networks(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE.replace("[digits_cnn]", "[digits_cnn, resnet20_cifar]"))
    with explore(path, tmp_path / "out", budget=1, workers=1) as evaluations:
        rows = {row["network"]: row for row in evaluations.rows()}
        one, other = (rows[name]["throughput_gops"] for name in ("digits_cnn", "resnet20_cifar"))
        space, design = evaluations.space, evaluations.space.design(0)

        def value(metric="throughput_gops", **options):
            return joined(space, design, Objective(metric=metric, **{"direction": "maximize", **options}), rows)

        assert value() == pytest.approx((one * other) ** 0.5)
        assert value(aggregate="worst") == min(one, other)
        assert value(aggregate="worst", direction="minimize") == max(one, other)
        assert value(aggregate="weighted", weights={"digits_cnn": 3, "resnet20_cifar": 1}) == pytest.approx((3 * one + other) / 4)
        assert value("dsp / 2 + 0 * batch") == pytest.approx(rows["digits_cnn"]["dsp"] / 2)
        assert value("busy_share") is None, "the estimate does not know"
        told = {each.metric: joins_networks(space, each) for each in space.objectives}
        assert told == {"throughput_gops": True, "dsp": False}, "what a design takes is the same for all networks"
        assert value("1 / (dsp - dsp)") is None


def test_who_reads_at_the_end_does_not_spoil_it(space_file, tmp_path, monkeypatch):
    """A reader holds the store when its writer leaves: the rows are kept, and the journal is left to the last who closes."""
    monkeypatch.setattr("etasim.explore.database.BUSY_SECONDS", 0.2)
    folder = tmp_path / "out"
    explore(space_file, folder, method="random", budget=4, seed=1, workers=1)
    late = Evaluations(folder)
    with Recorder(folder, load_design_space(space_file), Search("random", 1), resume=True):
        late.__enter__()
        rows = late.rows()
        next(rows)
    assert len([*rows]) == 3
    late.__exit__(None, None, None)
    explore(space_file, folder, method="random", budget=6, seed=1, workers=1, resume=True)
    assert len(table(folder)) == 6
