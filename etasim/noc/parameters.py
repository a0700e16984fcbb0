"""Parameters of a network without an architecture around it, under the names of the ``noc`` section or of BookSim 2."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral
from typing import Any, NamedTuple

from etasim.config.noc import Noc
from etasim.noc.routing import NocError


class PhysicalNetwork(NamedTuple):
    """Routers and links of their own for some message classes."""

    message_classes: tuple[int, ...]
    link_width_bits: int


@dataclass(frozen=True)
class RouterParameters:
    """Cycles of the pipeline stages; ``routing_delay`` 0 is look-ahead routing."""

    routing_delay: int = 1
    vc_allocation_delay: int = 1
    switch_allocation_delay: int = 1
    speculative: bool = False


@dataclass(frozen=True)
class NocParameters:
    """The keys of ``architecture.noc`` that `etasim.noc.build` reads; the defaults are the router of the reference runs."""

    columns: int = 4
    rows: int = 4
    virtual_channels: int = 2
    buffer_depth: int = 8
    router: RouterParameters = field(default_factory=RouterParameters)
    topology: str = "mesh"
    concentration: int = 1
    routing: str = "xy"
    link_latency: int = 1
    link_width_bits: int = 256
    multicast: bool = True
    reduction: bool = False
    ideal: bool = False
    networks: tuple[PhysicalNetwork, ...] = ()
    energy_per_flit_hop_pj: float | None = None


NocDescription = Noc | NocParameters
"""A network, by a section of an architecture or for itself: both have the same attributes."""


BOOKSIM_ROUTER = {
    "routing_delay": "routing_delay",
    "vc_alloc_delay": "vc_allocation_delay",
    "sw_alloc_delay": "switch_allocation_delay",
    "speculative": "speculative",
}
_BOOKSIM_NETWORK = {"num_vcs": "virtual_channels", "vc_buf_size": "buffer_depth"}
_BOOKSIM_FIXED = {
    "topology": "mesh", "n": 2, "routing_function": "dor", "wait_for_tail_credit": 0, "vc_allocator": "separable_input_first",
    "sw_allocator": "separable_input_first", "alloc_iters": 1, "credit_delay": 1, "st_final_delay": 1, "input_speedup": 1,
    "output_speedup": 1, "internal_speedup": 1.0,
}  # fmt: skip
_BOOKSIM_SENT = {
    "traffic": "traffic", "injection_rate": "rate", "packet_size": "packet_flits", "seed": "seed", "sim_type": "mode",
    "batch_size": "batch_packets", "print_csv_results": "",
}  # fmt: skip
"""Keys of a BookSim file that say what is sent, and the argument of `replay` that says it here; passed over."""

_BOOKSIM_MEASURED = {
    "sample_period": (2000, "sample_cycles"), "warmup_periods": (3, "warmup_periods"), "max_samples": (10, "max_periods"),
    "sim_count": (1, "replications"), "use_read_write": (0, ""), "injection_rate_uses_flits": (1, ""),
}  # fmt: skip
"""Keys that say how it is measured: the value that `replay` has unless its argument says otherwise."""

_BOOKSIM_MARKS = {*BOOKSIM_ROUTER, *_BOOKSIM_NETWORK, "k"} - set(BOOKSIM_ROUTER.values())


def refuse_unless_whole(name: str, value: Any, least: int) -> None:
    """Raises NocError unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise NocError(f"{name}: must be a whole number, got {value!r}")
    if value < least:
        raise NocError(f"{name}: must be at least {least}, got {value}")


def _known(keys: Mapping[str, Any], allowed: set[Any], where: str) -> None:
    unknown = sorted(set(keys) - allowed)
    if unknown:
        raise NocError(f"{where}: unknown {', '.join(map(repr, unknown))}, known are {', '.join(sorted(allowed))}")


def from_booksim(keys: Mapping[str, Any]) -> NocParameters:
    """Parameters from BookSim 2's names for a two-dimensional mesh; a whole file of its keys will do.

    Raises NocError for a key or value that is not modelled, and for a measurement that an argument of `replay` must ask for.
    """
    known = {"k", *BOOKSIM_ROUTER, *_BOOKSIM_NETWORK, *_BOOKSIM_FIXED, *_BOOKSIM_SENT, *_BOOKSIM_MEASURED}
    _known(keys, known, "BookSim parameters")
    for key, (value, argument) in _BOOKSIM_MEASURED.items():
        if keys.get(key, value) != value:
            instead = f"; say {argument}={keys[key]} to replay" if argument else f", only {value}"
            raise NocError(f"BookSim parameters: {key} = {keys[key]} is not taken from here{instead}")
    for key, fixed in _BOOKSIM_FIXED.items():
        if keys.get(key, fixed) != fixed:
            raise NocError(f"BookSim parameters: {key} = {keys[key]} is not modelled, only {fixed}")
    router = RouterParameters(**{ours: keys[theirs] for theirs, ours in BOOKSIM_ROUTER.items() if theirs in keys})
    network: dict[str, Any] = {ours: keys[theirs] for theirs, ours in _BOOKSIM_NETWORK.items() if theirs in keys}
    k = keys.get("k", 4)
    return NocParameters(columns=k, rows=k, router=router, **network)


def parameters_from(value: Any) -> NocDescription:
    """``value`` itself if it has the attributes of the ``noc`` section, else the parameters that a mapping spells out.

    A mapping uses the keys of the ``noc`` section (``router`` being a mapping too) or those of BookSim 2.
    """
    if not isinstance(value, Mapping):
        if not all(hasattr(value, entry.name) for entry in fields(NocParameters)):
            raise NocError(f"noc: must have the keys of the section noc or of BookSim 2, got {value!r}")
        described: NocDescription = value
        return described
    if _BOOKSIM_MARKS & set(value):
        return from_booksim(value)
    _known(value, {entry.name for entry in fields(NocParameters)}, "noc")
    router = value.get("router", {})
    if isinstance(router, Mapping):
        _known(router, {entry.name for entry in fields(RouterParameters)}, "noc.router")
        router = RouterParameters(**router)
    if not isinstance(router, RouterParameters):
        raise NocError(f"noc.router: must have the keys {', '.join(entry.name for entry in fields(RouterParameters))}, got {router!r}")
    return NocParameters(**{**value, "router": router})
