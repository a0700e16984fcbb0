"""A testbench in Icarus Verilog: what it is given, what it is expected to print, and how both are compared."""

import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SOURCES = Path(__file__).parent / "verilog"
COMPILER, SIMULATOR = "iverilog", "vvp"
LONGEST_SECONDS = 600
"""After which a testbench has gone astray."""


class ToolError(Exception):
    """A tool that is not there, or that fails; the message says which and what to do."""


class Observation(NamedTuple):
    """What a block does in a cycle: ``kind`` of thing, and ``what`` exactly. ``case``: the operation that it belongs to."""

    cycle: int
    kind: str
    what: str
    case: str


@dataclass
class Bench:
    """``files`` by name and ``parameters`` for the testbench ``top``; ``expected``: what the simulator says that the block does."""

    top: str
    sources: tuple[str, ...]
    parameters: Mapping[str, int]
    files: dict[str, str] = field(default_factory=dict)
    expected: list[Observation] = field(default_factory=list)


class CaseOutcome(NamedTuple):
    """Of one case: things observed in both, those that differ, the first difference; ``counts``: what the hardware counted in all."""

    case: str
    n_observations: int
    n_different: int
    first_difference: str


def require(tool: str, package: str) -> str:
    """Path of a tool. Raises ToolError, which names the Debian package, if it is not installed."""
    path = shutil.which(tool)
    if path is None:
        raise ToolError(f"needs {tool}, which is not installed; Debian: apt-get install {package}")
    return path


def run(bench: Bench, sources: Path = SOURCES) -> tuple[list[str], dict[str, int]]:
    """Lines that the testbench prints, and its counts. Raises ToolError if Icarus is absent or refuses the sources."""
    compiler, simulator = require(COMPILER, "iverilog"), require(SIMULATOR, "iverilog")
    with tempfile.TemporaryDirectory(prefix="etasim-rtl-") as name:
        folder = Path(name)
        for file, text in bench.files.items():
            (folder / file).write_text(text, encoding="ascii")
        parameters = [f"-P{bench.top}.{key}={value}" for key, value in bench.parameters.items()]
        paths = [str(sources / source) for source in (f"{bench.top}.v", *bench.sources) if source.endswith(".v")]
        call([compiler, "-g2012", "-I", str(sources), "-s", bench.top, "-o", str(folder / "bench"), *parameters, *paths], folder)
        printed = call([simulator, "-n", str(folder / "bench")], folder).splitlines()
    counts = dict(re.findall(r"^count (\w+) (\d+)$", "\n".join(printed), re.MULTILINE))
    return [line for line in printed if line[:1].isdigit()], {name: int(count) for name, count in counts.items()}


def call(command: Sequence[str], folder: Path) -> str:
    """What a command prints. Raises ToolError if it fails, or takes too long."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{Path(command[0]).name} did not end within {LONGEST_SECONDS} s") from error
    if done.returncode:
        raise ToolError(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout


def compare(expected: Iterable[Observation], printed: Iterable[str]) -> list[CaseOutcome]:
    """Each kind of thing in its order, position by position, case by case; what the hardware does beyond what is expected belongs to the
    last case."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for line in printed:
        cycle, kind, *what = line.split()
        found[kind].append((int(cycle), " ".join(what)))
    wanted: dict[str, list[Observation]] = defaultdict(list)
    for observation in expected:
        wanted[observation.kind].append(observation)
    total: dict[str, int] = defaultdict(int)
    wrong: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for kind in sorted({*wanted, *found}):
        ours, theirs = wanted[kind], found[kind]
        last = ours[-1].case if ours else "nothing expected"
        for i in range(max(len(ours), len(theirs))):
            case = ours[i].case if i < len(ours) else last
            total[case] += 1
            left = (ours[i].cycle, ours[i].what) if i < len(ours) else None
            right = theirs[i] if i < len(theirs) else None
            if left != right:
                told = [f"cycle {side[0]} {side[1]}".rstrip() if side else "nothing" for side in (left, right)]
                wrong[case].append((min(side[0] for side in (left, right) if side), f"{kind} {i}: etasim {told[0]}, RTL {told[1]}"))
    return [CaseOutcome(case, n, len(wrong[case]), min(wrong[case])[1] if wrong[case] else "") for case, n in total.items()]


def hex_rows(rows: Iterable[Sequence[int]], width_bits: int = 32) -> str:
    """A memory file of rows of fields, the first in the lowest bits."""
    mask = (1 << width_bits) - 1
    return "".join("".join(f"{field & mask:0{width_bits // 4}x}" for field in reversed(row)) + "\n" for row in rows)


def stimuli(end: int, lines: Iterable[tuple[int, str]]) -> str:
    """The file that a testbench plays: how long, then (cycle, what) in the order of the cycles."""
    return f"{end + 2}\n" + "".join(f"{cycle} {line}\n" for cycle, line in sorted(lines, key=lambda line: line[0]))
