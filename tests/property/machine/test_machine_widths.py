"""Networks of any widths: a packet has the flits that its bits need on the links of its class, and the main link has no part in it."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_networks import TINY

from etasim.config import load_architecture
from etasim.config.noc import MESSAGE_CLASSES
from etasim.machine import simulate
from etasim.mapping import map_iteration
from etasim.program.commands import FEED_STATIONARY, FEED_STREAM
from etasim.schedule.array import array_of

WORD_BITS, DEEPEST_FLITS = 8 * 16, 4
WIDTHS_BITS = st.integers(WORD_BITS // 8 // DEEPEST_FLITS, 40).map(lambda n_bytes: 8 * n_bytes)
"""Whole bytes; a multicast packet must fit a buffer."""


def machine(widths_bits, main_bits, together):
    """Classes with links of ``widths_bits``; ``together``: streamed and stationary operands share a network, of the first width."""
    networks = [{"classes": [name], "link_width": f"{bits} bit"} for name, bits in zip(MESSAGE_CLASSES, widths_bits, strict=True)]
    if together:
        networks = [networks[0] | {"classes": list(MESSAGE_CLASSES[:2])}, networks[2]]
    return load_architecture("eta_small", {"noc.networks": networks, "noc.link_width": f"{main_bits} bit"})


def sent_packets(program):
    """Packets of each class, from the commands."""
    of_stream = [int(program.feeds["n_packets"][program.feeds["stream"] == stream].sum()) for stream in (0, 1)]
    assert len(program.commands[program.engine_start[FEED_STREAM] : program.engine_start[FEED_STATIONARY + 1]]) == len(program.feeds)
    return [*of_stream, int(program.drains["n_packets"].sum())]


@settings(max_examples=25)
@given(st.tuples(*[WIDTHS_BITS] * 3), st.tuples(WIDTHS_BITS, WIDTHS_BITS), st.booleans())
def test_flits_are_those_of_the_links_that_carry_them(widths_bits, main_bits, together):
    assume(main_bits[0] != main_bits[1])
    chosen, other = (machine(widths_bits, bits, together) for bits in main_bits)
    of_class = (widths_bits[0], widths_bits[0] if together else widths_bits[1], widths_bits[2])
    flits = [-(-WORD_BITS // bits) for bits in of_class]
    assert array_of(chosen).packet_flits == tuple(flits)
    result = simulate(chosen, TINY, batch=1)
    expected = [n_packets * n for n_packets, n in zip(sent_packets(map_iteration(chosen, TINY, 1).program), flits, strict=True)]
    assert [sum(row[f"{name}_flits"] for row in result.layers) for name in MESSAGE_CLASSES] == expected
    assert [row["flits_injected"] for row in result.components["noc"]] == expected
    again = simulate(other, TINY, batch=1)
    assert (result.total_cycles, result.layers, result.components) == (again.total_cycles, again.layers, again.components)
