"""A sweep that is resumed knows its rows by the contents of their inputs, and loses none unasked."""

from pathlib import Path

import pytest

import etasim
from etasim import machine
from etasim.config import InputError
from etasim.explore.calibrate import calibrate
from etasim.explore.calibration_space import load_calibration
from etasim.explore.points import read_points
from etasim.report.staging import reserved_folder

NETWORK = """\
name: tiny
input: {channels: 3, height: 8, width: 8}
classes: 10
layers:
  - {name: conv1, op: conv, out_channels: 8, kernel: 3, padding: 1}
  - {name: fc, op: linear, out_channels: 10}
"""
SWEEP = """\
architecture: arch.yaml
networks: [net.yaml]
batch: [1, 2]
axes:
  - {name: clock, key: core.clock, values: [100 MHz, 200 MHz]}
  - {name: part, key: dram.part, values: [PART]}
"""
CALIBRATION = """\
architecture: arch.yaml
networks: [net.yaml]
tolerance_percent: 5
alone:
  - {name: clock, key: core.clock, values: [100 MHz, 200 MHz], reason: a test}
"""
N_POINTS = 4
EDITS = {
    "the architecture": ("arch.yaml", "pipeline_depth: 4", "pipeline_depth: 5"),
    "what it extends": ("base.yaml", "queue_depth: 2 ", "queue_depth: 3 "),
    "the network": ("net.yaml", "out_channels: 8", "out_channels: 16"),
    "the DRAM part that an axis names": ("part.yaml", "CL: 11", "CL: 12"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A sweep whose inputs are files beside it; estimates stand in for simulations, and are counted."""
    configs = Path(etasim.__file__).parents[1] / "configs"
    (tmp_path / "base.yaml").write_text((configs / "eta_small.yaml").read_text())
    (tmp_path / "part.yaml").write_text((configs / "dram" / "ddr3_1600k_4gb_x8.yaml").read_text())
    (tmp_path / "arch.yaml").write_text("extends: base.yaml\nunified_core: {pipeline_depth: 4}\n")
    (tmp_path / "net.yaml").write_text(NETWORK)
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace("PART", str(tmp_path / "part.yaml")))
    (tmp_path / "space.yaml").write_text(CALIBRATION)
    return tmp_path


@pytest.fixture
def simulated(monkeypatch):
    """(clock, batch) of every simulation so far."""
    done, simulate = [], machine.simulate_inputs

    def estimate(inputs, watching):
        done.append((inputs.architecture.core.clock_hz, inputs.batch))
        return simulate(inputs._replace(fidelity="analytical"), watching)

    monkeypatch.setattr(machine, "simulate_inputs", estimate)
    return done


def edit(folder, file, old, new):
    text = (folder / file).read_text()
    assert old in text, f"{file} has changed: this test edits {old!r}"
    (folder / file).write_text(text.replace(old, new))


def sweep(folder, **options):
    return etasim.sweep(folder / "sweep.yaml", folder / "out", workers=1, **options)


def timeless(rows):
    return sorted(([item for item in row.items() if item[0] != "wall_seconds"] for row in rows), key=str)


@pytest.mark.parametrize("what", EDITS)
def test_rows_of_inputs_that_have_changed_are_named_and_replaced_when_asked(folder, simulated, what):
    sweep(folder)
    before = (folder / "out/points.csv").read_bytes()
    edit(folder, *EDITS[what])
    with pytest.raises(InputError, match=rf"{N_POINTS} of {N_POINTS} rows were simulated from other inputs.*clock=100 MHz.*--overwrite"):
        sweep(folder, resume=True)
    assert (folder / "out/points.csv").read_bytes() == before
    assert len(simulated) == N_POINTS
    rows = sweep(folder, resume=True, overwrite=True)
    assert len(simulated) == 2 * N_POINTS
    assert timeless(rows) == timeless(etasim.sweep(folder / "sweep.yaml", folder / "fresh", workers=1))
    assert rows == read_points(folder / "out/points.csv")


def test_only_what_has_changed_is_simulated_again(folder, simulated):
    first = {(row["core.clock"], row["batch"]): row for row in sweep(folder)}
    edit(folder, "sweep.yaml", "200 MHz", "150 MHz")
    with pytest.raises(InputError, match=f"2 of {N_POINTS} rows were simulated from other inputs"):
        sweep(folder, resume=True)
    simulated.clear()
    rows = {(row["core.clock"], row["batch"]): row for row in sweep(folder, resume=True, overwrite=True)}
    assert simulated == [(150_000_000, 1), (150_000_000, 2)]
    for batch in (1, 2):
        assert rows["100 MHz", batch] == first["100 MHz", batch], "kept, wall time included"


def test_a_comment_a_new_value_and_another_label_are_no_reason_to_repeat(folder, simulated):
    sweep(folder)
    edit(folder, "arch.yaml", "extends", "# nothing\nextends")
    edit(folder, "sweep.yaml", "name: clock", "name: frequency")
    edit(folder, "sweep.yaml", "200 MHz]", "200 MHz, 150 MHz]")
    simulated.clear()
    rows = sweep(folder, resume=True)
    assert simulated == [(150_000_000, 1), (150_000_000, 2)]
    assert all(row["label"].startswith("frequency=") for row in rows)


def test_a_sweep_is_begun_anew_when_asked(folder, simulated):
    sweep(folder)
    with pytest.raises(InputError, match=r"exists; --resume continues that sweep.*--overwrite starts anew here"):
        sweep(folder)
    assert len(sweep(folder, overwrite=True)) == N_POINTS
    assert len(simulated) == 2 * N_POINTS


def test_a_table_without_rows_is_no_sweep_to_lose(folder, simulated, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(machine, "simulate_inputs", stop)
        with pytest.raises(KeyboardInterrupt):
            sweep(folder)
    assert read_points(folder / "out/points.csv") == []
    assert len(sweep(folder)) == N_POINTS


def test_a_table_has_one_writer_at_a_time(folder, simulated):
    with reserved_folder(folder / "out"), pytest.raises(InputError, match="another etasim is writing into it"):
        sweep(folder)
    assert simulated == []


def test_a_calibration_notices_what_has_changed_too(folder, simulated):
    edit(folder, "net.yaml", "name: tiny", "name: resnet20_cifar")

    def run(n_simulated, **options):
        options = {"resume": True} | options
        space = load_calibration(folder / "space.yaml")
        return calibrate(space, folder / "out", n_simulated, 1, options.pop("resume"), *[lambda row: None] * 2, **options)

    first = run(3, resume=False)
    assert first["n_screened"] == 3
    simulated.clear()
    run(1)
    assert simulated == [], "fewer machines than before are no reason to refuse those that are there"
    edit(folder, *EDITS["what it extends"])
    with pytest.raises(InputError, match=r"screen.points\.csv:1: 3 of 3 rows were simulated from other inputs"):
        run(3)
    assert simulated == []
    run(3, overwrite=True)
    assert len(simulated) >= 4

