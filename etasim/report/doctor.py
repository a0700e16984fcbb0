"""What etasim finds on a machine: the content of `etasim doctor`."""

import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from etasim import __version__
from etasim.core import jit
from etasim.core.machine_code import SUFFIX
from etasim.core.registry import PluginError, load_plugins, plugins

TOOLS = {"iverilog": "etasim validate rtl", "yosys": "etasim board --synthesise", "chromium": "tests of pages", "npm": "tests of pages"}
"""Programs that some commands call, and which."""
NO_FOLDER = "kept nowhere, made in each process; NUMBA_CACHE_DIR can name a folder"
UNKNOWN = "-"
YARDSTICK = ("eta_vc709", "resnet20_cifar", 1)
"""Architecture, network and batch that are simulated to see how fast that is."""


def examine(with_speed: bool) -> dict[str, Any]:
    """Everything found, as plain values; what is not known is None. ``with_speed`` simulates `YARDSTICK` twice and times the second."""
    needed = _requirements()
    return {
        "etasim": {"version": __version__, "folder": str(jit.PACKAGE)},
        "python": {"version": platform.python_version(), "executable": sys.executable, "system": platform.platform()},
        "packages": needed.pop(""),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "usable_cores": usable_cores(), "memory_bytes": memory_bytes()},
        "machine_code": _machine_code(),
        "extras": needed,
        "tools": {name: shutil.which(name) for name in TOOLS},
        "plugins": plugins(),
        "plugin_fault": _plugin_fault(),
        "speed": yardstick() if with_speed else None,
    }


def faults(found: Mapping[str, Any]) -> list[str]:
    """What etasim needs and did not find, a line each."""
    lines = [f"{name} is not installed" for name, of in found["packages"].items() if of is None]
    return lines + ([found["plugin_fault"]] if found["plugin_fault"] else [])


def yardstick() -> dict[str, float]:
    """Core cycles of `YARDSTICK` and the wall time of its second simulation, by which time kernels are compiled."""
    from etasim.config import load_architecture
    from etasim.machine import simulate
    from etasim.workload import load_network

    arch, name, batch = YARDSTICK
    architecture, network = load_architecture(arch), load_network(name)
    for _ in range(2):
        started = time.perf_counter()
        result = simulate(architecture, network, batch=batch)
        seconds = time.perf_counter() - started
    return {"cycles": result.total_cycles, "wall_seconds": seconds, "cycles_per_second": result.total_cycles / seconds}


def processor() -> str | None:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine() or None)


def usable_cores() -> int | None:
    """Processors that this process may use, which a container can limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def memory_bytes() -> int | None:
    """Memory of the machine."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PAGE_SIZE" not in names or "SC_PHYS_PAGES" not in names:
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _requirements() -> dict[str, dict[str, str | None]]:
    """The version of each package that etasim names, None where it is not installed, by the extra that brings it, "" for those that it
    needs. Empty where etasim itself is not installed, but run from a folder."""
    found: dict[str, dict[str, str | None]] = {"": {}}
    try:
        named = requires("etasim") or []
    except PackageNotFoundError:
        return found
    for text in named:
        name, extra = re.match(r"[\w.-]+", text), re.search(r"extra == [\"'](\w+)", text)
        if name:
            found.setdefault(extra[1] if extra else "", {})[name[0]] = _version(name[0])
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _machine_code() -> dict[str, Any]:
    from etasim.machine import is_compiled

    folder = jit.cache_folder()
    files = [path for path in folder.iterdir() if path.suffix in (".nbi", ".nbc", SUFFIX)] if folder else []
    return {
        "folder": str(folder) if folder else None, "bytes": sum(path.stat().st_size for path in files),
        "compiled": is_compiled(sampled=True), "compiled_with_values": is_compiled(True, sampled=True),
    }  # fmt: skip


def _plugin_fault() -> str | None:
    """What is wrong with a package that adds to etasim."""
    try:
        load_plugins()
    except PluginError as error:
        return str(error)
    return None


def findings_tables(found: Mapping[str, Any]) -> RenderableType:
    """What was found, as a table."""
    machine, code, speed = found["machine"], found["machine_code"], found["speed"]
    memory = UNKNOWN if machine["memory_bytes"] is None else f"{machine['memory_bytes'] / 2**30:,.1f} GiB"
    cores = f"{machine['usable_cores'] or UNKNOWN} of {machine['cores'] or UNKNOWN} cores"
    kept = f"{code['folder']}, {code['bytes'] / 1e6:,.1f} MB" if code["folder"] else NO_FOLDER
    made = ("made" if code["compiled_with_values"] else "made, but for values") if code["compiled"] else "not made yet"
    table = Table(show_header=False, box=None, title="etasim doctor", title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    rows = [
        ("etasim", f"{found['etasim']['version']} in {found['etasim']['folder']}"),
        ("Python", f"{found['python']['version']}, {found['python']['executable']}"),
        ("system", found["python"]["system"]),
        ("machine", f"{machine['processor'] or UNKNOWN}; {cores}; {memory}"),
        ("machine code", f"{made}; {kept}"),
        ("packages", _listed(found["packages"])),
        *((f"extra {extra}", _listed(packages)) for extra, packages in found["extras"].items()),
        ("tools", ", ".join(f"{name} {'found' if path else 'missing'} ({TOOLS[name]})" for name, path in found["tools"].items())),
        ("plug-ins", ", ".join(found["plugins"]) or "none"),
    ]
    if speed is not None:
        network = f"{YARDSTICK[1]} on {YARDSTICK[0]}, batch {YARDSTICK[2]}"
        rows.append(("speed", f"{network}: {speed['wall_seconds']:.2f} s with planning, {speed['cycles_per_second'] / 1e6:.3f} M cycles/s"))
    for name, text in rows:
        table.add_row(name, escape(text))
    return table


def _listed(packages: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {of or 'missing'}" for name, of in packages.items()) or "not known: etasim is run from a folder"
