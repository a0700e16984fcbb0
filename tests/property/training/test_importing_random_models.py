"""Random models: a trace computes the values of the model, with the products and parameters that its calls have, or is refused."""

import random
import warnings
from collections import Counter

import pytest

from etasim.config.errors import InputError

torch = pytest.importorskip("torch")

from random_models import N, RandomModel, computed, counted  # noqa: E402

from etasim.training.torch_import import trace_model  # noqa: E402

FIRST, N_MODELS, LEAST_ACCEPTED = 1000, 40, 10


def outcome(seed):
    """``accepted`` or ``refused``, when everything that a trace says has been checked."""
    torch.manual_seed(seed)
    model = RandomModel(random.Random(seed)).eval()
    try:
        imported = trace_model(model, model.input_shape, "random")
    except InputError:
        return "refused"
    x = torch.randn(N, *model.input_shape)
    output, macs, parameters = counted(model, x.clone())
    network = imported.network
    assert (sum(layer.macs_per_sample for layer in network.layers), network.parameters) == (macs, parameters)
    has_moved_channels = any(line.kind in ("pad", "cat") and line.note for line in imported.report)
    if model.keeps_order and not imported.notes and not has_moved_channels:
        with torch.no_grad():
            ours = computed(network, model, x)
        torch.testing.assert_close(ours.flatten(1), output.flatten(1), rtol=1e-4, atol=1e-4)
    return "accepted"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_trace_is_the_model_or_is_refused():
    outcomes = Counter(outcome(seed) for seed in range(FIRST, FIRST + N_MODELS))
    assert outcomes["accepted"] >= LEAST_ACCEPTED
    assert outcomes["refused"] > 0


def test_the_oracle_sees_a_wrong_trace():
    """A layer that computes something else, or is left out, changes what `computed` gives."""
    model = next(m for m in map(plain_model, range(99)) if m is not None)
    network = trace_model(model, model.input_shape, "random").network
    x = torch.randn(N, *model.input_shape)
    with torch.no_grad():
        right, wrong = computed(network, model, x), computed(network, model, x.flip(3))
    assert not torch.allclose(right, wrong)


def plain_model(seed):
    """A random model that is accepted; None if this is not one."""
    model = RandomModel(random.Random(seed)).eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trace_model(model, model.input_shape, "random")
    except InputError:
        return None
    return model if model.keeps_order else None
