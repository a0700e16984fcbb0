"""The published figures that ``etasim reproduce`` is held against, and what has to be assumed to simulate them."""

from dataclasses import dataclass

SOURCE = "Lu, Ni, Wang, IEEE TNNLS 34(10):7660-7674, 2023, DOI 10.1109/TNNLS.2022.3145850, abstract; status (a) published"
TOLERANCE_PERCENT = 5.0


@dataclass(frozen=True)
class PublishedFigure:
    """One published throughput. ``calibrated`` says whether a parameter of the machine was chosen to meet this figure."""

    figure: str
    network: str
    published_gops: float
    assumption: str
    calibrated: bool
    source: str = SOURCE
    tolerance_percent: float = TOLERANCE_PERCENT


ARCHITECTURE = "eta_vc709"

_MACHINE = "array, clock, buffers, NoC and unified core are our reconstruction (eta_vc709)"

PUBLISHED = (
    PublishedFigure("CIFAR-VGG16 throughput [GOPS]", "vgg16_cifar", 610.98, f"{_MACHINE}; one fully connected layer 512-10", True),
    PublishedFigure("CIFAR-ResNet20 throughput [GOPS]", "resnet20_cifar", 658.64, f"{_MACHINE}; option B shortcuts", True),
    PublishedFigure("ResNet18 throughput [GOPS]", "resnet18_imagenet", 811.24, f"{_MACHINE}; 224x224 inputs", True),
)

NEIGHBOURS = (
    "on a VC706, ResNet-20, the same group: 421 GOPS, 43.18 GOPS/W, 9.75 W",
    "full INT8, the same group: 771 GOPS, 47.38 GOPS/W, 16.3 W",
)
"""Published designs of the kind of ETA, which bound what is plausible."""
