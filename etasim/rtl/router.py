"""A router of the machine's network as a testbench: the flits that its neighbours sent, and the credits that they gave back."""

from etasim.noc.topology import ABSENT
from etasim.rtl.bench import Bench, Observation, hex_rows, stimuli
from etasim.rtl.record import Flit, Recording

SOURCES = ("router.v",)


def bench(recording: Recording, router: int) -> Bench:
    """The testbench of ``router``."""
    spec, names = recording.machine.specs.noc, _cases(recording)
    lines: list[tuple[int, str]] = []
    expected: list[Observation] = []
    for port in range(spec.n_ports):
        for lane in range(spec.n_vcs):
            group = router * spec.n_ports + port
            own = group * spec.n_vcs + lane
            flits = _numbered(recording.flits[own])
            for flit, number in flits:
                lines.append((flit.at - 1, f"F {port} {lane} {flit.route} {flit.length} {number}"))
            for (cycle, _), (flit, _) in zip(recording.credits[own], flits, strict=True):
                expected.append(Observation(cycle, f"released.{port * spec.n_vcs + lane}", "", names[flit.route]))
    for port in range(spec.n_ports):
        downstream = int(spec.downstream[router * spec.n_ports + port])
        if downstream == ABSENT:
            continue
        sent = []
        for lane in range(spec.n_vcs):
            target = downstream * spec.n_vcs + lane
            sent += [(flit.cycle, lane, flit, number) for flit, number in _numbered(recording.flits[target])]
            lines += [(free - 1, f"c {port * spec.n_vcs + lane}") for _, free in recording.credits[target]]
        for cycle, lane, flit, number in sorted(sent):
            expected.append(Observation(cycle, f"sent.{port}", f"{lane} {flit.route} {flit.length} {number}", names[flit.route]))
    ports = [[int(row[router])] for row in spec.route_ports]
    links = range(router * spec.n_ports, (router + 1) * spec.n_ports)
    lanes = [[sum(int(row[link]) << spec.n_vcs * i for i, link in enumerate(links))] for row in spec.route_vcs]
    files = {"stimuli.txt": stimuli(recording.end, lines), "ports.hex": hex_rows(ports), "vcs.hex": hex_rows(lanes, 64)}
    noc = recording.machine.architecture.noc
    parameters = {
        "PORTS": spec.n_ports, "VCS": spec.n_vcs, "DEPTH": noc.buffer_depth, "SPECULATIVE": int(noc.router.speculative),
        "ROUTES": max(len(ports), 1),
    }  # fmt: skip
    return Bench("router_tb", SOURCES, parameters, files, expected)


def _numbered(flits: list[Flit]) -> list[tuple[Flit, int]]:
    """Flits of an input VC, each with a number of its own: its packet's, and its place in the packet."""
    place: dict[int, int] = {}
    found = []
    for flit in flits:
        place[flit.packet] = place.get(flit.packet, -1) + 1
        found.append((flit, flit.packet * 256 + place[flit.packet]))
    return found


def _cases(recording: Recording) -> list[str]:
    """The message class of each route: flits of neighbouring operations share a router."""
    return [f"class {number}" for number in recording.machine.specs.noc.route_class.tolist()]
