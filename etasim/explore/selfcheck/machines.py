"""Random machines around the shipped ones: which keys vary, over what, and the iterations that they run."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from random import Random
from typing import Any, NamedTuple

Overrides = dict[str, Any]

PLACES: Overrides = {"noc.columns": "auto", "noc.rows": "auto", "noc.placement": "auto"}
"""What another number of clusters needs beside it."""

ARRAY = "array"
"""Every second machine has another one: what is sized first, and matters most."""

MOST_KEYS = 5
"""Others of a random machine that differ from the shipped one."""


def _shapes(*sizes: tuple[int, int, int]) -> tuple[Overrides, ...]:
    """Arrays of so many PEs in a cluster, columns and lanes; the mapping wants lanes that divide both others."""
    keys = ("array.pes_per_cluster", "array.columns", "array.lanes")
    return tuple(dict(zip(keys, size, strict=True)) for size in sizes)


AROUND: dict[str, dict[str, tuple[Any, ...]]] = {
    "eta_small": {
        ARRAY: _shapes((4, 4, 2), (2, 8, 2), (4, 4, 4), (8, 8, 2), (8, 8, 4), (2, 2, 2), (4, 8, 4), (2, 4, 1)),
        "array.clusters": (1, 4), "array.psum_depth": (4, 16, 32), "array.stream_scratchpad": ("512 B", "2 KiB"),
        "array.stationary_scratchpad": ("256 B", "1 KiB"),
        "buffers.activation.size": ("8 KiB", "32 KiB"), "buffers.weight.size": ("8 KiB", "32 KiB"),
        "buffers.error.size": ("16 KiB", "64 KiB"), "buffers.error.banks": (4, 16), "buffers.activation.ports": ("1RW", "2RW"),
        "noc.link_width": ("32 bit", "128 bit"), "noc.buffer_depth": (2, 8), "noc.virtual_channels": (4,), "noc.multicast": (False,),
        "dram.channels": (2,), "dma.outstanding_bursts": (8, 32), "dma.commands_in_flight": (1, 4), "controller.queue_depth": (1, 4),
        "unified_core.lanes": (2, 8, 16), "unified_core.count": (2,), "core.clock": ("100 MHz", "300 MHz"),
        "buffers.error.read_latency": (1, 4),
    },
    "eta_vc709": {
        ARRAY: _shapes((16, 8, 8), (8, 16, 8), (32, 8, 8), (16, 16, 8), (16, 16, 16), (8, 8, 4), (4, 8, 4), (8, 4, 4), (16, 16, 4)),
        "array.clusters": (2, 8), "array.psum_depth": (32, 128, 256), "array.stream_scratchpad": ("8 KiB", "32 KiB"),
        "array.stationary_scratchpad": ("2 KiB", "8 KiB"), "buffers.activation.size": ("512 KiB", "2 MiB"),
        "buffers.weight.size": ("256 KiB", "1 MiB"), "buffers.error.size": ("512 KiB", "2 MiB"), "buffers.error.banks": (8, 32),
        "buffers.activation.ports": ("1RW", "2RW"), "noc.link_width": ("128 bit", "512 bit"), "noc.buffer_depth": (4, 16),
        "noc.virtual_channels": (4,), "noc.multicast": (False,), "dram.channels": (1, 4), "dma.outstanding_bursts": (16, 32, 128),
        "dma.commands_in_flight": (2, 8), "controller.queue_depth": (2, 8), "unified_core.lanes": (12, 48, 64),
        "unified_core.count": (2,), "core.clock": ("150 MHz", "300 MHz"), "buffers.error.read_latency": (1, 4),
        "dram.controller_latency": (10, 40),
    },
}  # fmt: skip
"""Values by key and shipped architecture, or overrides of several keys that fit together; what is shipped itself is left out, so that
what is drawn always differs."""


class Workload(NamedTuple):
    """A network on machines around an architecture; one of ``batches`` is drawn for each machine."""

    architecture: str
    network: str
    batches: tuple[int, ...]


class Trial(NamedTuple):
    """An iteration of ``batch`` samples of ``network`` on ``architecture`` with ``overrides``."""

    architecture: str
    overrides: Overrides
    network: str
    batch: int

    def changed(self, more: Mapping[str, Any]) -> "Trial":
        """With ``more`` in the place of what it has, and last."""
        kept = {key: value for key, value in self.overrides.items() if key not in more}
        return self._replace(overrides={**kept, **more})

    @property
    def command(self) -> str:
        """The command line that simulates it."""
        words = ["etasim", "run", self.architecture, self.network, "--batch", str(self.batch)]
        return shlex.join([*words, *(word for each in written(self.overrides) for word in ("--set", each)), "--out", "DIR"])


def written(overrides: Mapping[str, Any]) -> list[str]:
    """Overrides as ``--set`` takes them."""
    return [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in overrides.items()]


def placed(overrides: Mapping[str, Any]) -> Overrides:
    """``overrides`` that stand alone: another number of clusters brings its places."""
    return {**PLACES, **overrides} if "array.clusters" in overrides else dict(overrides)


def random_trials(n: int, seed: int, workloads: Sequence[Workload]) -> list[Trial]:
    """``n`` different iterations, each of one of ``workloads`` on a machine around its architecture; the first of them whatever ``n``."""
    found: dict[str, Trial] = {}
    for random in _generators(seed):
        work = random.choice(workloads)
        trial = Trial(work.architecture, _overrides(random, work.architecture), work.network, random.choice(work.batches))
        found.setdefault(str(trial), trial)
        if len(found) == n:
            break
    return [*found.values()]


def random_machines(n: int, seed: int, workloads: Sequence[Workload]) -> list[list[Trial]]:
    """``n`` different machines, each with an iteration of all ``workloads``, which are of one architecture; the first of them whatever
    ``n``."""
    architecture = workloads[0].architecture
    found: dict[str, list[Trial]] = {}
    for random in _generators(seed):
        overrides = _overrides(random, architecture)
        trials = [Trial(architecture, overrides, work.network, random.choice(work.batches)) for work in workloads]
        found.setdefault(str(overrides), trials)
        if len(found) == n:
            break
    return [*found.values()]


def _generators(seed: int) -> Iterator[Random]:
    """One for each attempt, so that what is drawn in one moves no other."""
    return (Random(f"{seed}/{attempt}") for attempt in count())


def _overrides(random: Random, architecture: str) -> Overrides:
    """An array or none, and values of at most `MOST_KEYS` other keys of `AROUND`, in their order there."""
    around = AROUND[architecture]
    others = [key for key in around if key != ARRAY]
    chosen = random.sample(others, random.randint(0, MOST_KEYS)) + [ARRAY] * random.randint(0, 1)
    drawn = [(key, random.choice(values)) for key, values in around.items() if key in chosen]
    return placed({key: value for pair in drawn for key, value in overridden(*pair).items()})


def overridden(key: str, value: Any) -> Overrides:
    """What a value of `AROUND` overrides."""
    return dict(value) if isinstance(value, dict) else {key: value}
