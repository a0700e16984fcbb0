"""What comes with the package: architectures, networks, sweeps, calibration spaces, training schemes and recipes."""

from rich.console import Group, RenderableType
from rich.table import Table

from etasim.config import load_architecture, shipped_names
from etasim.workload import load_network


def catalogue() -> RenderableType:
    """Tables of the shipped inputs with the figures one chooses by."""
    prior = _architectures("Prior art, as architectures", "configs/prior")
    folders = {
        "Design spaces": "configs/spaces", "Sweeps": "configs/sweeps", "Calibration spaces": "configs/calibration",
        "Training schemes": "configs/schemes", "Training recipes": "configs/recipes",
    }  # fmt: skip
    return Group(_architectures("Architectures", "configs"), prior, _networks(), *(_files(*each) for each in folders.items()))


def _architectures(title: str, folder: str) -> Table:
    table = _table(title, "MAC units", "clock MHz", "peak GOPS", "DRAM")
    for name in shipped_names(folder):
        architecture = load_architecture(name)
        units, clock_hz = architecture.array.macs_per_cycle, architecture.core.clock_hz
        dram = f"{architecture.dram.channels} x {architecture.dram.part.name}"
        table.add_row(name, f"{units:,}", f"{float(clock_hz) / 1e6:g}", f"{2 * units * float(clock_hz) / 1e9:,.1f}", dram)
    return table


def _networks() -> Table:
    table = _table("Networks", "layers", "forward MACs", "training MACs", "parameters")
    for name in shipped_names("traces"):
        network = load_network(name)
        table.add_row(
            name, str(len(network.layers)), f"{network.macs(1, ['ff']):,}", f"{network.useful_macs(1):,}", f"{network.parameters:,}"
        )
    table.caption = "MACs of one image"
    return table


def _files(title: str, kind: str) -> Table:
    table = _table(title)
    for name in shipped_names(kind):
        table.add_row(name)
    return table


def _table(title: str, *numbers: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("name", no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table
