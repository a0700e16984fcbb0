"""Ships the inputs (``configs/``, ``traces/``) and reference runs inside the package; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

INPUTS = {"configs": "configs", "traces": "traces"}
INPUTS |= {f"references/{part}": f"tests/validation/data/{part}" for part in ("dram", "noc", "parity")}
"""Folders of inputs, by the name that `etasim.config.catalog` knows them by."""


def shipped_packages() -> dict[str, str]:
    """Package name of each folder of inputs: ``configs/dram`` becomes ``etasim.shipped_configs.dram``."""
    found = {}
    for name, root in INPUTS.items():
        for folder in (Path(root), *(path for path in sorted(Path(root).rglob("*")) if path.is_dir())):
            found[".".join(("etasim", *f"shipped_{name}".split("/"), *folder.relative_to(root).parts))] = folder.as_posix()
    return found


SHIPPED = shipped_packages()
OWN = {
    "etasim": ["py.typed"], "etasim.memory.dram": ["*.json"], "etasim.rtl": ["*.csv", "verilog/*.v", "verilog/*.vh", "cases/*.yaml"],
    "etasim.report.page": ["*.css", "*.js"],
}  # fmt: skip

setup(
    packages=[*find_packages(include=["etasim*"]), *SHIPPED],
    package_dir=SHIPPED,
    include_package_data=False,
    package_data={package: ["*.yaml", "*.md", "*.csv", "*.csv.gz", "*.json"] for package in SHIPPED} | OWN,
)
