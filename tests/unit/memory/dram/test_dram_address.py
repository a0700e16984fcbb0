"""Address mapping as bit tables."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etasim.memory.dram.address import gather, gather_table, in_bytes, slices_of

SIZES = {"ra": 2, "bg": 4, "ba": 4, "ro": 64, "co": 32}
plain_gather = getattr(gather, "py_func", gather)


def fields(mapping, address, burst_bits=6, interleave_bits=6, channel_bits=0):
    slices = in_bytes(slices_of(mapping, SIZES), burst_bits, interleave_bits, channel_bits)
    return {name: plain_gather(gather_table(slices, (name,), SIZES), np.int64(address)) for name in SIZES}


@pytest.mark.parametrize("mapping", ["ra:1,ro:6,ba:2,bg:2,co:5", "ro:6,ra:1,co:3,bg:2,ba:2,co:2", "co:5,bg:2,ba:2,ro:6,ra:1"])
def test_every_burst_has_its_own_place(mapping):
    slices = in_bytes(slices_of(mapping, SIZES), 6, 6, 0)
    bursts = np.arange(np.prod(list(SIZES.values())), dtype=np.int64) * 64
    place = plain_gather(gather_table(slices, ("ra", "ro", "bg", "ba", "co"), SIZES), bursts)
    np.testing.assert_array_equal(np.sort(place), bursts // 64)


def test_fields_of_a_split_mapping():
    index = (5 << 12) | (1 << 11) | (6 << 8) | (2 << 6) | (3 << 4) | (1 << 2) | 2
    assert fields("ro:6,ra:1,co:3,bg:2,ba:2,co:2", (index & ~(3 << 4)) * 64)["ba"] == 1
    assert fields("ro:6,ra:1,co:3,bg:2,ba:2,co:2", index * 64)["ro"] == index >> 10


@given(st.integers(0, (1 << 15) - 1), st.integers(0, 3), st.integers(6, 12))
def test_channel_bits_are_cut_out(index, channel, interleave_bits):
    mapping = "ra:1,ro:6,ba:2,bg:2,co:5"
    inside = index * 64
    low = inside & ((1 << interleave_bits) - 1)
    address = (inside >> interleave_bits << (interleave_bits + 2)) | (channel << interleave_bits) | low
    assert fields(mapping, address, interleave_bits=interleave_bits, channel_bits=2) == fields(mapping, inside)
