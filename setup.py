"""Ships ``configs/`` and ``traces/`` inside the package; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup


def shipped_packages() -> dict[str, str]:
    """Package name of each folder of inputs: ``configs/dram`` becomes ``etasim.shipped_configs.dram``."""
    roots = [Path("configs"), Path("traces")]
    folders = [*roots, *(path for root in roots for path in sorted(root.rglob("*")) if path.is_dir())]
    return {"etasim.shipped_" + ".".join(folder.parts): folder.as_posix() for folder in folders}


SHIPPED = shipped_packages()
OWN = {
    "etasim": ["py.typed"], "etasim.memory.dram": ["*.json"], "etasim.rtl": ["*.csv", "verilog/*.v", "verilog/*.vh", "cases/*.yaml"],
    "etasim.report.page": ["*.css", "*.js"],
}  # fmt: skip

setup(
    packages=[*find_packages(include=["etasim*"]), *SHIPPED],
    package_dir=SHIPPED,
    package_data={package: ["*.yaml"] for package in SHIPPED} | OWN,
)
