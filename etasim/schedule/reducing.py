"""Whether the network can add what clusters send, wherever a plan splits samples: known from the machine alone, for every plan and
fidelity."""

from functools import lru_cache

from etasim.config import Architecture
from etasim.config.noc import MESSAGE_CLASSES, Noc
from etasim.config.units import format_size
from etasim.core.errors import InfeasibleError, Reason
from etasim.noc.assembly import build
from etasim.noc.flits import class_widths_bits, flits_of
from etasim.noc.routing import NocError, Route
from etasim.schedule.rates import PSUM, STATIONARY, STREAM


def refuse_bad_reduction(architecture: Architecture) -> None:
    """Raises InfeasibleError where ``noc.reduction`` cannot work: a word that holds no segment of sums, a packet of sums that waits in no
    buffer of a router, or sums that wait before packets of another class."""
    a, noc, word_bytes, block = architecture.array, architecture.noc, architecture.buffers.word_size_bytes, architecture.channel_block
    if not noc.reduction:
        return
    segment_bytes = block * -(-a.accumulator_width_bits // 8)
    if word_bytes < segment_bytes:
        message = (
            f"noc.reduction: buffers.word_size = {word_bytes} B must hold {architecture.block_key} = {block} sums of "
            f"array.accumulator_width = {a.accumulator_width_bits} bit, in whole bytes each"
        )
        changes = {"buffers.word_size": format_size(1 << (segment_bytes - 1).bit_length())}
        raise InfeasibleError(Reason(message, key="buffers.word_size"), changes=changes)
    if a.clusters == 1:
        return
    n_flits = flits_of(8 * word_bytes, class_widths_bits(noc, len(MESSAGE_CLASSES))[PSUM])
    if n_flits > noc.buffer_depth:
        message = f"noc.reduction: a packet of sums must fit noc.buffer_depth = {noc.buffer_depth} flits, and has {n_flits}"
        raise InfeasibleError(Reason(message, key="noc.buffer_depth"), changes={"noc.buffer_depth": n_flits})
    _refuse_strangers(noc, 8 * word_bytes)


@lru_cache(maxsize=256)
def _refuse_strangers(noc: Noc, packet_bits: int) -> None:
    """Refuse a placement where a feed enters an input VC in which sums may wait; all clusters in one group are the worst of all groups."""
    place = noc.placement
    feeds = [
        Route(source, (node,), stream, packet_bits)
        for stream, source in ((STREAM, place.activation), (STATIONARY, place.weight))
        for node in place.clusters
    ]
    drains = [Route(node, (port,), PSUM, packet_bits, group) for group, port in enumerate(place.error) for node in place.clusters]
    try:
        build(noc, [*feeds, *drains])
    except NocError as error:
        raise InfeasibleError(Reason(f"noc.reduction: {error}", key="noc.virtual_channels")) from error
