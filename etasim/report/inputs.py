"""The inputs of one simulation, from a command line or from the run.yaml of an earlier one."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from etasim.config import Architecture, InputError, Problem, load_architecture, read_yaml
from etasim.config.errors import allowed_names
from etasim.config.loading import apply_overrides, build_architecture
from etasim.config.reading import Document, SourceMap
from etasim.workload import Network, load_network
from etasim.workload.lowering import PHASES
from etasim.workload.trace import build_network

FIDELITIES = ("cycle", "analytical")
_RUN_KEYS = ("schema_version", "batch", "phases", "fidelity", "architecture", "network")


class Inputs(NamedTuple):
    """Everything that a simulation depends on."""

    architecture: Architecture
    network: Network
    batch: int
    phases: tuple[str, ...]
    fidelity: str = "cycle"


def phases_problems(names: Iterable[Any], file: str, line: int = 1, key: str = "") -> list[Problem]:
    """One Problem for each name that is not a phase, and one if there is none."""
    names = list(names)
    if not names:
        return [Problem(file, line, key, f"is empty; {allowed_names('', PHASES)}")]
    return [Problem(file, line, key, f"unknown phase {name!r}; {allowed_names(name, PHASES)}") for name in names if name not in PHASES]


def in_program_order(names: Iterable[str]) -> tuple[str, ...]:
    """Phases without repetition, in the order of an iteration."""
    chosen = set(names)
    return tuple(phase for phase in PHASES if phase in chosen)


def gather(problems: list[Problem], read, *arguments: Any) -> Any:
    """``read(*arguments)``, or None with the problems of its InputError appended to ``problems``."""
    try:
        return read(*arguments)
    except InputError as error:
        problems.extend(error.problems)
        return None


def read_inputs(
    arch: str,
    trace: str | None,
    *,
    batch: int | None = None,
    phases: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    fidelity: str | None = None,
) -> Inputs:
    """Inputs of ``etasim run``: ARCH and TRACE, or ARCH alone as the run.yaml of an earlier run.

    What is given here wins over what run.yaml says; a batch given nowhere is that of the architecture. Raises
    InputError with the problems of all inputs together.
    """
    problems = [] if phases is None else phases_problems(phases, "--phases")
    if trace is None:
        stored = gather(problems, _read_run, Path(arch), overrides)
    else:
        architecture = gather(problems, load_architecture, arch, overrides)
        network = gather(problems, load_network, trace)
        default_batch = architecture.training.batch if architecture else 1
        stored = Inputs(architecture, network, default_batch, PHASES)
    if problems:
        raise InputError(problems)
    return Inputs(
        stored.architecture,
        stored.network,
        stored.batch if batch is None else batch,
        stored.phases if phases is None else in_program_order(phases),
        stored.fidelity if fidelity is None else fidelity,
    )


def _read_run(path: Path, overrides: Sequence[str]) -> Inputs:
    """Inputs that a run.yaml records, with ``overrides`` applied to its architecture. Raises InputError."""
    document = read_yaml(path)
    data, source = document
    problems = [source.problem((key,), f"unknown key; {allowed_names(key, _RUN_KEYS)}") for key in data if key not in _RUN_KEYS]
    missing = [key for key in _RUN_KEYS if key not in data]
    if "architecture" in missing or "network" in missing:
        message = "not the run.yaml of an earlier run, which alone needs no TRACE: give a TRACE too"
        raise InputError([Problem(str(path), 1, "", message)])
    problems += [Problem(str(path), 1, key, "is missing") for key in missing]
    batch, phases, fidelity = data.get("batch"), data.get("phases"), data.get("fidelity")
    if "batch" in data and (type(batch) is not int or batch < 1):
        problems.append(source.problem(("batch",), f"must be a whole number of at least 1, got {batch!r}"))
    if "phases" in data:
        mark = source.mark(("phases",))
        problems += phases_problems(phases if isinstance(phases, list) else [phases], mark.file, mark.line, mark.key)
    if "fidelity" in data and fidelity not in FIDELITIES:
        problems.append(source.problem(("fidelity",), f"unknown name {fidelity!r}; {allowed_names(fidelity, FIDELITIES)}"))
    architecture = gather(problems, lambda: build_architecture(apply_overrides(section(document, "architecture"), overrides)))
    network = gather(problems, lambda: build_network(section(document, "network")))
    if problems:
        raise InputError(problems)
    return Inputs(architecture, network, batch, in_program_order(phases), fidelity)


def section(document: Document, key: str) -> Document:
    """The mapping at ``key`` as a document of its own whose marks still name the whole file. Raises InputError."""
    data = document.data[key]
    if not isinstance(data, Mapping):
        raise InputError([document.source.problem((key,), f"must be a section (a mapping of keys to values), got {data!r}")])
    return Document(data, SourceMap({path[1:]: mark for path, mark in document.source.items() if path[:1] == (key,)}))
