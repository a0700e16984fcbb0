"""Random networks, and packets that they carry."""

from hypothesis import strategies as st

from etasim.noc import NocParameters, PhysicalNetwork, Route
from etasim.noc.parameters import RouterParameters
from etasim.noc.topology import ABSENT

ONE_WIDE_ONE_NARROW = (PhysicalNetwork((0, 1), 512), PhysicalNetwork((2,), 128))


def _most_flits(parameters, route):
    """Flits of the longest message that may take the route."""
    if len(route.destinations) == 1:
        return 9
    return parameters.buffer_depth // 2 if parameters.networks and route.message_class == 2 else parameters.buffer_depth


@st.composite
def networks(draw):
    """A network, routes with one or several destinations, and packets with times."""
    columns, rows = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    topology = draw(st.sampled_from(["mesh", "torus", "tree", "crossbar"]))
    concentration = 1 if topology == "crossbar" else draw(st.integers(1, 3))
    depth = draw(st.integers(1, 6))
    parameters = NocParameters(
        columns=columns,
        rows=rows,
        topology=topology,
        concentration=concentration,
        networks=draw(st.sampled_from([(), ONE_WIDE_ONE_NARROW])) if depth > 1 else (),
        routing=draw(st.sampled_from(["xy", "yx"])),
        virtual_channels=6 if topology == "torus" else draw(st.integers(1, 3)),
        buffer_depth=depth,
        link_latency=draw(st.integers(1, 3)),
        router=RouterParameters(draw(st.integers(0, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.booleans())),
    )
    nodes = st.integers(0, columns * rows * concentration - 1)
    destinations = st.lists(nodes, min_size=1, max_size=6, unique=True).map(tuple)
    routes = draw(st.lists(st.builds(Route, nodes, destinations, st.integers(0, 2), st.just(1), st.just(ABSENT)), min_size=1, max_size=12))
    offers = st.tuples(st.integers(0, 60), st.integers(0, len(routes) - 1), st.integers(1, 9))
    packets = []
    for at, route, flits in draw(st.lists(offers, min_size=1, max_size=80)):
        packets.append((at, routes[route].source, route, min(flits, _most_flits(parameters, routes[route]))))
    return parameters, routes, sorted(packets)
