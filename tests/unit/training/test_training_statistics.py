"""Schemes by layer, what rounding does to each tensor over time, exponents of several iterations, and where a NaN came from."""

import csv
from math import log10

import numpy as np
import pytest
from command_line import invoke

from etasim.config.errors import InputError
from etasim.numerics.format import data_format
from etasim.training.recipe import load_recipe

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from etasim.training import build_model, encode, load_scheme, loop, quantize_model  # noqa: E402
from etasim.training.exponents import PreviousExponent  # noqa: E402
from etasim.training.machine_scheme import has_machine  # noqa: E402
from etasim.training.quantizer import exponent_of, represent  # noqa: E402
from etasim.training.statistics import row_of  # noqa: E402

FEW = {"network": "resnet8_narrow", "scheme": "pint8", "batch": 16, "epochs": 1, "train_samples": 64, "test_samples": 32}
SCHEME = """
name: ends
activation: {format: pint8}
weight: {format: pint8}
error: {format: pint8}
layers:
  - {match: conv1, activation: {format: bfp16}, weight: {format: bfp16}}
  - {match: fc, weight: {format: fp32}, error: {format: bfp16}}
  - {match: "block1*", error: {format: mxint8}}
  - {match: "block1_1_conv2", error: {format: bfp6, rounding: stochastic}}
"""


@pytest.fixture
def ends(tmp_path):
    (tmp_path / "ends.yaml").write_text(SCHEME)
    return tmp_path / "ends.yaml"


def test_layers_have_the_formats_of_the_rules_that_fit_their_names(ends):
    model = quantize_model(build_model("resnet8_narrow"), load_scheme(ends))
    found = {rounding.name: rounding.format.name for rounding in model.roundings()}
    assert (found["conv1.weight"], found["conv1.output"], found["conv1.error"]) == ("bfp16", "bfp16", "pint8")
    assert ("fc.weight" in found, found["fc.error"]) == (False, "bfp16")
    assert (found["block1_1_conv1.error"], found["block1_1_conv2.error"]) == ("mxint8", "bfp6")
    assert {name for name in found.values()} == {"pint8", "bfp16", "mxint8", "bfp6"}
    assert not has_machine(load_scheme(ends))
    trainer = loop.Trainer(load_recipe(None, FEW | {"scheme": str(ends)}))
    assert 0 <= trainer.train_epoch(lambda progress: None)["test_accuracy"] <= 1


def test_a_rule_that_fits_no_layer_or_is_wrong_is_refused(ends):
    ends.write_text(SCHEME.replace("match: fc", "match: fcc").replace("{format: mxint8}", "{format: mxint9}"))
    with pytest.raises(InputError, match=r"ends.yaml:9: layers\[2\].error.format: unknown data format 'mxint9'.*did you mean 'mxint8'"):
        load_scheme(ends)
    ends.write_text(SCHEME.replace("match: fc", "match: fcc"))
    with pytest.raises(InputError, match=r"layers\[1\].match: 'fcc' fits no unit; allowed: .*did you mean 'fc'"):
        quantize_model(build_model("resnet8_narrow"), load_scheme(ends))


def test_figures_of_a_tensor_are_those_of_its_values():
    random = np.random.default_rng(0)
    x = torch.from_numpy((random.standard_normal(5000) * 2.0 ** random.integers(-12, 1, 5000)).astype(np.float32))
    for exponent in (exponent_of(x), -1):
        data = data_format("pint8")
        rounded = represent(x, data.code, exponent)
        row = row_of(x, rounded, exponent, data, 0)
        codes = encode(x, data.code, exponent).numpy()
        above = np.abs(x.numpy()) > 4032 / 4096 * 2.0**exponent
        assert row["saturated_share"] == above.mean()
        assert set(codes[above] & 127) <= {127}
        assert row["underflowed_share"] == ((codes == 0) & (x.numpy() != 0)).mean()
        noise = (x.double() - rounded.double()).square().sum()
        assert row["signal_to_noise_db"] == pytest.approx(10 * log10(float(x.double().square().sum() / noise)), rel=1e-5)
    nothing = row_of(torch.zeros(4), torch.zeros(4), 0, data_format("pint8"), 0)
    assert (nothing["signal_to_noise_db"], nothing["saturated_share"], nothing["greatest"]) == (None, 0, 0)
    block = torch.tensor([1.99, 0.5, -1.999, 0.0])
    row = row_of(block, torch.tensor([1.984375, 0.5, -1.984375, 0.0]), None, data_format("mxint8"), 0)
    assert (row["saturated_share"], row["underflowed_share"]) == (0.5, 0)


def test_a_run_writes_figures_and_goes_on_with_them(tmp_path):
    quick = ("train", "resnet8_narrow", "--train-samples", 64, "--test-samples", 32, "--batch", 16, "--threads", 1, "--statistics-every", 3)
    whole = invoke(*quick, "--epochs", 2, "--schedule", "constant", "--out", tmp_path / "a")
    assert whole.exit_code == 0, whole.stderr
    for epochs in (1, 2):
        assert invoke(*quick, "--epochs", epochs, "--schedule", "constant", "--out", tmp_path / "b", "--resume").exit_code == 0
    for name in ("statistics.csv", "metrics.csv", "state.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a/noise.png").stat().st_size > 5000
    rows = list(csv.DictReader((tmp_path / "a/statistics.csv").read_text().splitlines()))
    model = quantize_model(build_model("resnet8_narrow"), load_scheme("pint8"))
    assert {row["tensor"] for row in rows} == {rounding.name for rounding in model.roundings()}
    assert {row["iteration"] for row in rows} == {"3", "6"}
    assert {row["class"] for row in rows} == {"activation", "weight", "error", "weight_gradient", "sum"}
    assert all(0 <= float(row["saturated_share"]) < 0.05 for row in rows)
    codes = [float(row["signal_to_noise_db"]) for row in rows if row["class"] == "weight"]
    sums = [float(row["signal_to_noise_db"]) for row in rows if row["class"] == "sum" and row["signal_to_noise_db"]]
    assert min(sums) > max(codes) > 20
    plain = invoke(*quick[:-2], "--epochs", 2, "--schedule", "constant", "--out", tmp_path / "c")
    assert plain.exit_code == 0
    assert (tmp_path / "c/state.npz").read_bytes() == (tmp_path / "a/state.npz").read_bytes()


def test_an_exponent_of_several_iterations_is_the_greatest_of_them():
    source = PreviousExponent(1, 3)
    greatest = [1.0, 8.0, 0.0, 2.0, 1.0, 1.0, 1.0, 0.25]
    assert [source.next(torch.zeros(1), value) for value in greatest] == [0, 1, 4, 4, 4, 4, 2, 1]
    there = PreviousExponent(1, 3)
    assert [int(there.next(torch.zeros(1), torch.tensor(value))) for value in greatest] == [0, 1, 4, 4, 4, 4, 2, 1]
    assert there.state() == source.state() == {"previous": [-1, 1, 1]}
    again = PreviousExponent(1, 3)
    again.restore(source.state())
    assert again.next(torch.zeros(1), 16.0) == 1


def test_the_tensor_that_is_not_finite_is_named_with_what_it_was():
    trainer = loop.Trainer(load_recipe(None, FEW))
    trainer.train_epoch(lambda progress: None)
    layer = trainer.model.body.get_submodule("block2_1.conv1")
    before = float(layer.weight_boundary.forward_rounding.greatest_before)
    assert 0 < before < 10
    with torch.no_grad():
        layer.weight[0, 0, 0, 0] = float("inf")
    expected = rf"block2_1_conv1.weight: holds NaN or infinity first, in iteration 5 \(its greatest value was {before:.3g} when it was last"
    with pytest.raises(InputError, match=expected):
        trainer.train_epoch(lambda progress: None)
