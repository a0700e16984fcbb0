"""What a DRAM scheduler is. Each is one file of `schedulers`, or of another package, that adds a `Scheduler` to `DRAM_SCHEDULERS`."""

from collections.abc import Callable
from typing import Any, NamedTuple

from etasim.core.channel import NEVER
from etasim.core.jit import chooser, kernel, routine
from etasim.core.registry import DRAM_SCHEDULERS
from etasim.memory.dram.schedule import best_offer, compare_with_plan, next_of_queues
from etasim.memory.dram.spec import DramSpec, DramState


@kernel
def plan_again(spec: DramSpec, state: DramState, channel: int, first_clock: int, entry: int) -> bool:
    """For a scheduler whose choice may change altogether when a request arrives."""
    return True


class Scheduler(NamedTuple):
    """A policy, as kernels that take (spec, state, channel, first clock, ...), and what they count on.

    ``next_command(..., slot)``: the plan for command bus ``slot`` from the first clock on: (clock, order among commands of that clock,
    entry or NO_ENTRY, command, bank or rank), or `schedule.NOTHING_PLANNED`.

    ``changes_plan(..., entry)``: whether all must be planned again for a request that became its bank's oldest row hit or miss.

    ``hands_over``: requests go from the queues to their banks, one a clock (`handing`), and stay there until they are served; a full queue
    refuses all. ``joins_reads``: a read of an address that is being read shares its burst. ``refreshes_in_turn``: one rank at a time.
    ``best_queued``: see `of_queues`. ``is_in_order``: nothing behind the oldest request is looked at, so that its row is opened for it
    alone; the estimate counts on it.
    """

    next_command: Callable[..., Any]
    changes_plan: Callable[..., Any] = plan_again
    hands_over: bool = False
    joins_reads: bool = False
    refreshes_in_turn: bool = False
    best_queued: Callable[..., Any] | None = None
    is_in_order: bool = False


def _of_all_queued() -> list[Callable[..., Any]]:
    """``best_queued`` of the schedulers by number; those that have none are not asked."""
    found = [scheduler.best_queued for _, scheduler in DRAM_SCHEDULERS.items()]
    some = next(filter(None, found))
    return [best_queued or some for best_queued in found]


_QUEUED = ("spec", "state", "channel", "first_clock", "slot", "queue")
best_of_queue = chooser("best_of_queue", _QUEUED, _of_all_queued)


@kernel
def _best_queued(spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int, queue: int) -> Any:
    """The choice of the scheduler of ``spec`` in a queue."""
    return best_of_queue(spec.scheduler, spec, state, channel, first_clock, slot, queue)


@routine
def _next_command(spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int) -> Any:
    """Of all schedulers made by `of_queues`: what they share is compiled once."""
    return next_of_queues(_best_queued, spec, state, channel, first_clock, slot)


def of_queues(best_queued: Callable[..., Any], changes_plan: Callable[..., Any] = plan_again, is_in_order: bool = False) -> Scheduler:
    """A scheduler from its choice in a queue: a kernel ``best_queued(spec, state, channel, first_clock, slot, queue)``."""
    return Scheduler(_next_command, changes_plan, best_queued=best_queued, is_in_order=is_in_order)


def of_offers(offer: Callable[..., Any]) -> Scheduler:
    """A scheduler from what it offers for one bank: a kernel ``offer(spec, state, channel, first_clock, slot, queue, bank, limit, best)``
    that returns the better of the bank's choice and ``best``. A request that arrives is compared with the plan, without planning again.
    """

    @kernel
    def best_queued(spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int, queue: int) -> Any:
        return best_offer(offer, spec, state, channel, first_clock, slot, queue, NEVER)

    @routine
    def changes_plan(spec: DramSpec, state: DramState, channel: int, first_clock: int, entry: int) -> int:
        return compare_with_plan(offer, spec, state, channel, first_clock, entry)

    return of_queues(best_queued, changes_plan)
