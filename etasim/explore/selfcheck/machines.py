"""Random machines around the shipped ones (`etasim.estimate.compared`), and the iterations that they run."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from random import Random
from typing import Any, NamedTuple

from etasim.estimate.compared import AROUND, ARRAY, Overrides, overridden, placed, shapes

MOST_KEYS = 5
"""Others of a random machine that differ from the shipped one."""


BEYOND: dict[str, dict[str, tuple[Any, ...]]] = {
    "eta_small": {
        ARRAY: shapes((16, 8, 4), (1, 4, 1), (32, 16, 8)), "array.clusters": (6,), "array.psum_depth": (2, 64),
        "array.stream_scratchpad": ("8 KiB",), "array.stationary_scratchpad": ("128 B", "4 KiB"), "array.deinterleave_stride": (False,),
        "buffers.activation.size": ("4 KiB", "128 KiB"), "buffers.weight.size": ("4 KiB", "128 KiB"), "buffers.error.size": ("256 KiB",),
        "buffers.error.banks": (1, 2), "buffers.error.read_latency": (8,), "noc.link_width": ("256 bit",), "noc.buffer_depth": (1, 16),
        "noc.virtual_channels": (1,), "noc.link_latency": (4,), "dma.outstanding_bursts": (1, 2, 128), "dram.channels": (4,),
        "dram.controller_latency": (0, 100), "dram.scheduler": ("fcfs",), "dram.mapping": ("co:7,ba:3,ro:16",),
        "unified_core.lanes": (1, 32), "unified_core.pipeline_depth": (64,), "core.clock": ("50 MHz", "400 MHz"),
    },
    "eta_vc709": {
        ARRAY: shapes((64, 8, 8), (8, 32, 8), (2, 8, 2), (4, 4, 2)), "array.clusters": (1, 12), "array.psum_depth": (16,),
        "array.stream_scratchpad": ("4 KiB",), "array.stationary_scratchpad": ("1 KiB", "16 KiB"), "array.deinterleave_stride": (False,),
        "buffers.activation.size": ("128 KiB", "4 MiB"), "buffers.weight.size": ("128 KiB",), "buffers.error.size": ("256 KiB", "4 MiB"),
        "buffers.error.banks": (1, 2), "buffers.error.read_latency": (8,), "noc.link_width": ("64 bit",), "noc.buffer_depth": (2,),
        "noc.virtual_channels": (1,), "noc.link_latency": (4,), "dma.outstanding_bursts": (4, 8, 256), "dma.commands_in_flight": (1,),
        "dram.controller_latency": (0, 100), "dram.scheduler": ("fcfs",), "dram.mapping": ("co:7,ba:3,bg:0,ro:16",),
        "unified_core.lanes": (4, 96), "unified_core.pipeline_depth": (64,), "core.clock": ("100 MHz", "400 MHz"),
    },
}  # fmt: skip
"""Values that no comparison has, as `AROUND` has those that some have: an estimate there says so."""

MOST_BEYOND = 2
"""Of them in a machine."""


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


def random_trials(n: int, seed: int, workloads: Sequence[Workload], beyond: bool = False) -> list[Trial]:
    """``n`` different iterations, each of one of ``workloads`` on a machine around its architecture, or ``beyond`` in up to `MOST_BEYOND`
    keys; the first of them whatever ``n``."""
    found: dict[str, Trial] = {}
    for random in _generators(seed):
        work = random.choice(workloads)
        overrides, batch = _overrides(random, work.architecture), random.choice(work.batches)
        if beyond:
            others = BEYOND[work.architecture]
            more = random.sample(list(others), random.randint(0, MOST_BEYOND))
            overrides = placed(overrides | {k: v for key in more for k, v in overridden(key, random.choice(others[key])).items()})
        trial = Trial(work.architecture, overrides, work.network, batch)
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
