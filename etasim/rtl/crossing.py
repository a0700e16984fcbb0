"""The channels between the core's clock and the DRAM's as a testbench: requests one way, responses the other."""

from etasim.rtl.bench import Bench, Observation, stimuli
from etasim.rtl.record import Recording

SOURCES = ("crossing.v",)
REQUESTS, RESPONSES = "dram_requests", "dram_responses"
STAGES = 1
"""Flip-flops of the other clock that the model charges for."""


def bench(recording: Recording, bank: str, stages: int = STAGES) -> Bench:
    """The testbench of all channels of ``bank`` (REQUESTS or RESPONSES), its pointers through ``stages`` flip-flops."""
    core, dram = recording.machine.clocks.core_ticks, recording.machine.clocks.dram_ticks
    write, read = (core, dram) if bank == REQUESTS else (dram, core)
    channels = getattr(recording.machine.links, bank)
    n = len(channels.depth)
    lines: list[tuple[int, str]] = []
    expected: list[Observation] = []
    for c in range(n):
        visible = 0
        for push, free in zip(recording.pushes[bank, c], recording.freed[bank, c], strict=True):
            value = f"{_packed(push.words):016x}"
            visible = max(push.visible_at, visible + write)  # one forwarded from a queue is early, and waits its turn
            written = (visible - 1) // write * write  # the sender's cycle that ends then, or just before
            seen, taken = -(-visible // read) * read, free - read
            lines += [(written, f"P {c} {value}"), (taken, f"R {c}")]
            expected += [Observation(seen, f"seen.{c}", "", bank), Observation(taken, f"taken.{c}", f"1 {value}", bank)]
    parameters = {"N": n, "DEPTH": int(channels.depth[0]), "WRITE_TICKS": write, "READ_TICKS": read, "STAGES": stages}
    return Bench("crossing_tb", SOURCES, parameters, {"stimuli.txt": stimuli((recording.end + 2) * core, lines)}, expected)


def _packed(words: tuple[int, ...]) -> int:
    """A message in 64 bits: address, write, tag."""
    address, is_write, tag, _ = words
    return address << 17 | is_write << 16 | tag
