"""The networks that come with etasim as PyTorch modules. Paths of modules are the names of layers in the shipped traces."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import nn

from etasim.config.errors import InputError, Problem, allowed_names
from etasim.training.networks.inception import InceptionV3
from etasim.training.networks.resnet import BasicBlock, BottleneckBlock, CifarResNet, ImageNetResNet
from etasim.training.networks.vgg import Vgg16
from etasim.workload.layer import Shape


class Classifier(NamedTuple):
    """``build(classes)`` makes the model; it reads images of ``input_shape`` and by default tells ``classes`` apart."""

    build: Callable[..., nn.Module]
    input_shape: Shape
    classes: int


_CIFAR, _IMAGENET = Shape(3, 32, 32), Shape(3, 224, 224)

NETWORKS = {
    "vgg16_cifar": Classifier(Vgg16, _CIFAR, 10),
    "resnet20_cifar": Classifier(CifarResNet, _CIFAR, 10),
    "resnet20_cifar_a": Classifier(partial(CifarResNet, projection=False), _CIFAR, 10),
    "inceptionv3_cifar": Classifier(InceptionV3, _CIFAR, 10),
    "inceptionv3_cifar_short_stem": Classifier(partial(InceptionV3, short_stem=True), _CIFAR, 10),
    "resnet18_imagenet": Classifier(partial(ImageNetResNet, block=BasicBlock, blocks=(2, 2, 2, 2)), _IMAGENET, 1000),
    "resnet50_imagenet": Classifier(partial(ImageNetResNet, block=BottleneckBlock, blocks=(3, 4, 6, 3)), _IMAGENET, 1000),
    "resnet20_narrow": Classifier(partial(CifarResNet, width=8, stem_stride=2), _CIFAR, 10),
    "resnet8_narrow": Classifier(partial(CifarResNet, blocks=1, width=8, stem_stride=2), _CIFAR, 10),
}
"""``resnet20_narrow`` is ResNet20 with half the channels and a stem of stride 2, ``resnet8_narrow`` besides has one block instead of three
in each stage: for experiments on a CPU."""


def network_named(name: str) -> Classifier:
    """The entry of NETWORKS; InputError that lists the names."""
    if name not in NETWORKS:
        raise InputError([Problem(name, 1, "", f"no such network; {allowed_names(name, NETWORKS)}")])
    return NETWORKS[name]


def build_model(name: str, classes: int | None = None) -> nn.Module:
    """The network called ``name`` with random weights, for ``classes`` (default: its own). Raises InputError for an unknown name."""
    architecture = network_named(name)
    return architecture.build(classes=classes or architecture.classes)
