"""First legal clocks of commands: what a command forbids, and when the next one is allowed."""

from etasim.core.jit import kernel
from etasim.memory.dram.spec import DramSpec, DramState


@kernel
def ready_at(spec: DramSpec, state: DramState, channel: int, bank: int, command: int) -> int:
    """First clock at which the constraints of all levels allow a command to a bank."""
    group = state.ready[channel, bank >> spec.group_bits, command]
    return max(group, state.ready[channel, spec.n_groups + bank, command])


@kernel
def forbid_before(state: DramState, channel: int, cell: int, command: int, clock: int) -> None:
    """Raise the first legal clock of ``command`` in a cell; without a branch, which would be as good as random."""
    state.ready[channel, cell, command] = max(state.ready[channel, cell, command], clock)


@kernel
def window_start(state: DramState, channel: int, ring: int, cell: int, window: int, clock: int) -> int:
    """Enter ``clock`` into a ring of the last ``window`` issues and return the oldest of them."""
    position = state.history[channel, ring, cell, 0] + 1
    after = position + 1 if position < window else 1
    state.history[channel, ring, cell, 0] = after - 1
    state.history[channel, ring, cell, position] = clock
    return state.history[channel, ring, cell, after]


@kernel
def book_timing(spec: DramSpec, state: DramState, channel: int, command: int, bank: int, clock: int) -> None:
    """Apply the constraint rows of ``command``, issued at ``clock`` to ``bank`` (to its rank for PREA and REF)."""
    for number in range(spec.constraint_start[command], spec.constraint_start[command + 1]):
        row = spec.constraints[number]
        cell = row["base"] + ((bank >> row["shift"]) ^ row["flip"]) * row["stride"]
        if row["history"] < 0:
            forbid_before(state, channel, cell, row["following"], clock + row["clocks"])
        else:
            start = window_start(state, channel, row["history"], cell, row["window"], clock)
            for bound in range(cell, cell + row["count"]):
                forbid_before(state, channel, bound, row["following"], start + row["clocks"])
