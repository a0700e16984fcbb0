"""Network on chip: flit-level routers with virtual channels, multicast, and the network interfaces of the endpoints.

The machine uses `Route`, `build`, `init`, `step`, `next_timer` and `check`; `replay` drives a network with synthetic traffic.
Names are imported when they are first used.
"""

from etasim.core.lazy import lazy

_HOME = {
    "Route": "routing",
    "NocError": "routing",
    "CyclicRoutesError": "routing",
    "DeadlockError": "routing",
    "NocSpec": "spec",
    "NocState": "spec",
    "COUNTERS": "spec",
    "LINK_COUNTERS": "spec",
    "build": "assembly",
    "init": "spec",
    "memo_words": "memo",
    "no_memo": "memo",
    "check": "spec",
    "class_flits": "spec",
    "flits_moved": "spec",
    "link_counters": "spec",
    "longest_wait_cycles": "spec",
    "class_widths_bits": "flits",
    "flits_of": "flits",
    "networks_of": "flits",
    "step": "network",
    "next_timer": "network",
    "NocParameters": "parameters",
    "PhysicalNetwork": "parameters",
    "replay": "driver",
    "packet_latency_cycles": "driver",
}

__getattr__, __dir__ = lazy(__name__, _HOME)
