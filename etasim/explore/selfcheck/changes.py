"""More hardware, as data: each change of a machine that must not make it slower."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from etasim.config import load_architecture
from etasim.estimate.compared import placed
from etasim.explore.design_space import leaves
from etasim.explore.selfcheck.machines import Trial
from etasim.explore.variations import scaled

BUFFERS = ("activation", "weight", "error")
MORE: dict[str, Mapping[Any, Any] | int] = {
    **{f"buffers.{name}.size": 2 for name in BUFFERS},
    **{f"buffers.{name}.banks": 2 for name in BUFFERS},
    **{f"buffers.{name}.ports": {"1RW": "1R1W", "1R1W": "2RW"} for name in BUFFERS},
    "array.stream_scratchpad": 2, "array.stationary_scratchpad": 2, "array.psum_depth": 2,
    "array.clusters": 2, "array.pes_per_cluster": 2, "array.columns": 2, "array.lanes": 2,
    "unified_core.lanes": 2, "unified_core.count": 2,
    "noc.link_width": 2, "noc.buffer_depth": 2, "noc.virtual_channels": 2, "noc.multicast": {False: True},
    "dram.channels": 2, "dma.outstanding_bursts": 2, "dma.commands_in_flight": 2, "controller.queue_depth": 2,
    "mapping.forwarding": {False: True},
}  # fmt: skip
"""What there is more of, by key: a factor, or the next value of each; without a next value there is no more."""

UNSAID = {"unified_core.count": 1, "mapping.forwarding": False}
"""What a machine has where its architecture says nothing."""


class Change(NamedTuple):
    """``key`` goes from ``old`` to ``new``: the iteration ``before``, and ``after`` with the more hardware."""

    key: str
    old: Any
    new: Any
    before: Trial
    after: Trial


def changes(trial: Trial) -> Iterator[Change]:
    """Every step of `MORE` that the machine of ``trial`` can take. More clusters need other places, so both machines have places that
    `auto` chose: then nothing else differs."""
    shipped = _shipped(trial.architecture)
    for key, step in MORE.items():
        old = trial.overrides.get(key, shipped.get(key, UNSAID.get(key)))
        new = scaled(old, step) if isinstance(step, int) else step.get(old)
        if new is not None:
            before = trial.changed(placed({key: old})) if key == "array.clusters" else trial
            yield Change(key, old, new, before, before.changed({key: new}))


@cache
def _shipped(architecture: str) -> dict[str, Any]:
    """Values of a shipped architecture by key."""
    return dict(leaves(load_architecture(architecture).resolved()))
