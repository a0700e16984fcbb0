"""Where clusters and buffer ports sit when the user leaves that to us."""

from collections.abc import Mapping
from math import ceil, isqrt
from typing import Any

AUTO = "auto"
PORTS = 4  # activation, weight, two for errors


def fill_in_placement(noc: Mapping[str, Any], n_clusters: int) -> dict[str, Any]:
    """``noc`` with columns, rows and placement derived where they are missing or ``auto``.

    Clusters fill the rows of a grid that is at least four wide and as square as it can be, but those in its middle, which start with the
    ports (activation, weight, error, error): so no cluster is farther from them than it must be, and words part above and below. Four
    clusters give a 4 x 2 grid. With several endpoints a router (``concentration``) the grid has fewer routers.
    """
    result = {key: value for key, value in noc.items() if value != AUTO or key not in ("columns", "rows", "placement")}
    concentration = result.get("concentration", 1)
    known = {"columns": 1, "concentration": concentration}
    if _is_count(concentration):
        n_routers = ceil(n_clusters / concentration)
        known["columns"] = result.setdefault("columns", max(ceil(PORTS / concentration), isqrt(n_routers - 1) + 1))
    if not all(map(_is_count, known.values())):
        return {"columns": 1, "rows": 1, "placement": _placement(1, 1, 1 + PORTS)} | result  # a wrong value is reported by itself
    row_nodes = known["columns"] * concentration
    cluster_rows, port_rows = ceil(n_clusters / row_nodes), ceil(PORTS / row_nodes)
    result.setdefault("rows", cluster_rows + port_rows)
    first_port = ceil(cluster_rows / 2) * row_nodes
    result.setdefault("placement", _placement(n_clusters, first_port, first_port + port_rows * row_nodes))
    return result


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _placement(n_clusters: int, first_port: int, after_ports: int) -> dict[str, Any]:
    n_before = min(n_clusters, first_port)
    return {
        "clusters": [*range(n_before), *range(after_ports, after_ports + n_clusters - n_before)],
        "activation": first_port,
        "weight": first_port + 1,
        "error": [first_port + 2, first_port + 3],
    }


def nodes_needed(n_clusters: int) -> int:
    """Nodes that hold ``n_clusters`` clusters and the buffer ports."""
    return n_clusters + PORTS
