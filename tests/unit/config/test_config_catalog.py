"""Shipped inputs are found in a checkout and in an installed package."""

import pytest

from etasim.config import InputError, catalog, find_input, shipped, shipped_names


def test_checkout_lists_its_inputs():
    assert {"eta_small", "eta_vc709"} <= set(shipped_names("configs"))
    assert "ddr3_1600k_4gb_x8" in shipped_names("configs/dram")
    assert {"vgg16_cifar", "resnet20_cifar", "resnet18_imagenet"} <= set(shipped_names("traces"))


def test_wheel_holds_its_inputs_inside_the_package(tmp_path, monkeypatch):
    part = tmp_path / "etasim" / "shipped_configs" / "dram" / "some_part.yaml"
    part.parent.mkdir(parents=True)
    part.touch()
    monkeypatch.setattr(catalog, "PACKAGE", tmp_path / "etasim")
    assert shipped_names("configs/dram") == ("some_part",)
    assert shipped("configs/dram", "some_part") == part
    assert shipped_names("configs") == ()


def test_unknown_name():
    with pytest.raises(KeyError):
        shipped("traces", "vgg17")


def test_file_wins_over_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_input("traces", "vgg16_cifar") == shipped("traces", "vgg16_cifar")
    (tmp_path / "vgg16_cifar").mkdir()
    assert find_input("traces", "vgg16_cifar") == shipped("traces", "vgg16_cifar")
    (tmp_path / "own.yaml").touch()
    assert find_input("traces", "own.yaml").resolve() == tmp_path / "own.yaml"
    assert find_input("traces", "own.yaml", tmp_path) == tmp_path / "own.yaml"


@pytest.mark.parametrize("name", ["nul\0", "x" * 5000, "", "eta_vc709.yml", "none/eta_vc709"])
def test_impossible_names_are_refused_in_words(name):
    with pytest.raises(InputError) as caught:
        find_input("configs", name)
    assert "eta_small, eta_vc709" in str(caught.value)
