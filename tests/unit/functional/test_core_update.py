"""SGD with momentum against the specification in exact fractions."""

import numpy as np
import pytest
from core_bench import Bench, Stored, seen_of
from exact_arithmetic import total

WEIGHT_ROLES = ("weight_gradient", "master_weight", "momentum", "weight")
PARAMETER_ROLES = ("parameter_gradient", "parameter", "parameter_momentum")
RATE, DECAY, MOMENTUM = (43691, 23), (52429, 21), 58982


def step(bench, roles, gradient, master, momentum, decay):
    """[(stored, value, unit)] of momentum, master copy and code after the step."""
    forms = {role: (bench.format(0, role), bench.format(0, role, written=True)) for role in roles[1:]}
    g_unit = bench.format(0, roles[0]).unit
    w_unit, v_unit = (forms[role][0].unit for role in roles[1:3])
    terms = [(MOMENTUM * momentum, v_unit - 16), (gradient, g_unit)]
    if decay[0]:
        terms.append((decay[0] * master, w_unit - decay[1]))
    value, unit = total(*terms)
    v = forms[roles[2]][1].convert(value, unit)
    result = [(v, value, unit)]
    value, unit = total((master, w_unit), (-RATE[0] * v, forms[roles[2]][1].unit - RATE[1]))
    w = forms[roles[1]][1].convert(value, unit)
    result.append((w, value, unit))
    if len(roles) > 3:
        unit = forms[roles[1]][1].unit
        result.append((forms[roles[3]][1].convert(w, unit), w, unit))
    return result


@pytest.mark.parametrize("decay", [DECAY, (0, 0)])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("roles", [WEIGHT_ROLES, PARAMETER_ROLES])
def test_a_step_of_momentum(roles, seed, decay):
    """Weights lie in any order, parameters decay not; master copy and momentum are written where they were read."""
    bench = Bench([{"channels": 7}], seed=seed, rate=RATE, decay=decay, momentum=MOMENTUM)
    if seed == 3:
        bench.set_unit(0, roles[0], 12)
    is_weight = len(roles) > 3
    if is_weight:
        data = [bench.random(bench.format(0, role), (2, 1, 101)) for role in roles[:3]]
    else:
        data = [bench.random_parameters(0) for _ in range(3)]
    reads = [Stored(0, role, part) for role, part in zip(roles, data, strict=False)]
    for stored in reads:
        bench.place(stored)
    writes = [Stored(0, stored.role, stored.data, address=stored.address) for stored in reads[1:]]
    writes += [Stored(0, "weight", data[0])] if is_weight else []
    results = bench.run("update", 0, reads, writes, samples=(0, 1))
    decay = decay if is_weight else (0, 0)
    expected = [step(bench, roles, *(int(v) for v in values), decay) for values in zip(*(d.flat for d in data), strict=True)]
    for role, result, k in zip((roles[1], roles[2], *roles[3:]), results, (1, 0, 2), strict=False):
        assert np.array_equal(result.ravel(), [e[k][0] for e in expected]), role
        assert bench.seen(0, role) == seen_of((e[k][1], e[k][2]) for e in expected)
