"""What the words of a message mean, by the kind of channel; nobody else knows.

A command or a completion: number of the command, row of its table. A packet: route, bits, two words that belong to sender and receiver. An
access to a memory, asked for or answered: address (in words for a buffer, in bytes for DRAM), 1 for a write, a tag and a note that
come back as they were sent.
"""

from etasim.core.channel import Channels, peek, push
from etasim.core.jit import kernel


@kernel
def send_command(commands: Channels, engine: int, visible_at: int, command: int, row: int) -> None:
    """Hand a command to an engine."""
    push(commands, engine, visible_at, command, row, 0, 0)


@kernel
def command_words(commands: Channels, engine: int) -> tuple[int, int]:
    """(command, row) of the oldest command."""
    return peek(commands, engine, 0), peek(commands, engine, 1)


@kernel
def send_completion(completions: Channels, engine: int, visible_at: int, command: int) -> None:
    """Report a command. The controller counts: an engine completes its commands in order."""
    push(completions, engine, visible_at, command, 0, 0, 0)


@kernel
def send_packet(channels: Channels, node: int, visible_at: int, route: int, bits: int, first: int, second: int) -> None:
    """Hand a packet to a network interface, or to who sits behind one."""
    push(channels, node, visible_at, route, bits, first, second)


@kernel
def packet_route(channels: Channels, node: int) -> int:
    """Route of the oldest packet."""
    return peek(channels, node, 0)


@kernel
def packet_bits(channels: Channels, node: int) -> int:
    """Length of the oldest packet."""
    return peek(channels, node, 1)


@kernel
def packet_words(channels: Channels, node: int) -> tuple[int, int]:
    """The two words of the oldest packet that the network carries without looking at them."""
    return peek(channels, node, 2), peek(channels, node, 3)


@kernel
def send_access(channels: Channels, port: int, visible_at: int, address: int, is_write: int, tag: int, note: int) -> None:
    """Ask a memory for an access, or answer that it is done."""
    push(channels, port, visible_at, address, is_write, tag, note)


@kernel
def access_place(channels: Channels, port: int) -> tuple[int, int]:
    """(address, 1 for a write) of the oldest access."""
    return peek(channels, port, 0), peek(channels, port, 1)


@kernel
def access_tags(channels: Channels, port: int) -> tuple[int, int]:
    """(tag, note) of the oldest access."""
    return peek(channels, port, 2), peek(channels, port, 3)
