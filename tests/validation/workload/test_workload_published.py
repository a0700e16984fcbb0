"""The shipped traces against published operation and parameter counts (docs/reconstruction.md)."""

import pytest

from etasim.workload import load_network

FORWARD_MACS = {
    "vgg16_cifar": 313_201_664,
    "resnet20_cifar": 40_813_184,
    "resnet20_cifar_a": 40_551_040,
    "resnet18_imagenet": 1_814_073_344,
    "resnet50_imagenet": 4_089_184_256,
    "vgg16_imagenet": 15_470_264_320,
    "alexnet_imagenet": 714_188_480,
    "inceptionv3_cifar": 3_390_527_488,
    "inceptionv3_cifar_short_stem": 3_460_465_664,
}
"""Published with fewer digits: 313.202, 40.813, 40.551, 1814.07, 4089.18, 15,470, 714.19, 3390.5, 3460.5 million."""

PARAMETERS = {
    "vgg16_cifar": 14_728_266,
    "resnet20_cifar": 272_474,
    "resnet20_cifar_a": 269_722,
    "resnet18_imagenet": 11_689_512,
    "resnet50_imagenet": 25_557_032,
    "vgg16_imagenet": 138_357_544,
    "alexnet_imagenet": 61_100_840,
    "inceptionv3_cifar": 22_133_738,
    "inceptionv3_cifar_short_stem": 21_638_954,
}

TRAINING_MACS = {
    "vgg16_cifar": 937_835_520,
    "resnet20_cifar": 121_997_184,
    "resnet20_cifar_a": 121_210_752,
    "resnet18_imagenet": 5_324_206_080,
}
"""Forward, backward and weight gradient of one image, the first layer without backward pass."""

ZERO_INSERTION_PERCENT = {
    "vgg16_cifar": (0, 0),
    "resnet20_cifar": (12, 13),
    "resnet20_cifar_a": (12, 13),
    "resnet18_imagenet": (28, 28),
    "resnet50_imagenet": (35, 35),
    "inceptionv3_cifar": (14, 17),
    "inceptionv3_cifar_short_stem": (14, 17),
}
"""Published range, in whole per cent, of the extra work of a design that inserts zeros for the stride."""


@pytest.mark.parametrize("name", FORWARD_MACS)
def test_forward_macs_and_parameters(name):
    network = load_network(name)
    assert network.macs(1, ("ff",)) == FORWARD_MACS[name]
    assert network.parameters == PARAMETERS[name]


@pytest.mark.parametrize("name", TRAINING_MACS)
@pytest.mark.parametrize("batch", [1, 8])
def test_training_macs(name, batch):
    assert load_network(name).useful_macs(batch) == batch * TRAINING_MACS[name]


@pytest.mark.parametrize("name", ZERO_INSERTION_PERCENT)
def test_zero_insertion_overhead(name):
    network = load_network(name)
    lowest, highest = ZERO_INSERTION_PERCENT[name]
    assert lowest <= round(100 * (network.zero_insertion_macs(1) / network.useful_macs(1) - 1)) <= highest


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("vgg16_cifar", [32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2]), ("resnet20_cifar_a", [32] * 7 + [16] * 6 + [8] * 6)],
)
def test_maps_of_the_convolutions(name, sizes):
    assert [layer.out_height for layer in load_network(name).layers if layer.kind == "conv"] == sizes
