"""The published figures that ``etasim reproduce`` is held against, and what has to be assumed to simulate them.

Status (a): in the abstract; (b): derived from (a) and the shapes of the networks by the identity that `consistency` checks.
"""

from dataclasses import dataclass

ABSTRACT = "Lu, Ni, Wang, IEEE TNNLS 34(10):7660-7674, 2023, DOI 10.1109/TNNLS.2022.3145850, abstract; status (a) published"
DERIVED = "derived from the abstract's figure and the layers of the network; status (b)"
ARCHITECTURE = "eta_vc709"
PRIOR_ARCHITECTURE = "stratix10_mx_16bit"
PRIOR_NETWORK = "resnet20_cifar"

_MACHINE = "array, clock, buffers, NoC and unified core are our reconstruction (eta_vc709)"
_PRIOR = (
    "the prior art is taken to be the 16-bit Stratix 10 design of ICCAD 2020; docs/prior_art.md lists what is assumed, and what was chosen "
    "knowing the ratios"
)


@dataclass(frozen=True)
class PublishedFigure:
    """One published or derived figure: ``quantity`` says what is compared (`etasim.explore.reproduce.QUANTITIES`).

    ``calibrated``: a parameter of a machine was chosen to meet this figure, or knowing what it would give, or to meet one that it follows
    from.
    """

    figure: str
    network: str
    quantity: str
    published: float
    tolerance_percent: float
    calibrated: bool
    source: str
    assumption: str


def _throughput(name: str, network: str, published: float, assumption: str) -> PublishedFigure:
    figure = f"{name} throughput [GOPS]"
    return PublishedFigure(figure, network, "throughput_gops", published, 5.0, True, ABSTRACT, f"{_MACHINE}; {assumption}")


def _ratio(figure: str, quantity: str, published: float) -> PublishedFigure:
    return PublishedFigure(figure, PRIOR_NETWORK, quantity, published, 15.0, True, ABSTRACT, _PRIOR)


def _time(name: str, network: str, published: float) -> PublishedFigure:
    return PublishedFigure(f"{name} time per image [ms]", network, "ms_per_image", published, 5.0, True, DERIVED, "2 x MACs / throughput")


def _macs(name: str, network: str, published: float) -> PublishedFigure:
    assumption = "ff, bp and wg; no bp of the first layer"
    return PublishedFigure(f"{name} MACs per image [M]", network, "mmacs_per_image", published, 0.1, False, DERIVED, assumption)


def _avoided(name: str, network: str, published: float) -> PublishedFigure:
    assumption = "MACs that inserting zeros for strides would add to those of ff, bp and wg"
    figure = f"{name} zero-insertion work avoided [%]"
    return PublishedFigure(figure, network, "avoided_percent", published, 5.0, False, DERIVED, assumption)


FIGURES = (
    _throughput("CIFAR-VGG16", "vgg16_cifar", 610.98, "one fully connected layer 512-10"),
    _throughput("CIFAR-ResNet20", "resnet20_cifar", 658.64, "option B shortcuts"),
    _throughput("ResNet18", "resnet18_imagenet", 811.24, "224x224 inputs"),
    _ratio("CIFAR-ResNet20 throughput over prior art", "speedup", 3.65),
    _ratio("CIFAR-ResNet20 energy efficiency over prior art", "efficiency_ratio", 8.54),
    _time("CIFAR-VGG16", "vgg16_cifar", 3.070),
    _time("CIFAR-ResNet20", "resnet20_cifar", 0.3705),
    _time("ResNet18", "resnet18_imagenet", 13.126),
    _macs("CIFAR-VGG16", "vgg16_cifar", 937.836),
    _macs("CIFAR-ResNet20", "resnet20_cifar", 121.997),
    _macs("ResNet18", "resnet18_imagenet", 5324.206),
    _avoided("CIFAR-VGG16", "vgg16_cifar", 0.0),
    _avoided("CIFAR-ResNet20", "resnet20_cifar", 12.5),
    _avoided("ResNet18", "resnet18_imagenet", 28.0),
)

THROUGHPUTS = {figure.network: figure.published for figure in FIGURES if figure.quantity == "throughput_gops"}
NETWORKS = tuple(THROUGHPUTS)

NEIGHBOURS = (
    "on a VC706, ResNet-20, the same group: 421 GOPS, 43.18 GOPS/W, 9.75 W",
    "full INT8, the same group: 771 GOPS, 47.38 GOPS/W, 16.3 W",
)
"""Published designs of the kind of ETA, which bound what is plausible."""
