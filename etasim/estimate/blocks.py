"""Channels of a block of a map, where the configuration leaves them open.

Maps lie in blocks of channels (`etasim.mapping.tensors`), and as many lanes of a PE multiply in FF and BP. Maps of fewer channels than
lanes are stored with zeros, and so are their weights, gradients and momentum, in both directions. A network of narrow maps therefore takes
smaller blocks and leaves lanes idle, if that is faster; so does one whose maps have fewer blocks than there are unified cores, each of
which normalizes blocks of its own. A machine of more lanes does about as well as one of fewer.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from etasim.config import Architecture
from etasim.core.errors import InfeasibleError
from etasim.estimate.pipeline import estimate
from etasim.mapping.scales import SQUARE
from etasim.schedule.tiling import ceil_div
from etasim.workload import Network

LEAST_SHARE = 0.1
"""Of the elements of all maps, what smaller blocks must save, or deal to more unified cores, to be tried: each costs an estimate."""


def in_blocks(architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...]) -> Architecture:
    """``architecture`` with the channel blocks in which the iteration takes least time by the estimate, the larger ones if several do;
    itself if its own are given, or are the only ones that pay. Raises InfeasibleError if an operation fits no tiling."""
    sizes = [] if architecture.data.channel_block else [*_smaller(architecture, network)]
    if not sizes:
        return architecture
    least, best = estimate(architecture, network, batch, phases).total_cycles, architecture
    for size in sizes:
        tried = architecture.model_copy(update={"data": architecture.data.model_copy(update={"channel_block": size})})
        try:
            cycles = estimate(tried, network, batch, phases).total_cycles
        except InfeasibleError:
            continue
        if cycles < least:
            least, best = cycles, tried
    return best


def _smaller(architecture: Architecture, network: Network) -> Iterator[int]:
    """Blocks of half the lanes, a quarter and so on that save enough of the maps, or occupy more of the unified cores, and hold whole
    groups of a normalization."""
    size, n_cores = architecture.array.lanes, architecture.unified_core.n_cores
    if architecture.numerics.second_direction == SQUARE:  # whose side is that of a block
        return
    group, pixels = architecture.numerics.normalization_group or size, Counter[int]()
    for shape in (layer.out_shape for layer in network.layers):
        pixels[shape.channels] += shape.height * shape.width
    elements = _elements(pixels, size)
    while size % 2 == 0 and size // 2 % group == 0:
        idle = {n: pixels[n] for n in pixels if ceil_div(n, size) < min(n_cores, ceil_div(2 * n, size))}
        dealt = _elements(idle, size)
        size //= 2
        smaller = _elements(pixels, size)
        if max(elements - smaller, dealt) >= LEAST_SHARE * elements:
            elements = smaller
            yield size


def _elements(pixels: Mapping[int, int], size: int) -> int:
    """Of the maps of a sample, ``pixels`` by their number of channels, in blocks of ``size`` channels."""
    return sum(ceil_div(n_channels, size) * size * n for n_channels, n in pixels.items())
