"""How large the tiles of a unified core's operation are."""

from etasim.config import load_architecture
from etasim.mapping.tiles import cover
from etasim.schedule.array import array_of

PLANES = 4, 1, 64, 512  # blocks, samples, elements and bytes of a plane


def tiles(n_cores, n_loads, **dma):
    keys = {f"dma.{key}": value for key, value in dma.items()}
    array = array_of(load_architecture("eta_small", {"unified_core.count": n_cores, **keys}))
    return cover(array, *PLANES, n_loads, 1).blocks.count


def test_tiles_are_few_where_each_waits_for_its_loads():
    """With one load in flight a tile's operands come one after the other, however small they are: two cores have nothing to gain from
    twice the tiles."""
    assert tiles(4, 6, commands_in_flight=1) < tiles(4, 6, commands_in_flight=64) == tiles(4, 0)


def test_cores_beyond_the_blocks_change_nothing():
    assert tiles(4, 0) == tiles(8, 0) == PLANES[0]
