"""What a network reports beside its counters: routers, links and latencies, as the dictionaries of a result."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from etasim.noc.spec import NocSpec, NocState, link_counters
from etasim.noc.topology import ABSENT


def latency_histogram(latencies: np.ndarray) -> dict[str, int]:
    """Packets of one class by latency: each key has those below its bound and not below the one before, the last one the rest."""
    *bounded, beyond = latencies.tolist()
    histogram = {f"packets_below_{1 << index}_cycles": n_packets for index, n_packets in enumerate(bounded)}
    return histogram | {f"packets_of_{1 << len(bounded) - 1}_cycles_and_more": beyond}


def link_ends(spec: NocSpec, names: Mapping[int, str]) -> list[tuple[int, int, str]]:
    """(link, router, name of what it leads to) of every output port with a wire; ``names`` are those of the nodes."""
    ends = []
    for link, group in enumerate(spec.downstream.tolist()):
        if group != ABSENT:
            site = int(spec.group_site[group])
            node = int(spec.interface_node[site - spec.n_routers]) if site >= spec.n_routers else ABSENT
            name = f"router {site}" if node == ABSENT else names.get(node, f"node {node}")
            ends.append((link, link // spec.n_ports, name))
    return ends


def network_components(spec: NocSpec, state: NocState, names: Mapping[int, str]) -> dict[str, list[dict[str, Any]]]:
    """Components ``noc_router`` (its physical network, its place in a picture), ``noc_link`` (counters of every output port) and
    ``noc_latency`` (histogram of every message class) and ``noc_energy`` (of the flit hops of every class; empty if that of one is
    not known). ``names`` [node]: what sits there.
    """
    n_own = spec.n_routers * spec.n_nodes // spec.n_interfaces
    links, counted = [], link_counters(state)
    for link, router, name in link_ends(spec, names):
        counters = {counter: int(counted[link][counter]) for counter in counted.dtype.names or ()}
        links.append({"router": router, "port": link % spec.n_ports, "to": name} | counters)
    energies = []
    if ABSENT not in spec.flit_hop_energy_fj:
        hops = zip(state.counters["flit_hops"].tolist(), spec.flit_hop_energy_fj.tolist(), strict=True)
        energies = [{"flit_hops": n, "energy_fj": n * each_fj} for n, each_fj in hops]
    return {
        "noc_router": [{"network": i // n_own, "x": x, "y": y} for i, (x, y) in enumerate(spec.positions.tolist())],
        "noc_link": links,
        "noc_latency": [latency_histogram(row) for row in state.latencies],
        "noc_energy": energies,
    }
