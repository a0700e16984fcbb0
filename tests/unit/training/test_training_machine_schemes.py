"""Training schemes as keys of an architecture: `etasim run --scheme`, without torch."""

import pytest
from click.testing import CliRunner

from etasim import load_architecture, load_network, simulate
from etasim.cli import main
from etasim.config.errors import InputError
from etasim.training.machine_scheme import machine_keys, unlike, with_scheme
from etasim.training.scheme import load_scheme

NAMES = ("pint8", "bfp8", "dfx8", "int8", "fp8", "mxint8", "mxfp8")


@pytest.mark.parametrize("name", NAMES)
def test_every_8_bit_scheme_is_a_machine(name):
    scheme = load_scheme(name)
    machine = load_architecture("eta_small", with_scheme(name, ()))
    assert list(unlike(scheme, machine)) == []
    assert machine_keys(scheme)["data.activation"] == "8 bit"
    assert simulate(machine, load_network("digits_cnn"), batch=2, fidelity="analytical").total_cycles > 0


def test_the_default_scheme_is_the_shipped_machine():
    """But for the group of channels, which eta_small states as the scheme does."""
    assert load_architecture("eta_small", with_scheme("pint8", ())) == load_architecture("eta_small")
    assert load_architecture("eta_vc709", with_scheme("pint8", ())) == load_architecture("eta_vc709")


def test_options_count_before_the_scheme():
    texts = with_scheme("fp8", ["array.accumulator_width=80 bit", " numerics.weight_format = fp8_e5m2"])
    machine = load_architecture("eta_small", texts)
    assert (machine.numerics.weight_format, machine.numerics.error_format) == ("fp8_e5m2", "fp8_e5m2")
    assert machine.array.accumulator_width_bits == 80
    assert [key for key, _, _ in unlike(load_scheme("fp8"), machine)] == ["numerics.weight_format"]
    assert load_architecture("eta_small", with_scheme("fp8", ())).array.accumulator_width_bits == 64


def test_schemes_without_a_machine_are_refused_with_all_reasons():
    with pytest.raises(InputError) as caught:
        machine_keys(load_scheme("fp32", {"normalization.kind": "range"}))
    assert {problem.key for problem in caught.value.problems} == {
        "activation", "weight", "error", "sum", "weight_gradient", "master_weight", "momentum", "normalization.kind",
    }  # fmt: skip


def test_what_other_trainings_round_or_scale_is_refused_by_its_key():
    keys = {"niti8": {"activation", "error", "master_weight", "update", "update_scale", "normalization.kind"},
            "wageubn8": {"weight_gradient", "parameter", "update", "update_scale", "normalization.kind"}}  # fmt: skip
    for name, expected in keys.items():
        with pytest.raises(InputError) as caught:
            machine_keys(load_scheme(name))
        assert {problem.key for problem in caught.value.problems} == expected


def test_the_machine_reads_the_other_direction_as_it_was_trained():
    for direction in ("copy", "requantise", "square"):
        scheme = load_scheme("mxint8", {"second_direction": direction})
        assert machine_keys(scheme)["numerics.second_direction"] == direction
    plain = load_architecture("eta_small", machine_keys(scheme) | {"numerics.second_direction": None})
    assert [found[0] for found in unlike(scheme, plain)] == ["numerics.second_direction"]
    assert not list(unlike(load_scheme("mxint8"), plain))
    assert "numerics.second_direction" not in machine_keys(load_scheme("pint8"))


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_run_by_scheme_is_that_of_the_keys_it_stands_for(tmp_path):
    common = ("run", "eta_small", "digits_cnn", "--batch", 1, "--fidelity", "analytical")
    assert invoke(*common, "--scheme", "mxint8", "--out", tmp_path / "a").exit_code == 0
    keys = [text for role in ("activation", "weight", "error") for text in ("--set", f"numerics.{role}_format=mxint8")]
    assert invoke(*common, *keys, "--out", tmp_path / "b").exit_code == 0
    assert (tmp_path / "a" / "layers.csv").read_text() == (tmp_path / "b" / "layers.csv").read_text()
    assert "numerics.activation_format" not in (tmp_path / "a" / "run.yaml").read_text()
    assert "activation_format: mxint8" in (tmp_path / "a" / "run.yaml").read_text()
    unknown = invoke(*common, "--scheme", "mxint", "--out", tmp_path / "c")
    assert unknown.exit_code == 2
    assert "did you mean 'mxint8'?" in unknown.output


def test_eight_bit_floats_train_in_the_functional_machine():
    """E4M3 forward, E5M2 for errors, every tensor of two iterations as the reference has it."""
    machine = load_architecture("eta_small", with_scheme("fp8", ()))
    result = simulate(machine, load_network("digits_cnn"), batch=2, functional=True, iterations=2)
    assert str(result.values.mismatch) == "None"
    assert result.values.n_tensors == 36
    assert result.values.n_bytes > 12_000
