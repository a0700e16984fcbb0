"""Networks: traces in, layers with exact shapes out. Knows nothing of a machine."""

from etasim.workload.graph import INPUT
from etasim.workload.layer import MAC_PHASES, Layer, NetworkError, Shape
from etasim.workload.network import Network
from etasim.workload.trace import dump_network, load_network

__all__ = ["INPUT", "MAC_PHASES", "Layer", "Network", "NetworkError", "Shape", "dump_network", "load_network"]
