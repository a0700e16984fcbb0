"""What only the mapping finds is reported where the user can mend it: the layer's line of the trace, the key's line of the architecture."""

import pytest
from command_line import invoke

from etasim.config import shipped

TRACE = "name: t\ninput: {channels: 4, height: 8, width: 8}\nclasses: 3\nlayers:\n  - {name: c, op: conv, out_channels: 4, kernel: 3}\n"
TRACE += "  - {name: p, op: maxpool, kernel: 6}\n  - {name: fc, op: linear, out_channels: 3}\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.yaml").write_text(TRACE)

    def estimate(*arguments):
        return invoke("run", *arguments, "--fidelity", "analytical", "--out", "a")

    return estimate


def test_a_layer_that_fits_no_tiling_has_its_line_and_the_option_mends_it(run, tmp_path):
    result = run("eta_small", "t.yaml", "--set", "array.stationary_scratchpad=2 B")
    assert result.exit_code == 2
    *reasons, mend = result.stderr.splitlines()
    assert reasons[0].startswith("t.yaml:5: layers[0]: c (ff): fits no tiling: array.stationary_scratchpad must hold ")
    assert {reason.split(": ")[0] for reason in reasons} == {"t.yaml:5", "t.yaml:7"}
    prefix, _, change = mend.partition("--set ")
    assert prefix == "eta_small: it would fit with "
    assert run("eta_small", "t.yaml", "--set", change.strip("'")).exit_code == 0


@pytest.mark.parametrize(("overrides", "place"), [((), "own.yaml:3: array.lanes"), (("array.lanes=3",), "--set:1: array.lanes")])
def test_a_key_has_its_line(run, tmp_path, overrides, place):
    (tmp_path / "own.yaml").write_text("extends: eta_small\narray:\n  lanes: 4\n")
    result = run("own.yaml", "t.yaml", *(part for text in overrides for part in ("--set", text)))
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"{place}: array.lanes = ")
    assert lines[-1].startswith("own.yaml: it would fit with --set array.lanes=")


def test_the_run_yaml_of_an_earlier_run_has_its_own_lines(run, tmp_path):
    assert run("eta_small", "t.yaml").exit_code == 0
    text = (tmp_path / "a" / "run.yaml").read_text()
    (tmp_path / "small.yaml").write_text(text.replace("size: 16 KiB", "size: 64 B"))
    result = run("small.yaml", "--force")
    assert result.exit_code == 2
    line = 1 + next(i for i, row in enumerate(text.splitlines()) if "name: c," in row)
    assert result.stderr.startswith(f"small.yaml:{line}: network.layers[0]: c (wg): fits no tiling: buffers.")


def test_shipped_names_have_the_path_of_their_file(run):
    result = run("eta_small", "t.yaml", "--set", "array.columns=3")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{shipped('configs', 'eta_small')}:")
