"""How weights are updated: Nesterov's momentum, decay, clipping, averages, other optimizers, a run that does not wait for its device."""

import numpy as np
import pytest

from etasim import numerics
from etasim.config.errors import InputError
from etasim.numerics.format import data_format
from etasim.training.recipe import load_recipe

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from etasim.training import SGD, build_model, load_scheme, loop, parameter_groups, quantize_model  # noqa: E402
from etasim.training.average import WeightAverage  # noqa: E402
from etasim.training.boundary import Clock  # noqa: E402
from etasim.training.prepare import optimizer_of  # noqa: E402

FEW = {"network": "resnet8_narrow", "scheme": "pint8", "batch": 16, "epochs": 1, "train_samples": 48, "test_samples": 32}


def stored(values: np.ndarray, name: str) -> np.ndarray:
    return numerics.quantization.representable(values.astype(np.float32), data_format(name)).astype(np.float64)


@pytest.mark.parametrize("nesterov", [False, True])
def test_steps_of_sgd_are_those_of_its_formula(nesterov):
    random = np.random.default_rng(0)
    parameter = torch.nn.Parameter(torch.from_numpy(random.standard_normal((4, 5)).astype(np.float32)))
    weight, velocity = stored(parameter.detach().numpy(), "bfp16"), 0.0
    optimizer = SGD([parameter], load_scheme("pint8"), 0.1, 0.5, 0.25, nesterov)
    for _ in range(4):
        gradient = random.standard_normal((4, 5)).astype(np.float32)
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
        decayed = (gradient + np.float32(0.25) * weight.astype(np.float32)).astype(np.float64)
        velocity = stored(np.float64(0.5) * velocity + decayed, "bfp16")
        step = decayed + 0.5 * velocity if nesterov else velocity
        weight = stored(weight - 0.1 * step, "bfp16")
        unit = 2.0 ** (np.ceil(np.log2(np.abs(weight).max())) - 15)
        assert np.abs(parameter.detach().numpy() - weight).max() <= unit  # a sum in float32 may fall on the other side of a half
        weight = parameter.detach().numpy().astype(np.float64)


def test_an_update_over_its_greatest_value_is_the_rate_at_most_whatever_the_gradient():
    scheme = load_scheme("fp32", {"update.format": "bfp6", "update_scale": "greatest", "master_weight.format": "fp32"})
    changes = []
    for scale in (1.0, 2.0**-20):
        parameter = torch.nn.Parameter(torch.zeros(4))
        optimizer = SGD([parameter], scheme, 0.5, 0.0)
        parameter.grad = scale * torch.tensor([0.8, -0.3, 0.01, 0.0])
        optimizer.step()
        changes.append(parameter.detach())
    assert torch.equal(changes[0], changes[1])
    assert torch.equal(changes[0], torch.tensor([-0.5 * 26 / 32, 0.5 * 10 / 32, 0.0, 0.0]))  # 0.8 and 0.3 in steps of 1 / 32


def test_weights_of_few_bits_move_on_the_mean_where_they_are_rounded_stochastically():
    scheme = load_scheme("fp32", {"master_weight.format": "bfp8", "master_weight.rounding": "stochastic"})
    with pytest.raises(ValueError, match="needs the clock of the model"):
        SGD([torch.nn.Parameter(torch.ones(1))], scheme, 0.1)
    values = torch.full((20001,), 0.5)
    values[-1] = 127 / 128  # keeps the exponent; a step is 1 / 128
    parameter, clock = torch.nn.Parameter(values), Clock(seed=3)
    optimizer = SGD([parameter], scheme, 1.0, 0.0, clock=clock)
    parameter.grad = torch.full((20001,), 0.25 / 128)
    parameter.grad[-1] = 0
    seen = []
    for clock.iteration in range(2):
        optimizer.step()
        seen.append(parameter.detach()[:-1].clone())
    assert set((seen[0] * 128).tolist()) == {63.0, 64.0}
    assert abs(float((0.5 - seen[0]).mean()) * 128 - 0.25) < 4 * (0.25 * 0.75 / 20000) ** 0.5
    assert abs(float((0.5 - seen[1]).mean()) * 128 - 0.5) < 8 * (0.25 * 0.75 / 20000) ** 0.5
    assert not torch.equal(seen[0] - 0.5, seen[1] - seen[0])  # other words in the next iteration


def test_parameters_are_read_in_their_format():
    scheme = load_scheme("fp32", {"parameter.format": "bfp4", "normalization.kind": "batch"})
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2), torch.nn.Flatten(), torch.nn.Linear(2, 2))
    with torch.no_grad():
        plain[1].weight.copy_(torch.tensor([0.9, 0.30]))
    model, x = quantize_model(plain, scheme), torch.randn(4, 3, 1, 1)
    found = model(x)
    with torch.no_grad():  # steps of 1 / 8
        plain[1].weight.copy_(torch.tensor([0.875, 0.25]))
        plain[3].bias.copy_(torch.from_numpy(stored(plain[3].bias.detach().numpy(), "bfp4").astype(np.float32)))
    assert torch.allclose(found, plain(x), atol=1e-6)


def test_what_does_not_decay_is_chosen_by_name():
    model = quantize_model(build_model("resnet8_narrow"), load_scheme("pint8"))
    plain, chosen = parameter_groups(model, 0.1), parameter_groups(model, 0.1, ["fc.*", "block1*weight"])
    ndim = [{p.dim() > 1 for p in group["params"]} for group in plain]
    assert (ndim, [group["weight_decay"] for group in plain]) == ([{True}, {False}], [0.1, 0.0])
    moved = {name for name, p in model.body.named_parameters() if any(p is q for q in chosen[1]["params"]) and p.dim() > 1}
    assert moved == {"fc.weight", "block1_1.conv1.weight", "block1_1.conv2.weight"}
    with pytest.raises(ValueError, match=r"'fcc.*' fits no parameter; some are conv1"):
        parameter_groups(model, 0.1, ["fcc.*"])


def test_any_optimizer_of_torch_runs_behind_16_bit_weights():
    recipe = load_recipe(None, FEW | {"optimizer": "AdamW", "optimizer_options": {"betas": [0.8, 0.9]}, "learning_rate": 0.01})
    trainer = loop.Trainer(recipe)
    assert trainer.optimizer.defaults["betas"] == (0.8, 0.9)
    trainer.train_epoch(lambda progress: None)
    for parameter in trainer.model.parameters():
        values = parameter.detach().numpy()
        assert np.array_equal(stored(values, "bfp16"), values)
    content = trainer.state()
    again = loop.Trainer(recipe)
    again.restore(content)
    assert again.optimizer.state_dict()["state"].keys() == content["optimizer"]["state"].keys()
    for wrong, message in (({"optimizer": "Adamw"}, "did you mean 'AdamW'"), ({"optimizer_options": {"beta": 1}}, "unexpected keyword")):
        with pytest.raises(InputError, match=message):
            optimizer_of(recipe.model_copy(update=wrong), trainer.model)


def test_clipping_bounds_the_norm_of_all_gradients_together():
    recipe = load_recipe(None, FEW | {"clip": 1e-3, "momentum": 0.0, "scheme": "fp32", "weight_decay": 0.0, "schedule": "constant"})
    trainer = loop.Trainer(recipe)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    images, labels = trainer._loader.batch(0, 0)
    trainer._iteration(images, labels, 1.0)
    moved = sum(float((p.detach() - old).square().sum()) for p, old in zip(trainer.model.parameters(), before, strict=True))
    assert moved**0.5 == pytest.approx(1e-3, rel=1e-4)


def test_an_average_of_weights_is_what_the_test_sees():
    model = torch.nn.Linear(2, 1, bias=False)
    average = WeightAverage(model, 0.75)
    first = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.copy_(first + 4)
    average.update()
    with average.in_place():
        assert torch.allclose(model.weight, first + 1)
    assert torch.equal(model.weight, first + 4)
    with WeightAverage(model, 0.0).in_place():
        assert torch.equal(model.weight, first + 4)


def test_label_smoothing_raises_the_loss_of_training_only():
    plain, smooth = (loop.Trainer(load_recipe(None, FEW | {"label_smoothing": s, "learning_rate": 1e-9})) for s in (0.0, 0.5))
    rows = [trainer.train_epoch(lambda progress: None) for trainer in (plain, smooth)]
    assert rows[0]["test_loss"] == pytest.approx(rows[1]["test_loss"], rel=1e-3)
    assert rows[0]["train_loss"] != rows[1]["train_loss"]


class Reads(TorchDispatchMode):
    """Counts how often a number is read from a tensor: what waits for an accelerator."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*arguments, **(options or {}))


SCHEMES = {
    "pint8": {}, "int8": {}, "dfx8": {}, "mxint8": {}, "mxfp8": {}, "fp8": {}, "niti8": {}, "wageubn8": {},
    "pint8, previous": {"exponents": "previous"},
    "pint8, history": {"exponents": "previous", "history": 3}, "pint8, stochastic": {"error.rounding": "stochastic"},
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEMES)
def test_a_run_that_does_not_wait_for_its_device_gives_the_same_bits(name):
    scheme = load_scheme(name.split(",")[0], SCHEMES[name]).resolved()
    recipe = load_recipe(None, FEW | {"scheme": scheme, "epochs": 2})
    waits, defers = (loop.Trainer(recipe, loop.Running("cpu", defers=defers)) for defers in (False, True))
    for _ in range(2):
        assert waits.train_epoch(lambda progress: None) == defers.train_epoch(lambda progress: None)
    states = [trainer.state() for trainer in (waits, defers)]
    assert states[0]["model"].keys() == states[1]["model"].keys()
    for key, value in states[0]["model"].items():
        other = states[1]["model"][key]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other, key


def test_numbers_are_read_from_the_device_twice_an_iteration(monkeypatch):
    """As if the tensors did not lie in memory of this process, where a kernel looks at them."""
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    counts = {}
    for defers in (False, True):
        trainer = loop.Trainer(load_recipe(None, FEW), loop.Running("cpu", defers=defers))
        batches = [trainer._loader.batch(0, number) for number in range(2)]
        trainer.model.train()
        trainer._iteration(*batches[0], 0.1)
        with Reads() as reads:
            trainer._iteration(*batches[1], 0.1)
        counts[defers] = reads.count
    assert counts[True] == 0  # two copies of a vector, no single number
    assert counts[False] > 100


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_run_that_does_not_wait_names_the_first_tensor_too(bad):
    trainer = loop.Trainer(load_recipe(None, FEW), loop.Running("cpu", defers=True))
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters() if "block2" not in name}
    with torch.no_grad():
        trainer.model.body.get_submodule("block2_1.conv1").weight[0, 0, 0, 0] = bad
    with pytest.raises(InputError, match=r"resnet8_narrow:1: block2_1_conv1.weight: holds NaN or infinity first, in iteration 1"):
        trainer.train_epoch(lambda progress: None)
    assert all(torch.equal(p, before[name]) for name, p in trainer.model.named_parameters() if name in before)
