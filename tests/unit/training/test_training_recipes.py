"""Recipes: YAML files that are checked as all inputs, options that replace their keys, and schedules in closed form."""

import json
from math import cos, pi

import pytest
from command_line import invoke

from etasim.config.catalog import shipped_names
from etasim.config.errors import InputError
from etasim.training.recipe import RECIPES, load_recipe
from etasim.training.schedule import rate_at, shape_of

torch = pytest.importorskip("torch")

QUICK = ("--train-samples", 32, "--test-samples", 32, "--batch", 16, "--threads", 1)


def lines(path, given=()):
    with pytest.raises(InputError) as caught:
        load_recipe(path, dict(given))
    return str(caught.value).splitlines()


def test_the_recipes_of_the_five_networks_are_valid():
    from etasim.training.networks import NETWORKS

    names = shipped_names(RECIPES)
    assert names == ("inceptionv3_cifar", "resnet18_imagenet", "resnet20_cifar", "resnet50_imagenet", "vgg16_cifar")
    for name in names:
        recipe = load_recipe(name)
        assert recipe.network == name
        assert recipe.network in NETWORKS
        assert recipe.scheme.name == "pint8"
        assert recipe.warmup < recipe.epochs


def test_what_is_wrong_with_a_recipe_is_said_at_its_line(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("network: resnet8_narrow\nscheme: pint9\nbatch: 0\nschedule: steps:3,2\nwarmup: 20\nepoch: 3\n")
    assert lines(path) == [
        f"{path}:2: scheme: pint9:1: no such file or shipped name; allowed: {', '.join(shipped_names('configs/schemes'))}; "
        "did you mean 'pint8'?",
        f"{path}:3: batch: must be at least 1, got 0",
        f"{path}:6: epoch: unknown key; {lines(path)[-1].split('unknown key; ')[1]}",
    ]
    assert "did you mean 'epochs'?" in lines(path)[-1]
    path.write_text("network: resnet8_narrow\nscheme: pint8\nschedule: steps:3,2\nwarmup: 20\nnesterov: true\nmomentum: 0\n")
    assert lines(path) == [
        f"{path}:3: schedule: epochs of steps: must be at least 1 and rise, got '3,2'",
        f"{path}:4: warmup: must be less than the 10 epochs, got 20",
        f"{path}:5: nesterov: needs a momentum of more than 0",
    ]
    assert lines(None, {"scheme": "pint8"}) == ["recipe: network: is missing"]
    assert lines("resnet20_cifar", {"schedule": "linear"}) == [
        "--schedule: unknown schedule 'linear'; allowed: cosine, constant, steps:EPOCH,EPOCH,..."
    ]
    assert "did you mean 'resnet20_cifar'?" in lines("resnet2_cifar")[0]


def test_options_replace_keys_of_the_recipe(tmp_path):
    recipe = load_recipe("resnet20_cifar", {"epochs": 7, "schedule": "constant"})
    assert (recipe.epochs, recipe.batch, recipe.schedule) == (7, 128, "constant")
    pytest.importorskip("sklearn")
    (tmp_path / "own.yaml").write_text("network: resnet8_narrow\nscheme: bfp8\nlabel_smoothing: 0.1\nepochs: 1\nseed: 4\n")
    result = invoke("train", "--recipe", tmp_path / "own.yaml", "--seed", 5, "--set", "error.format=pint8", *QUICK, "--out", tmp_path / "a")
    assert result.exit_code == 0, result.stderr
    found = json.loads((tmp_path / "a/recipe.json").read_text())
    assert (found["seed"], found["label_smoothing"], found["batch"], found["iterations"]) == (5, 0.1, 16, 2)
    assert (found["scheme"]["name"], found["scheme"]["error"]["format"], found["scheme"]["weight"]["format"]) == ("bfp8", "pint8", "bfp8")
    assert "etasim cost" not in result.stdout
    refused = invoke("cost", tmp_path / "a", "eta_vc709")
    assert refused.exit_code == 2
    assert "recipe.json: label_smoothing: the machine's weight update does not have it" in refused.stderr


def test_a_shipped_recipe_asks_for_its_folder(tmp_path):
    result = invoke("train", "--recipe", "resnet20_cifar", "--out", tmp_path / "a")
    assert (result.exit_code, result.stderr) == (2, "--data: cifar10: needs a folder: cifar10:DIR\n")
    assert not list(tmp_path.iterdir())


def test_schedules_in_closed_form():
    """100 epochs of 10 iterations, after 5 of a rising rate."""
    at = [rate_at("cosine", 0, 100, 10, i) for i in range(1000)]
    assert at == [(1 + cos(pi * i / 1000)) / 2 for i in range(1000)]
    warm = [rate_at("cosine", 5, 100, 10, i) for i in range(1000)]
    assert warm[:50] == [(i + 1) / 50 for i in range(50)]
    assert warm[50:] == [(1 + cos(pi * i / 950)) / 2 for i in range(950)]
    steps = [rate_at("steps:30,60", 0.25, 100, 10, i) for i in range(1000)]
    assert steps[:4] == [0.5, 1.0, 1.0, 1.0]
    assert (steps[299], steps[300], steps[599], steps[600], steps[999]) == (1, 0.1, 0.1, pytest.approx(0.01), pytest.approx(0.01))
    assert {rate_at("constant", 0, 100, 10, i) for i in range(1000)} == {1.0}
    for bad in ("steps:", "steps:0,3", "steps:a", "steps", "steps:5,5", "cos"):
        with pytest.raises(ValueError, match=r"allowed|must"):
            shape_of(bad)
