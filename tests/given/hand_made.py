"""Machines that run a few commands written by hand, to meet closed forms."""

import numpy as np

from etasim.machine import simulation
from etasim.machine.elaborate import elaborate
from etasim.mapping import Mapping, Operation
from etasim.noc import Route
from etasim.program.builder import Builder
from etasim.program.commands import ROWS
from etasim.schedule.array import present_of

ACTIVATION_TO_NEAREST = Route(2, (1,), 0)
ANY_ROUTE = (ACTIVATION_TO_NEAREST,)


def row(table, **fields):
    """A row of a program table; fields that are not given are zero."""
    value = np.zeros(1, ROWS[table])[0]
    for name, content in fields.items():
        value[name] = content
    return tuple(tuple(each) if np.ndim(each) else each for each in value.item())


def transfer(**fields):
    """A transfer of one run unless counts are given."""
    return "transfers", row("transfers", **{"counts": (1, 1, 1), **fields})


def feed(n_words, word_bytes=16, **fields):
    """A feed of ``n_words`` consecutive words."""
    return "feeds", row("feeds", **{"run_bytes": n_words * word_bytes, "counts": (1, 1, 1, 1), "n_packets": n_words, **fields})


def arrival(n_bytes, **fields):
    """One run that the host brings unless counts are given."""
    return "arrivals", row("arrivals", **{"run_bytes": n_bytes, "counts": (1,), **fields})


class Script:
    """Commands in the order in which they are written; ``run`` executes them on ``architecture``."""

    def __init__(self, architecture, routes=ANY_ROUTE):
        self.architecture, self.routes = architecture, tuple(routes)
        self.builder = Builder(architecture.array.clusters, present=present_of(architecture))

    def add(self, engine, command, after=None):
        """Append (table, row) to an engine."""
        self.builder.append(engine, *command, after=after)
        return self

    def compute(self, c, sweeps, n_sweeps=None, after=None, words=None, **fields):
        """A chunk of cluster ``c`` whose sweeps last ``sweeps`` cycles each, a pass of its own unless told otherwise. ``words`` (stream,
        stationary) that each sweep waits for: all of the chunk, if not given."""
        n_sweeps = len(sweeps) if n_sweeps is None else n_sweeps
        words = words or [(fields.get("stream_words", 0), fields.get("stationary_words", 0))] * n_sweeps
        tables = {"sweep_table": self.builder.sweep_table(np.array(sweeps)), "word_table": self.builder.word_table(np.array(words))}
        given = {"n_sweeps": n_sweeps, "sweep_period": len(sweeps), "first": 1, "last": 1, **tables, **fields}
        return self.add(self.builder.cluster(c), ("computes", row("computes", **given)), after)

    def drain(self, c, offsets, per_packet=4, **fields):
        """Send a finished pass of cluster ``c`` to the byte offsets given."""
        engine = self.builder.drain(c)
        given = {
            "n_packets": -(-len(offsets) // per_packet),
            "n_segments": len(offsets),
            "segments_per_packet": per_packet,
            "engine": engine,
            **fields,
        }
        return self.add(engine, ("drains", row("drains", segment_table=self.builder.segment_table(np.array(offsets)), **given)))

    def machine(self):
        """The machine at cycle 0 and its mapping."""
        mapping = Mapping(self.builder.build(), (Operation("hand", "ff", "conv", macs=0, zero_insertion_macs=0),), self.routes, ())
        return elaborate(self.architecture, mapping), mapping

    def run(self):
        """The finished machine."""
        machine, mapping = self.machine()
        simulation.run(machine, mapping)
        return machine


def times(machine, engine, count=1):
    """(issued at, completed at) of a command, in core cycles."""
    return tuple(machine.states.controller.times[machine.program.engine_start[engine] + count - 1].tolist())
