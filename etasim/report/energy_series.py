"""Energy of each part in each sample of a series: the energies of the same actions as in `etasim.report.energy`, by time.

Energy is linear in what is counted: the energy of one of each count, asked once, times the counts of every sample.
"""

from collections.abc import Iterator

import numpy as np

from etasim.config import Architecture
from etasim.core.clock import clocks
from etasim.core.trees import Arrays
from etasim.machine.parts import buffers_of
from etasim.machine.result import FLIT_CLASSES, SCRATCHPADS, RunResult
from etasim.machine.series import Series
from etasim.memory.dram.energy import DRAWN_BY, energy_of
from etasim.program.commands import TENSOR_CLASSES
from etasim.report.energy import breakdown
from etasim.report.working import ARRAY_PHASES, all_the_time, energies_of_one, energy_of_work


def energy_by_part(result: RunResult, series: Series) -> Arrays:
    """``energy_parts`` [part] and ``energy_joule`` [sample, part], NaN for a part of which nothing is known."""
    parts = list(dict.fromkeys(spent.component for spent in breakdown(result)))
    known = {spent.component for spent in breakdown(result) if spent.energy_joule is not None}
    energy = np.zeros((len(series.ends), len(parts)))
    for part, amounts in _energies(result, series):
        if part in parts:
            energy[:, parts.index(part)] += amounts
    energy[:, [part not in known for part in parts]] = np.nan
    return {"energy_parts": np.array(parts, np.str_), "energy_joule": energy}


def _energies(result: RunResult, series: Series) -> Iterator[tuple[str, np.ndarray]]:
    """(part, joule of each sample) of everything that takes energy."""
    architecture, lengths = result.architecture, np.diff(series.ends, prepend=0)
    energies = energies_of_one(architecture)
    for column, amounts in _counts(architecture, series):
        yield from ((component, amounts * float(each.energy_joule)) for component, each in energies.get(column, ()))
    if architecture.host is not None and architecture.host.energy_per_byte is not None:
        yield "host link", series.arrays["host_bytes"] * float(architecture.host.energy_per_byte.energy_joule)
    if not architecture.dram.ideal:
        yield from (("dram", joule) for joule in _dram(architecture, series))
    for work in all_the_time(architecture):
        each = energy_of_work(architecture, work)
        if each is not None:
            yield work.component, lengths * float(each.energy_joule)
    for entry in architecture.energy.static_power.values():
        if entry is not None:
            yield "static", lengths * float(entry.power_watt / architecture.core.clock_hz)


def _counts(architecture: Architecture, series: Series) -> Iterator[tuple[str, np.ndarray]]:
    """(column of layers.csv, counts of each sample) of all that takes energy on the chip."""
    arrays, n = series.arrays, len(series.ends)
    of_work = arrays["operations"][arrays["work_operation"], 1]
    for phase in ARRAY_PHASES:
        own = of_work == phase
        busy = np.bincount(arrays["work_sample"][own], weights=arrays["work_cluster_busy_cycles"][own], minlength=n)
        yield "cluster_busy_cycles", busy
    for i, name in enumerate(SCRATCHPADS):
        yield f"{name}_scratchpad_writes", arrays["scratchpad_words"][:, i]
    for b, name in enumerate(buffers_of(architecture)):
        yield f"{name}_buffer_reads", arrays["buffer_read_words"][:, b]
        yield f"{name}_buffer_writes", arrays["buffer_written_words"][:, b]
    yield "unified_core_busy_cycles", arrays["unified_busy_cycles"].sum(axis=1)
    gradients = TENSOR_CLASSES.index("weight_gradient")
    yield "dram_write_weight_gradient_bytes", arrays["class_write_bytes"][:, gradients]
    yield "flit_hops", arrays["noc_flit_hops"].sum(axis=1)
    for i in range(arrays["noc_flit_hops"].shape[1]):  # none of an ideal network
        yield f"{FLIT_CLASSES[i]}_flits", arrays["noc_flits_injected"][:, i]
        yield f"{FLIT_CLASSES[i]}_flit_hops", arrays["noc_flit_hops"][:, i]


def _dram(architecture: Architecture, series: Series) -> Iterator[np.ndarray]:
    """Joule of each sample by cause of the channels together: what a clock takes, and what each command takes beyond it."""
    dram = architecture.dram
    nothing = dict.fromkeys(DRAWN_BY, 0)
    idle = energy_of(dram.part, dram.ranks, nothing, 1)
    if idle is None:
        return
    ticks = clocks(architecture.core.clock_hz, dram.part.clock_hz)
    begun = -(-series.ends * ticks.core_ticks // ticks.dram_ticks)
    yield dram.channels * np.diff(begun, prepend=0) * idle.total_nj * 1e-9
    for name in nothing:
        each = energy_of(dram.part, dram.ranks, nothing | {name: 1}, 1)
        if each is not None and each.total_nj != idle.total_nj:
            yield series.arrays[f"dram_{name}"].sum(axis=1) * (each.total_nj - idle.total_nj) * 1e-9
