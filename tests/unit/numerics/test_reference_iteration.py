"""Iterations of the reference that are small enough to compute by hand."""

import numpy as np
import pytest
from small_networks import conv, layer, network

from etasim.numerics.format import CodeFormat
from etasim.numerics.reference import Value, calibrate, initial_state, run_iteration, state_of
from etasim.numerics.reference.state import State
from etasim.numerics.scheme import Scheme

CODE = CodeFormat(8, 2)
UNIT_ZERO = 12
"""Exponent of codes in the unit 0."""

STEM_ERROR = 47 / 16
"""3 * 63/64 in steps of 1/16: the error that `ONE_PIXEL` sends to its stem."""

ONE_PIXEL = network((1, 1, 1), conv("stem", 1), classes=2)
ONE_PIXEL_WEIGHTS = {"stem": (np.array([[[[5]]]]), UNIT_ZERO), "fc": (np.array([[[[2]]], [[[-1]]]]), UNIT_ZERO)}


def maps(*rows, exponent=UNIT_ZERO, code=CODE):
    """One sample of one map."""
    return Value(np.array(rows, np.int64)[None, None], exponent, code)


def kernel(*weights, exponent=UNIT_ZERO):
    """1 x 1 kernels [K, 1, 1, 1]."""
    return np.array(weights, np.int64).reshape(-1, 1, 1, 1), exponent


def state(scheme, weights, momentum=0):
    """A State of 1 x 1 kernels in the unit 0, by unit."""
    tensors = {}
    for unit, (integers, exponent) in weights.items():
        tensors[unit, "weight"] = Value(integers, exponent, scheme.weight)
        tensors[unit, "master_weight"] = Value(integers, 15, scheme.master_weight_bits)
        tensors[unit, "momentum"] = Value(np.full_like(integers, momentum), 15, scheme.momentum_bits)
    return State(tensors)


def run(net, scheme, before, inputs, labels):
    exponents = calibrate(net, scheme, before, inputs, labels)
    return run_iteration(net, scheme, before, inputs, labels, exponents)


def integers(values, unit, role):
    """Integers of a tensor as a flat list, and the unit they have."""
    value = values.tensors[unit, role]
    return value.integers.ravel().tolist(), value.unit


def test_an_iteration_of_two_layers():
    scheme = Scheme(learning_rate=0.25)
    net, before = ONE_PIXEL, state(scheme, ONE_PIXEL_WEIGHTS)
    values = run(net, scheme, before, maps([3]), np.array([1]))
    expected = {
        ("stem", "pre_normalization"): ([15 * 2**11], -11),  # 15 needs the exponent 4: unit 4 - 15
        ("stem", "output"): ([15 * 2**8], -8),
        ("fc", "pre_normalization"): ([30 * 2**10, -15 * 2**10], -10),
        ("fc", "output"): ([30 * 2**7, -15 * 2**7], -7),
        ("fc", "partial"): ([32767, -32767], -15),  # 1 needs the exponent 0, in which it saturates
        ("fc", "error"): ([63 * 2**6, -63 * 2**6], -12),
    }
    for key, (listed, unit) in expected.items():
        assert integers(values, *key) == (listed, unit), key
    error = 63 / 64
    gradient = values.tensors["fc", "weight_gradient"]
    assert gradient.real().ravel().tolist() == [15 * error, -15 * error]
    assert values.tensors["stem", "partial"].real().item() == 3 * error
    assert values.tensors["stem", "error"].real().item() == STEM_ERROR
    assert values.tensors["stem", "weight_gradient"].real().item() == 3 * STEM_ERROR
    assert values.tensors["stem", "master_weight"].real().item() == 5 - 0.25 * 3 * STEM_ERROR
    assert values.state.tensors["stem", "weight"].real().item() == 2.8125  # 2.796875 in steps of 1/16
    moved = 0.25 * 15 * error
    assert values.tensors["fc", "master_weight"].real().ravel().tolist() == [2 - moved, -1 + moved]


def test_momentum_and_decay():
    scheme = Scheme(learning_rate=0.25, momentum=0.5, weight_decay=0.125)
    values = run(ONE_PIXEL, scheme, state(scheme, ONE_PIXEL_WEIGHTS, momentum=8), maps([3]), np.array([1]))
    momentum = 0.5 * 8 + 3 * STEM_ERROR + 0.125 * 5
    assert values.tensors["stem", "momentum"].real().item() == momentum
    assert values.tensors["stem", "master_weight"].real().item() == 5 - 0.25 * momentum


def test_the_batch_divides_the_learning_rate_and_multiplies_the_decay():
    scheme = Scheme(learning_rate=0.25, momentum=0.0, weight_decay=0.125)
    twice = Value(np.full((2, 1, 1, 1), 3), UNIT_ZERO, CODE)
    values = run(ONE_PIXEL, scheme, state(scheme, ONE_PIXEL_WEIGHTS), twice, np.array([1, 1]))
    of_one = 3 * STEM_ERROR + 0.125 * 5
    assert values.tensors["stem", "momentum"].real().item() == 2 * of_one
    assert values.tensors["stem", "master_weight"].real().item() == pytest.approx(5 - 0.25 * of_one, abs=2**-13)


def test_a_map_that_is_added_to_itself_gets_its_error_twice():
    scheme = Scheme()
    net = network((1, 1, 1), conv("stem", 1), layer("twice", "add", "stem", "stem"), classes=2)
    values = run(net, scheme, state(scheme, {"stem": kernel(1), "fc": kernel(1, -1)}), maps([16]), np.array([1]))
    assert values.tensors["twice", "output"].real().item() == 2 * values.tensors["stem", "output"].real().item()
    assert values.tensors["stem", "partial"].real().item() == 2 * values.tensors["twice", "error"].real().item()


def test_each_contribution_is_limited_to_its_share():
    """Two contributions of 1 at the exponent 0: each is cut to floor(32767 / 2)."""
    scheme = Scheme()
    net = network((1, 1, 1), conv("stem", 1), layer("twice", "add", "stem", "stem"), classes=2)
    before, inputs, labels = state(scheme, {"stem": kernel(1), "fc": kernel(1, -1)}), maps([16]), np.array([1])
    exponents = calibrate(net, scheme, before, inputs, labels) | {("stem", "partial"): -1}
    values = run_iteration(net, scheme, before, inputs, labels, exponents)
    assert integers(values, "stem", "partial") == ([2 * 16383], -16)
    assert values.seen["stem", "partial"] == 2


def test_a_map_that_is_concatenated_with_itself_gets_both_errors():
    scheme = Scheme()
    net = network((1, 1, 1), conv("stem", 1), layer("both", "concat", "stem", "stem"), classes=2)
    weights = {"stem": kernel(1), "fc": (np.array([[3, 1], [1, 2]])[..., None, None], UNIT_ZERO)}
    values = run(net, scheme, state(scheme, weights), maps([16]), np.array([1]))
    both = values.tensors["both", "error"]
    assert both.integers.shape == (1, 2, 1, 1)
    assert values.tensors["both", "output"].integers.ravel().tolist() == 2 * values.tensors["stem", "output"].integers.ravel().tolist()
    assert values.tensors["stem", "partial"].real().item() == both.real().sum()


def test_relu_keeps_a_mask_and_stops_errors_where_it_is_zero():
    scheme = Scheme()
    net = network((1, 1, 2), conv("stem", 1), layer("relu", "relu"), layer("alone", "relu"), classes=2)
    fc = (np.array([[3, 1], [1, 2]]).reshape(2, 1, 1, 2), UNIT_ZERO)
    values = run(net, scheme, state(scheme, {"stem": kernel(1), "fc": fc}), maps([16, -16]), np.array([1]))
    assert values.tensors["stem", "mask"].integers.ravel().tolist() == [1, 0]
    assert values.tensors["alone", "mask"].integers.ravel().tolist() == [1, 0]
    assert values.tensors["stem", "error"].integers.ravel()[1] == 0
    assert values.tensors["alone", "partial"].integers.ravel()[1] != 0


def test_a_bias_is_the_offset_of_a_unit_whose_scale_stays_zero():
    scheme = Scheme(learning_rate=0.5, momentum=0.0)
    net = network((1, 1, 1), conv("stem", 2, bias=True), layer("relu", "relu"), classes=2)
    weights = {"stem": np.ones((2, 1, 1, 1)), "fc": np.array([[1.0, 0.0], [0.0, 1.0]])[..., None, None]}
    before = state_of(net, scheme, weights, {"stem": np.array([[0.0, 0.0], [0.25, -0.25]])})
    values = run(net, scheme, before, maps([8]), np.array([0]))
    real = {role: values.tensors["stem", role].real() for role in ("output", "parameter", "parameter_gradient")}
    sums = values.tensors["stem", "pre_normalization"].real().ravel()
    np.testing.assert_allclose(real["output"].ravel(), sums + np.array([0.25, -0.25]), atol=0.125 + 2**-15)  # steps of 1/4
    assert real["parameter_gradient"][0].tolist() == [0, 0]
    assert real["parameter"][0].tolist() == [0, 0]
    moved = before.tensors["stem", "parameter"].real()[1] - real["parameter"][1]
    np.testing.assert_allclose(moved, 0.5 * real["parameter_gradient"][1], atol=2**-14)


def test_the_bias_of_a_convolution_before_a_normalization_gives_way():
    scheme = Scheme()
    plain = network((2, 3, 3), conv("stem", 2), layer("norm", "norm"), classes=2)
    biased = network((2, 3, 3), conv("stem", 2, bias=True), layer("norm", "norm"), classes=2)
    inputs = Value(np.arange(18, dtype=np.int64).reshape(1, 2, 3, 3), UNIT_ZERO, CODE)
    both = [run(net, scheme, initial_state(net, scheme, 0), inputs, np.array([1])) for net in (plain, biased)]
    assert both[0].tensors.keys() == both[1].tensors.keys()
    for key, value in both[0].tensors.items():
        np.testing.assert_array_equal(value.integers, both[1].tensors[key].integers)


def test_statistics_have_the_unit_of_the_sums():
    scheme = Scheme(normalization_group=1)
    net = network((1, 1, 2), conv("stem", 1), layer("norm", "norm"), classes=2)
    values = run(net, scheme, initial_state(net, scheme, 0), maps([10, 20]), np.array([0]))
    sums, statistic = values.tensors["stem", "pre_normalization"], values.tensors["stem", "statistic"]
    assert statistic.integers.shape == (2, 1, 1)
    assert statistic.unit == sums.unit
    a, b = sums.integers.ravel().tolist()
    assert statistic.integers[0].item() == round((a + b) / 2)
    assert statistic.integers[1].item() == pytest.approx(abs(a - b) / 2, abs=1)


def test_phases_stop_where_they_are_told():
    scheme = Scheme()
    net, before, inputs, labels = ONE_PIXEL, state(scheme, ONE_PIXEL_WEIGHTS), maps([3]), np.array([1])
    forward = run_iteration(net, scheme, before, inputs, labels, calibrate(net, scheme, before, inputs, labels, ("ff",)), ("ff",))
    assert {role for _, role in forward.tensors} == {"output", "label", "weight", "master_weight", "momentum", "pre_normalization"}
    assert forward.state.tensors == before.tensors
    assert forward.loss_and_accuracy()[1] == 0.0
