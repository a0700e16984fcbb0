import json
from pathlib import Path

import pytest
from command_line import invoke
from run_results import simulate

import etasim
from etasim import machine
from etasim.config import InputError
from etasim.explore.points import columns, metric_columns, read_points
from etasim.explore.space import load_space
from etasim.mapping import InfeasibleError

SWEEP = """\
architecture: eta_small
networks: [resnet20_cifar]
batch: [1, 2]
phases: [ff, wg]
set: {noc.columns: auto, noc.rows: auto, noc.placement: auto}
axes:
  - name: array
    keys: [array.clusters, array.lanes]
    values: [[1, 4], [2, 4], [0, 4]]
  - name: clock
    key: core.clock
    values: [100 MHz, 200 MHz]
"""


@pytest.fixture
def sweep_file(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "simulate_inputs", simulate)
    monkeypatch.setattr(machine, "start_compiling", lambda: False)
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    return path


def problems_of(path, text):
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_space(path)
    return [f"{problem.line}: {problem.key}: {problem.message}" for problem in caught.value.problems]


def test_the_space_is_the_product_of_axes_networks_and_batches(sweep_file):
    space = load_space(sweep_file)
    assert space.keys == ("array.clusters", "array.lanes", "core.clock")
    assert len(space.points) == 3 * 2 * 2
    assert len({point.point_id for point in space.points}) == 12
    first = space.points[0]
    assert (first.label, first.batch, first.phases) == ("array=1x4, clock=100 MHz", 1, ("ff", "wg"))
    assert first.inputs.architecture.array.clusters == 1
    assert first.inputs.architecture.core.clock_hz == 100_000_000


def test_an_impossible_combination_is_a_point_with_a_reason(sweep_file):
    impossible = [point for point in load_space(sweep_file).points if point.inputs is None]
    assert len(impossible) == 4
    assert "array.clusters: must be at least 1" in impossible[0].reason


def test_identity_depends_on_the_inputs_only(sweep_file):
    before = [point.point_id for point in load_space(sweep_file).points]
    sweep_file.write_text(SWEEP.replace("name: clock", "name: frequency"))
    assert [point.point_id for point in load_space(sweep_file).points] == before
    sweep_file.write_text(SWEEP.replace("100 MHz", "110 MHz"))
    assert len(set(before) & {point.point_id for point in load_space(sweep_file).points}) == 6


def test_an_axis_is_called_as_its_key_unless_it_has_a_name(sweep_file):
    named = [point.label for point in load_space(sweep_file).points]
    sweep_file.write_text(SWEEP.replace("  - name: clock\n    key:", "  - key:"))
    assert [point.label for point in load_space(sweep_file).points] == [label.replace("clock=", "core.clock=") for label in named]


def test_the_shipped_sweep_has_the_reference_machine_in_it():
    sizes = [point.inputs.architecture.array.macs_per_cycle for point in load_space("pe_array").points]
    assert len(sizes) >= 10
    assert min(sizes) < 2048 < max(sizes)
    assert sizes.count(2048) >= 3


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("axes:", "axis:", "6: axis: unknown key; allowed: architecture, axes, batch, networks, phases, set; did you mean 'axes'?"),
        ("eta_small", "eta_smal", "1: architecture: 'eta_smal': no such file or shipped name"),
        ("resnet20_cifar", "resnet20", "2: networks[0]: 'resnet20': no such file or shipped name"),
        ("[1, 2]", "0", "3: batch[0]: must be at least 1, got 0"),
        ("[ff, wg]", "[ff, gw]", "4: phases: unknown phase 'gw'"),
        ("noc.rows", "noc.row", "5: set.noc.row: 'noc.row' is not a key of the architecture; did you mean 'noc.rows'?"),
        ("array.lanes", "array.lane", "8: axes[0].keys[1]: 'array.lane' is not a key of the architecture; did you mean 'array.lanes'?"),
        ("[2, 4]", "[2]", "9: axes[0].values[1]: must be a list of 2 entries"),
        ("name: clock", "name: array", "10: axes[1].name: 'array' names 2 axes"),
        ("key: core.clock", "key: array.lanes", "11: axes[1].key: 'array.lanes' is already set above"),
        ("    key: core.clock\n", "", "10: axes[1]: needs either key"),
        ("[100 MHz, 200 MHz]", "[]", "12: axes[1].values: must have at least 1 entry"),
    ],
)
def test_mistakes_are_reported_with_their_line(sweep_file, old, new, expected):
    assert any(problem.startswith(expected) for problem in problems_of(sweep_file, SWEEP.replace(old, new))), problems_of(
        sweep_file, SWEEP.replace(old, new)
    )


def test_keys_that_an_architecture_may_leave_out_can_be_swept(sweep_file):
    sweep_file.write_text(SWEEP.replace("core.clock", "dram.timing_clocks.CL").replace("[100 MHz, 200 MHz]", "[11, 13]"))
    latencies = {point.inputs.architecture.dram.part.timing_clocks.CL for point in load_space(sweep_file).points if point.inputs}
    assert latencies == {11, 13}


def test_all_mistakes_are_reported_at_once(sweep_file):
    text = SWEEP.replace("eta_small", "nothing").replace("resnet20_cifar", "none").replace("[ff, wg]", "[xx]")
    assert len(problems_of(sweep_file, text)) == 3


def test_every_point_has_a_row(sweep_file, tmp_path):
    rows = etasim.sweep(sweep_file, tmp_path / "out", workers=1)
    assert rows == read_points(tmp_path / "out" / "points.csv")
    assert [row["status"] for row in rows].count("infeasible") == 4
    fine = [row for row in rows if row["status"] == "ok"]
    assert len(fine) == 8
    assert all(row["throughput_gops"] > 0 for row in fine)
    infeasible = next(row for row in rows if row["status"] == "infeasible")
    assert infeasible["throughput_gops"] is None
    assert "must be at least 1" in infeasible["reason"]
    assert (tmp_path / "out" / "points.csv").read_text().startswith(",".join(columns(load_space(sweep_file).keys)))


def test_rows_do_not_depend_on_the_run(sweep_file, tmp_path):
    first, second = (etasim.sweep(sweep_file, tmp_path / name, workers=1) for name in "ab")
    timeless = [[{name: value for name, value in row.items() if name != "wall_seconds"} for row in rows] for rows in (first, second)]
    assert timeless[0] == timeless[1]


def test_resume_repeats_nothing_that_is_finished(sweep_file, tmp_path, monkeypatch):
    simulated = []

    def stop_after_three(*arguments, **options):
        if len(simulated) == 3:
            raise KeyboardInterrupt
        simulated.append(1)
        return simulate(*arguments, **options)

    monkeypatch.setattr(machine, "simulate_inputs", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        etasim.sweep(sweep_file, tmp_path / "out", workers=1)
    path = tmp_path / "out" / "points.csv"
    assert len(read_points(path)) == 4 + 3
    path.write_bytes(path.read_bytes()[:-10])
    assert len(read_points(path)) == 4 + 2
    again = []
    monkeypatch.setattr(machine, "simulate_inputs", lambda *arguments, **options: again.append(1) or simulate(*arguments, **options))
    rows = etasim.sweep(sweep_file, tmp_path / "out", workers=1, resume=True)
    assert len(again) == 8 - 2
    assert len(rows) == len({row["point_id"] for row in rows}) == 12
    assert rows == read_points(path)


def test_failed_points_are_tried_again(sweep_file, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise machine.errors.DeadlockError("stuck\nat cycle 7")

    monkeypatch.setattr(machine, "simulate_inputs", fail)
    rows = etasim.sweep(sweep_file, tmp_path / "out", workers=1)
    assert {row["reason"] for row in rows if row["status"] == "failed"} == {"DeadlockError: stuck"}
    monkeypatch.setattr(machine, "simulate_inputs", simulate)
    rows = etasim.sweep(sweep_file, tmp_path / "out", workers=1, resume=True)
    assert sorted({row["status"] for row in rows}) == ["infeasible", "ok"]
    assert len(rows) == 12


def test_a_machine_that_cannot_run_the_network_is_infeasible(sweep_file, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise InfeasibleError("conv1 ff: a tile fits no buffer")

    monkeypatch.setattr(machine, "simulate_inputs", refuse)
    rows = etasim.sweep(sweep_file, tmp_path / "out", workers=1)
    assert {row["status"] for row in rows} == {"infeasible"}
    assert "conv1 ff: a tile fits no buffer" in {row["reason"] for row in rows}


def test_finished_rows_are_never_overwritten_by_accident(sweep_file, tmp_path):
    etasim.sweep(sweep_file, tmp_path / "out", workers=1)
    with pytest.raises(InputError, match="exists; --resume continues"):
        etasim.sweep(sweep_file, tmp_path / "out", workers=1)
    sweep_file.write_text(SWEEP.replace("core.clock", "array.columns").replace("[100 MHz, 200 MHz]", "[2, 4]"))
    with pytest.raises(InputError, match="belongs to a sweep over other keys"):
        etasim.sweep(sweep_file, tmp_path / "out", workers=1, resume=True)


@pytest.mark.parametrize("damage", [b"point_id,label\n", b"", b"\xff\xfe"])
def test_a_damaged_table_is_named(sweep_file, tmp_path, damage):
    (tmp_path / "points.csv").write_bytes(damage)
    with pytest.raises(InputError, match=r"points.csv:1: damaged"):
        etasim.sweep(sweep_file, tmp_path, workers=1, resume=True)


def test_the_command_line_sweeps_and_draws(sweep_file, tmp_path):
    out = tmp_path / "out"
    result = invoke("sweep", str(sweep_file), "--out", str(out), "--workers", "1")
    assert result.exit_code == 0, result.output
    assert "array=2x4, clock=200 MHz" in result.stdout
    assert "infeasible: array.clusters" in result.stdout
    for options in ([], ["-y", "dram_read_bytes", "-o", str(tmp_path / "traffic.svg")]):
        drawn = invoke("plot", str(out), "pareto", *options)
        assert drawn.exit_code == 0, drawn.output
        assert Path(drawn.stdout.strip()).stat().st_size > 5000


def test_pareto_needs_metrics_that_have_a_better_direction(sweep_file, tmp_path):
    etasim.sweep(sweep_file, tmp_path / "out", workers=1)
    result = invoke("plot", str(tmp_path / "out"), "pareto", "-x", "phases", "-y", "throughput")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 2
    assert "did you mean 'throughput_gops'?" in result.stderr
    unknown = invoke("plot", str(tmp_path / "out"), "pareto", "-y", "energy_mj")
    assert unknown.exit_code == 2
    assert "no finished point has both mac_units and energy_mj" in unknown.stderr


def test_metric_columns_are_those_of_results_json(sweep_file, tmp_path):
    row = etasim.sweep(sweep_file, tmp_path / "out", workers=1)[-1]
    assert set(metric_columns()) < set(row)
    assert json.loads(json.dumps(row)) == row
