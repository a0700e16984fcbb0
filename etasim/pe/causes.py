"""What a cluster does with a cycle. Every list of causes is this one: the counters of the clusters, the columns of reports, their words."""

CAUSES = {
    "busy": "a cluster multiplies",
    "stationary_stall": "a cluster waits for the stationary operand (weights in ff and bp, errors in wg)",
    "stream_stall": "a cluster waits for the operand that streams to the columns",
    "psum_stall": "a cluster waits for room in the psum memory or in its output FIFO",
    "gather_conflict": "a strided gather meets a busy bank of the scratchpad",
    "fill_drain": "the multiply-accumulate pipeline of a cluster fills or drains",
    "idle": "a cluster has no command: imbalance, a dependency, or only other engines work",
}
"""What a cause means, by name; every cycle of a cluster is booked to exactly one. Counters are indexed by their order."""

BUSY, STATIONARY_STALL, STREAM_STALL, PSUM_STALL, GATHER_CONFLICT, FILL_DRAIN, IDLE = range(len(CAUSES))

STALL_CAUSES = tuple(CAUSES)[1:]
"""Why a cluster does not multiply in a cycle; column ``<cause>_cycles``, summed over clusters."""

CAUSE_COLUMNS = ("cluster_busy_cycles", *(f"{cause}_cycles" for cause in STALL_CAUSES))
"""Columns of the causes, in their order."""
