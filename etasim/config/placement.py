"""Where clusters and buffer ports sit when the user leaves that to us."""

from collections.abc import Mapping
from math import ceil, isqrt

AUTO = "auto"
PORTS = 4  # activation, weight, two for errors


def fill_in_placement(noc: Mapping, n_clusters: int) -> dict:
    """``noc`` with columns, rows and placement derived where they are missing or ``auto``.

    Clusters fill the first rows of a grid that is at least four wide and as square as it can be; the rows
    after them start with the ports: activation, weight, error, error. Four clusters give a 4 x 2 grid.
    """
    result = {key: value for key, value in noc.items() if value != AUTO or key not in ("columns", "rows", "placement")}
    columns = result.setdefault("columns", max(4, isqrt(n_clusters - 1) + 1))
    if not isinstance(columns, int) or isinstance(columns, bool) or columns < 1:
        return {"rows": 1, "placement": _placement(1, 1)} | result  # the wrong value of columns is reported by itself
    cluster_rows = ceil(n_clusters / columns)
    result.setdefault("rows", cluster_rows + ceil(PORTS / columns))
    result.setdefault("placement", _placement(n_clusters, cluster_rows * columns))
    return result


def _placement(n_clusters: int, first_port: int) -> dict:
    return {
        "clusters": list(range(n_clusters)),
        "activation": first_port,
        "weight": first_port + 1,
        "error": [first_port + 2, first_port + 3],
    }


def nodes_needed(n_clusters: int) -> int:
    """Nodes that hold ``n_clusters`` clusters and the buffer ports."""
    return n_clusters + PORTS
