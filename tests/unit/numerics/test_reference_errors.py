"""What the reference refuses before it computes anything: all faults at once, each with its tensor or layer."""

from dataclasses import replace

import numpy as np
import pytest
from small_networks import TINY, conv, layer, network

from etasim.numerics.errors import NumericsError
from etasim.numerics.format import CodeFormat
from etasim.numerics.reference import Value, calibrate, check_accumulators, initial_state, quantized, run_iteration, state_of
from etasim.numerics.reference.state import State
from etasim.numerics.scheme import Scheme

SCHEME = Scheme()
STATE = initial_state(TINY, SCHEME, 0)
INPUTS = quantized(np.random.default_rng(0).standard_normal((2, *TINY.input_shape)), SCHEME.activation)
LABELS = np.array([0, 3])
EXPONENTS = calibrate(TINY, SCHEME, STATE, INPUTS, LABELS)


def faults(**changed):
    """Faults of an iteration of TINY with some arguments ``changed``, as text."""
    arguments = {"network": TINY, "scheme": SCHEME, "state": STATE, "inputs": INPUTS, "labels": LABELS, "exponents": EXPONENTS} | changed
    with pytest.raises(NumericsError) as caught:
        run_iteration(**arguments)
    return list(map(str, caught.value.faults))


def state_with(key, value):
    return State({**STATE.tensors, key: value})


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"phases": ("ff", "wg")}, "phases: wg needs bp"),
        ({"phases": ("ff", "back")}, "phases: unknown phase 'back'; allowed: ff, bp, wg, wu"),
        (
            {"inputs": replace(INPUTS, integers=INPUTS.integers[:, :2])},
            "input.output: must have the shape (samples, 3, 6, 6), got (2, 2, 6, 6)",
        ),
        ({"inputs": replace(INPUTS, integers=INPUTS.integers / 2)}, "input.output: must hold integers, got float64"),
        ({"inputs": replace(INPUTS, integers=INPUTS.integers + 5000)}, "input.output: holds integers past 4032"),
        ({"inputs": replace(INPUTS, exponent=64)}, "input.output: its exponent must be an integer in -64 ... 63, got 64"),
        ({"labels": np.array([0])}, "loss.label: must have the shape (2,), got (1,)"),
        ({"labels": np.array([0.0, 1.0])}, "loss.label: must be integers, got float64"),
        ({"labels": np.array([-1, 4])}, "loss.label: must be 0 ... 3, got -1 ... 4"),
        ({"exponents": {**EXPONENTS, ("fc", "error"): -65}}, "fc.error: its exponent must be an integer in -64 ... 63, got -65"),
        ({"exponents": {**EXPONENTS, ("fc", "error"): 0.5}}, "fc.error: its exponent must be an integer in -64 ... 63, got 0.5"),
        ({"exponents": {**EXPONENTS, ("fc", "mask"): 0}}, "fc.mask: no tensor has an exponent of this name"),
        ({"exponents": {k: e for k, e in EXPONENTS.items() if k != ("fc", "error")}}, "fc.error: its exponent is missing"),
        ({"state": State({k: v for k, v in STATE.tensors.items() if k != ("fc", "weight")})}, "fc.weight: is missing"),
        ({"state": state_with(("fc", "bias"), STATE.tensors["fc", "weight"])}, "fc.bias: there is no such tensor in the network"),
        (
            {"state": state_with(("fc", "weight"), STATE.tensors["conv1", "weight"])},
            "fc.weight: must have the shape (4, 6, 3, 3), got (4, 3, 3, 3)",
        ),
        (
            {"state": state_with(("fc", "momentum"), replace(STATE.tensors["fc", "momentum"], format=12))},
            "fc.momentum: must have the format 16, got 12",
        ),
    ],
)
def test_what_cannot_be_is_refused(changed, expected):
    assert faults(**changed) == [expected]


def test_all_faults_are_named_at_once():
    named = faults(labels=np.array([9, 9]), exponents={**EXPONENTS, ("fc", "error"): 99}, phases=("bp",))
    assert [fault.split(":")[0] for fault in named] == ["phases", "loss.label", "fc.error"]


def test_calibration_refuses_too():
    with pytest.raises(NumericsError, match=r"loss\.label"):
        calibrate(TINY, SCHEME, STATE, INPUTS, np.array([0, 4]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_state_of_numbers_that_are_none_is_refused(bad):
    weights, parameters = STATE.real("master_weight"), STATE.real("parameter")
    weights["conv1"][0, 0, 0, 0] = bad
    parameters.pop("conv2")
    weights["fc"] = weights["fc"][:1]
    weights["conv9"] = weights["fc"]
    with pytest.raises(NumericsError) as caught:
        state_of(TINY, SCHEME, weights, parameters)
    assert sorted(map(str, caught.value.faults)) == [
        "conv1.master_weight: holds NaN or infinity",
        "conv2.parameter: is missing",
        "conv9.master_weight: there is no such tensor in the network",
        "fc.master_weight: must have the shape (4, 6, 3, 3), got (1, 6, 3, 3)",
    ]


def test_a_state_can_be_rebuilt_from_its_values():
    rebuilt = state_of(TINY, SCHEME, STATE.real("master_weight"), STATE.real("parameter"), STATE.real("momentum"))
    assert rebuilt.tensors.keys() == STATE.tensors.keys()
    for key, value in STATE.tensors.items():
        np.testing.assert_array_equal(rebuilt.tensors[key].real(), value.real())


def test_an_input_of_numbers_that_are_none_is_refused():
    with pytest.raises(ValueError, match="nan"):
        quantized(np.array([1.0, np.nan]), SCHEME.activation)


def test_integers_have_no_codes():
    with pytest.raises(TypeError, match="16-bit integers"):
        STATE.tensors["fc", "momentum"].codes()


def test_a_normalization_refuses_codes_of_more_than_16_bits():
    net = network((2, 4, 4), conv("stem", 2), layer("pool", "maxpool", kernel=2), layer("norm", "norm"), classes=2)
    wide = Scheme(activation=CodeFormat(8, 4))
    inputs = Value(np.zeros((1, 2, 4, 4), np.int64), 0, wide.activation)
    with pytest.raises(NumericsError, match="norm: reads codes of up to 1015808"):
        calibrate(net, wide, initial_state(net, wide, 0), inputs, np.array([0]))


def test_a_normalization_refuses_groups_whose_sums_could_overflow():
    net = network((1, 1025, 1024), conv("stem", 2), layer("norm", "norm"), layer("pool", "avgpool", kernel=[1025, 1024]), classes=2)
    scheme = Scheme(normalization_group=2)
    inputs = Value(np.zeros((1, *net.input_shape), np.int64), 0, scheme.activation)
    with pytest.raises(NumericsError, match="norm: 2099200 values share statistics"):
        calibrate(net, scheme, initial_state(net, scheme, 0), inputs, np.array([0]))


def test_sums_that_leave_64_bits_are_refused():
    wide = Scheme(activation=CodeFormat(16, 2), weight=CodeFormat(16, 2))
    inputs = Value(np.zeros((1, *TINY.input_shape), np.int64), 0, wide.activation)
    with pytest.raises(NumericsError, match=r"conv2\.ff: sums may reach .* past an accumulator of 62 bits"):
        calibrate(TINY, wide, initial_state(TINY, wide, 0), inputs, np.array([0]))


def test_means_that_leave_64_bits_are_refused():
    net = network((1, 64, 64), conv("stem", 1), layer("mean", "avgpool", kernel=64), classes=1)
    wide = Scheme(activation=CodeFormat(16, 2))
    inputs = Value(np.zeros((1, 1, 64, 64), np.int64), 0, wide.activation)
    with pytest.raises(NumericsError, match="mean: means of 4096 codes"):
        calibrate(net, wide, initial_state(net, wide, 0), inputs, np.array([0]))


def test_accumulators_that_are_too_narrow_are_named_by_layer_and_phase():
    """A product needs 24 bits; conv1 adds 27 in FF and 2 * 36 in WG, and has no BP."""
    check_accumulators(TINY, SCHEME, 2, 32)
    with pytest.raises(NumericsError) as caught:
        check_accumulators(TINY, SCHEME, 2, 29)
    assert [fault.where for fault in caught.value.faults if fault.where.startswith("conv1")] == ["conv1.ff", "conv1.wg"]


@pytest.mark.parametrize(("bits", "fits"), [(32, False), (33, True)])
def test_the_bound_of_an_accumulator_is_tight(bits, fits):
    """4032^2 * 192 is just under 2^32."""
    net = network((192, 1, 1), classes=2)
    if fits:
        check_accumulators(net, SCHEME, 1, bits)
    else:
        with pytest.raises(NumericsError, match=r"fc\.ff: sums may reach 3121348608"):
            check_accumulators(net, SCHEME, 1, bits)
