"""The published figures that ``etasim reproduce`` is held against, and what has to be assumed to simulate them.

``published``: in the abstract. ``derived``: follows from published figures and the shapes of the networks, and says something new.
``definition``: follows from them by the identity that `consistency` checks, so it agrees whenever they do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

PAPER = (
    'J. Lu, C. Ni, Z. Wang, "ETA: An Efficient Training Accelerator for DNNs Based on Hardware-Algorithm Co-Optimization", IEEE TNNLS '
    "34(10):7660-7674, 2023, DOI 10.1109/TNNLS.2022.3145850"
)
Status = Literal["published", "derived", "definition"]
STATUSES: dict[str, str] = {
    "published": "Published: in the abstract of the paper, the only part that is public to us",
    "derived": "Derived: follows from published figures and the layers of the networks",
    "definition": "Equal by definition: follows from the rows above by 2 x MACs = throughput x time, and agrees whenever they do",
}
"""What the rows of a table have in common."""
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
    """One figure to compare with: ``status`` says where it comes from, ``quantity`` what is compared
    (`etasim.explore.reproduce.QUANTITIES`).

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
    status: Status


def _throughput(name: str, network: str, published: float, assumption: str) -> PublishedFigure:
    figure = f"{name} throughput [GOPS]"
    return PublishedFigure(figure, network, "throughput_gops", published, 3.0, True, ABSTRACT, f"{_MACHINE}; {assumption}", "published")


def _ratio(figure: str, quantity: str, published: float) -> PublishedFigure:
    return PublishedFigure(figure, PRIOR_NETWORK, quantity, published, 15.0, True, ABSTRACT, _PRIOR, "published")


def _of_prior(figure: str, quantity: str, published: float) -> PublishedFigure:
    return PublishedFigure(figure, PRIOR_NETWORK, quantity, published, 15.0, True, DERIVED, _PRIOR, "derived")


def _time(name: str, network: str, published: float) -> PublishedFigure:
    figure, assumption = f"{name} time per image [ms]", "2 x MACs / throughput"
    return PublishedFigure(figure, network, "ms_per_image", published, 3.0, True, DERIVED, assumption, "definition")


def _macs(name: str, network: str, published: float) -> PublishedFigure:
    assumption = "ff, bp and wg; no bp of the first layer"
    figure = f"{name} MACs per image [M]"
    return PublishedFigure(figure, network, "mmacs_per_image", published, 0.1, False, DERIVED, assumption, "definition")


def _avoided(name: str, network: str, published: float) -> PublishedFigure:
    assumption = "MACs that inserting zeros for strides would add to those of ff, bp and wg"
    figure = f"{name} zero-insertion work avoided [%]"
    return PublishedFigure(figure, network, "avoided_percent", published, 5.0, False, DERIVED, assumption, "derived")


FIGURES = (
    _throughput("CIFAR-VGG16", "vgg16_cifar", 610.98, "one fully connected layer 512-10"),
    _throughput("CIFAR-ResNet20", "resnet20_cifar", 658.64, "option B shortcuts"),
    _throughput("ResNet18", "resnet18_imagenet", 811.24, "224x224 inputs"),
    _ratio("CIFAR-ResNet20 throughput over prior art", "speedup", 3.65),
    _ratio("CIFAR-ResNet20 energy efficiency over prior art, partly assumed", "efficiency_ratio", 8.54),
    _of_prior("prior art throughput on CIFAR-ResNet20 [GOPS]", "prior_gops", 180.45),
    _of_prior("power of the prior art over that of ETA, CIFAR-ResNet20, partly assumed", "prior_power_ratio", 2.34),
    _avoided("CIFAR-VGG16", "vgg16_cifar", 0.0),
    _avoided("CIFAR-ResNet20", "resnet20_cifar", 12.5),
    _avoided("ResNet18", "resnet18_imagenet", 28.0),
    _time("CIFAR-VGG16", "vgg16_cifar", 3.070),
    _time("CIFAR-ResNet20", "resnet20_cifar", 0.3705),
    _time("ResNet18", "resnet18_imagenet", 13.126),
    _macs("CIFAR-VGG16", "vgg16_cifar", 937.836),
    _macs("CIFAR-ResNet20", "resnet20_cifar", 121.997),
    _macs("ResNet18", "resnet18_imagenet", 5324.206),
)


@dataclass(frozen=True)
class Claim:
    """What the abstract claims and no simulation here can confirm: ``verdict`` says so, ``reason`` why."""

    claim: str
    verdict: str
    reason: str


ACCURACY_NETWORKS = {
    "vgg16_cifar": ("CIFAR-VGG16", "CIFAR-10"),
    "resnet20_cifar": ("CIFAR-ResNet20", "CIFAR-10"),
    "inceptionv3_cifar": ("CIFAR-InceptionV3", "CIFAR-10"),
    "resnet18_imagenet": ("ResNet18", "ImageNet"),
    "resnet50_imagenet": ("ResNet50", "ImageNet"),
}
"""Networks whose accuracy is claimed: names in the paper, and their images."""

ACCURACY_FILE = "accuracy.json"
"""What `etasim reproduce-accuracy` writes."""
_MOST_BYTES = 2**20


def _accuracy(network: str, runs: Sequence[Mapping[str, Any]] = ()) -> Claim:
    name, data = ACCURACY_NETWORKS[network]
    claim = f"{name} trains at 8 bits with the accuracy that the paper shows"
    if not runs:
        return Claim(claim, "not reproduced: no data", f"{data} is not at hand, and the abstract gives no figure")
    found = ", ".join(f"{run['scheme']} {100 * run['best_accuracy']:.2f} % ({run['epochs']} epochs)" for run in runs)
    return Claim(claim, "trained", f"best test accuracy: {found}; the abstract gives no figure")


CLAIMS = tuple(map(_accuracy, ACCURACY_NETWORKS))


def trained_claims(folder: Path) -> tuple[Claim, ...]:
    """The claims, with the accuracies that `etasim reproduce-accuracy` left in ``folder``. Raises InputError for a folder without them."""
    from etasim.config.errors import InputError, Problem
    from etasim.config.files import read_regular
    from etasim.core.json_reading import read_value

    path = folder / ACCURACY_FILE
    try:
        rows = read_value(read_regular(path, _MOST_BYTES))["rows"]
        return tuple(_accuracy(network, [row for row in rows if row["network"] == network]) for network in ACCURACY_NETWORKS)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    except (KeyError, TypeError, ValueError, RecursionError):
        reason = "damaged: not what etasim reproduce-accuracy writes"
    raise InputError([Problem(str(path), None, "", reason)])


CAVEATS = (
    "A comparison with print: no hardware was at hand.",
    f"{_MACHINE[0].upper()}{_MACHINE[1:]}; it was fitted to the published throughputs, so that it meets them is no evidence.",
    f"{_PRIOR[0].upper()}{_PRIOR[1:]}.",
    "Energies are stated figures times counts, not measurements.",
    "The paper's tables, its batch size, clock, array, buffers, data layout and power are not known to us, nor whether its figures are of "
    "whole iterations with weight update, as ours are.",
)
"""What has to be said beside every figure."""

THROUGHPUTS = {figure.network: figure.published for figure in FIGURES if figure.quantity == "throughput_gops"}
NETWORKS = tuple(THROUGHPUTS)

NEIGHBOUR_ARCHITECTURE, NEIGHBOUR_WATT = "vc706_8bit", 9.75
"""The first of `NEIGHBOURS` as a configuration, and its measured power: 421 GOPS / 43.18 GOPS/W."""
NEIGHBOUR_FIGURES = {
    (NEIGHBOUR_ARCHITECTURE, PRIOR_NETWORK, "throughput_gops"): 421.0,
    (NEIGHBOUR_ARCHITECTURE, PRIOR_NETWORK, "power_w"): NEIGHBOUR_WATT,
}
"""What is published of it, by network and metric."""
NEIGHBOURS = (
    "on a VC706, ResNet-20, the same group: 421 GOPS, 43.18 GOPS/W, 9.75 W",
    "full INT8, the same group: 771 GOPS, 47.38 GOPS/W, 16.3 W",
)
"""Published designs of the kind of ETA, which bound what is plausible."""
