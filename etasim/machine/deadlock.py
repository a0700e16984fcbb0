"""What stands still when nothing can act, or nothing does: waiting engines and the channels that are full or not empty."""

import numpy as np

from etasim.machine.elaborate import Machine
from etasim.program.commands import Program, engine_names, engines_of


def _waits(program: Program, done: np.ndarray, index: int, names: list[str]) -> list[str]:
    command = program.commands[index]
    first = command["first_dependency"]
    dependencies = program.dependencies[first : first + command["n_dependencies"]]
    return [f"{names[e]}#{count} (has done {done[e]})" for e, count in dependencies.tolist() if done[e] < count]


def report(machine: Machine, layers: list[str], why: str) -> str:
    """A readable account of a machine that cannot go on, ``why`` in a few words; ``layers`` names the operations."""
    program, scores = machine.program, machine.states.controller
    names = engine_names(engines_of(machine.program))
    n_left, start = machine.n_commands - int(scores.total_done[0]), machine.specs.controller.start
    lines = [f"deadlock in core cycle {machine.states.time[0]}: {why}, {n_left} of {machine.n_commands} commands are left"]
    for e, name in enumerate(names):
        end, place = start[e + 1] - start[e], program.engine_start[e] - program.before[e]
        issued, done = int(scores.issued[e]), int(scores.done[e])
        if done == end:
            continue
        index = place + done
        what = f"  {name}: {done} of {end} commands done, {issued - done} issued; next is {layers[program.commands[index]['operation']]}"
        waits = _waits(program, scores.done, place + issued, names) if issued < end else []
        lines.append(what + (f"; #{issued + 1} waits for {', '.join(waits)}" if waits else ""))
    for name, bank in zip(machine.links._fields, machine.links, strict=True):
        held = bank.pushes - bank.pops
        for c in np.flatnonzero(held):
            state = "full" if held[c] == bank.depth[c] else f"holds {held[c]} of {bank.depth[c]}"
            lines.append(f"  channel {name}[{c}]: {state}")
    for channel, registers in enumerate(machine.states.dram.registers):
        n_reads, n_writes = registers["n_queued"]
        if n_reads + n_writes:
            lines.append(f"  DRAM channel {channel}: {n_reads} reads and {n_writes} writes queued")
    return "\n".join(lines)
