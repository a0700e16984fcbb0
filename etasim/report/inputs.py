"""The inputs of one simulation, from a command line or from the run.yaml of an earlier one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from etasim.config import InputError, Problem, find_input, load_architecture, read_yaml
from etasim.config.errors import allowed_names
from etasim.config.files import close_to
from etasim.config.loading import apply_overrides, build_architecture, read_with_bases
from etasim.config.reading import Document, SourceMap
from etasim.machine.arguments import OF_VALUES
from etasim.machine.arguments import problems as argument_problems
from etasim.machine.inputs import FunctionalInputs, Inputs, in_program_order
from etasim.report.bundle import bundled_arrays, is_bundle, run_document
from etasim.report.store import RUN
from etasim.workload import Network, load_network
from etasim.workload.lowering import PHASES
from etasim.workload.trace import build_network

if TYPE_CHECKING:
    from etasim.core.errors import InfeasibleError
    from etasim.numerics.errors import NumericsFault

_RUN_KEYS = ("schema_version", "batch", "phases", "fidelity", "architecture", "network")


def option_problems(given: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with options of the command line, by the names that `simulate` gives them."""
    return argument_problems(given, lambda name, message: Problem(f"--{name.replace('_', '-')}", 1, "", message))


def cycles_of(text: str) -> Any:
    """``A:B`` as two whole numbers; what is none as it is, for `option_problems` to refuse."""
    ends = tuple(int(end) if end.strip().isdecimal() else end for end in text.split(":"))
    return ends if all(isinstance(end, int) for end in ends) else text


def gather(problems: list[Problem], read: Callable[..., Any], *arguments: Any) -> Any:
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
    functional: bool = False,
    tensors: Sequence[str] = (),
    iterations: int | None = None,
    seed: int | None = None,
    timeline: Path | None = None,
    checkpoints: Mapping[str, Any] = {},
    seen: Mapping[str, Any] = {},
) -> Inputs:
    """Inputs of ``etasim run``: ARCH and TRACE, or ARCH alone as the run.yaml of an earlier run, or a bundle of one.

    What is given here wins over what run.yaml says; a batch given nowhere is that of the architecture. Raises
    InputError with the problems of all inputs together.
    """
    options: dict[str, Any] = {"batch": batch, "phases": phases, "fidelity": fidelity, "tensors": {} if tensors else None}
    options |= {"iterations": iterations, "seed": seed, "timeline": timeline, **seen, **checkpoints}
    given = {name: value for name, value in options.items() if value is not None}
    problems: list[Problem] = []
    if trace is None:
        stored = gather(problems, _read_run, Path(arch), overrides)
    else:
        architecture = gather(problems, load_architecture, arch, overrides)
        network = gather(problems, load_network, trace)
        default_batch = architecture.training.batch if architecture else 1
        stored = Inputs(architecture, network, default_batch, PHASES)
    if stored is not None:
        given = {"fidelity": stored.fidelity, "functional": functional or stored.functional is not None} | given
        given |= {"network": stored.network} if stored.network else {}
    problems = option_problems({name: value for name, value in given.items() if stored or name not in OF_VALUES}) + problems
    changes = {name: given[name] for name in ("iterations", "seed") if name in given} | ({"tensors": tuple(tensors)} if tensors else {})
    bundle = Path(arch) if trace is None and not tensors and is_bundle(Path(arch)) else None
    values = _functional(problems, stored and stored.functional, functional, changes, (stored and stored.network, bundle))
    if problems:
        raise InputError(problems)
    return Inputs(
        stored.architecture,
        stored.network,
        stored.batch if batch is None else batch,
        stored.phases if phases is None else in_program_order(phases),
        fidelity or stored.fidelity,
        values,
    )


def _functional(
    problems: list[Problem], stored: FunctionalInputs | None, wanted: bool, changes: Mapping[str, Any],
    place: tuple[Network | None, Path | None],
) -> FunctionalInputs | None:
    """Inputs of values from those of run.yaml and of the command line, with the arrays read that the network of ``place`` has, from its
    bundle if there is one; None if no values are wanted."""
    if not wanted and stored is None:
        return None
    inputs = (stored or FunctionalInputs())._replace(**changes)
    arrays, sources = _read_tensors(problems, inputs.tensors, *place)
    return inputs._replace(arrays=arrays, sources=sources)


def _read_tensors(
    problems: list[Problem], files: Sequence[str], network: Network | None, bundle: Path | None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays of all ``files``, and the file of each, by name; what is wrong with them is appended to ``problems``. Without a network
    nobody knows what they should hold, and none is expanded."""
    from etasim.functional.archive import read_arrays
    from etasim.functional.samples import Expected
    from etasim.numerics.errors import NumericsError

    arrays: dict[str, np.ndarray] = {}
    sources: dict[str, str] = {}
    wanted = Expected(network, is_running=True).fits if network is not None else lambda name, shape, dtype: False
    for number, file in enumerate(files):
        try:
            read = read_arrays(Path(file), wanted) if bundle is None else bundled_arrays(bundle, number, wanted)
        except InputError as error:
            problems += error.problems
        except NumericsError as error:
            problems += [Problem(file, None, fault.where, fault.message) for fault in error.faults]
        except (OSError, ValueError) as error:
            close = close_to(file) if isinstance(error, FileNotFoundError) else ""
            problems.append(Problem(file, None, "", f"cannot be read: {getattr(error, 'strerror', None) or 'not a file name'}{close}"))
        else:
            problems += [Problem(file, None, name, f"is in {sources[name]} too") for name in read if name in sources]
            arrays |= read
            sources |= dict.fromkeys(read, file)
    return arrays, sources


def values_problems(faults: Iterable["NumericsFault"], arch: str, inputs: FunctionalInputs) -> list[Problem]:
    """Faults of the numerics with their places: the file of a tensor, the phases, or the architecture, which the user called ``arch``."""
    from etasim.functional.samples import INPUTS, LABELS

    of_samples = dict.fromkeys((INPUTS, LABELS), inputs.tensors[0]) if inputs.tensors else {}
    files = of_samples | dict(inputs.sources)
    places: dict[str, tuple[str, int | None, str]] = {name: (file, None, name) for name, file in files.items()}
    places.setdefault("phases", ("--phases", 1, ""))
    return [Problem(*places.get(fault.where, (arch, 1, fault.where)), fault.message) for fault in faults]


class Named(NamedTuple):
    """What a user called the inputs of a run: `read_inputs` reads them, and this finds places in them again."""

    arch: str
    trace: str | None
    overrides: Sequence[str] = ()

    def infeasible(self, error: "InfeasibleError") -> list[Problem]:
        """The reasons of an error that only the mapping finds, each at its layer in the trace or its key in the architecture."""
        architecture, network = self._documents()
        rows = network.data.get("layers", [])
        places = {row["name"]: ("layers", index) for index, row in enumerate(rows)}
        problems = []
        for reason in error.reasons:
            if reason.layer in places:
                mark = network.source.mark(places[reason.layer])
            else:
                mark = architecture.source.mark(tuple(reason.key.split(".")) if reason.key else ())
            problems.append(Problem(mark.file, mark.line, mark.key, reason.message))
        if error.changes:
            problems.append(Problem(self.arch, None, "", f"it would fit with {error.options}"))
        return problems

    def _documents(self) -> tuple[Document, Document]:
        """Architecture and network as they were written."""
        if self.trace is None:
            run = run_document(Path(self.arch))
            return apply_overrides(section(run, "architecture"), self.overrides), section(run, "network")
        architecture = apply_overrides(read_with_bases(find_input("configs", self.arch)), self.overrides)
        return architecture, read_yaml(find_input("traces", self.trace))


def inputs_of(folder: Path) -> Inputs:
    """Inputs of the result in ``folder``, from its run.yaml. Raises InputError."""
    return _read_run(folder / RUN, ())


def _read_run(path: Path, overrides: Sequence[str]) -> Inputs:
    """Inputs that a run.yaml records, with ``overrides`` applied to its architecture. Raises InputError."""
    document = run_document(path)
    data, source = document
    known = (*_RUN_KEYS, "functional")
    problems = [source.problem((key,), f"unknown key; {allowed_names(key, known)}") for key in data if key not in known]
    missing = [key for key in _RUN_KEYS if key not in data]
    if "architecture" in missing or "network" in missing:
        message = "not the run.yaml of an earlier run, which alone needs no TRACE: give a TRACE too"
        raise InputError([Problem(str(path), 1, "", message)])
    problems += [Problem(str(path), 1, key, "is missing") for key in missing]
    stated: dict[str, Any] = {name: data[name] for name in ("batch", "phases", "fidelity") if name in data}
    problems += argument_problems(stated, lambda name, message: source.problem((name,), message))
    functional = _stored_functional(problems, document) if "functional" in data else None
    architecture = gather(problems, lambda: build_architecture(apply_overrides(section(document, "architecture"), overrides)))
    network = gather(problems, lambda: build_network(section(document, "network")))
    if problems:
        raise InputError(problems)
    return Inputs(architecture, network, data["batch"], in_program_order(data["phases"]), data["fidelity"], functional)


def _stored_functional(problems: list[Problem], document: Document) -> FunctionalInputs | None:
    """The section ``functional`` of a run.yaml."""
    inner = gather(problems, section, document, "functional")
    if inner is None:
        return None
    data, source = inner
    defaults = FunctionalInputs().recorded()
    found = [source.problem((key,), f"unknown key; {allowed_names(key, defaults)}") for key in data if key not in defaults]
    values = defaults | dict(data)
    counts = {"seed": values["seed"], "iterations": values["iterations"], "functional": True}
    found += argument_problems(counts, lambda name, message: source.problem((name,), message))
    files = values["tensors"]
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        found.append(source.problem(("tensors",), f"must be a list of files, got {files!r}"))
    problems += found
    return None if found else FunctionalInputs(values["seed"], values["iterations"], tuple(files))


def section(document: Document, key: str) -> Document:
    """The mapping at ``key`` as a document of its own whose marks still name the whole file. Raises InputError."""
    data = document.data[key]
    if not isinstance(data, Mapping):
        raise InputError([document.source.problem((key,), f"must be a section (a mapping of keys to values), got {data!r}")])
    return Document(dict(data), SourceMap({path[1:]: mark for path, mark in document.source.items() if path[:1] == (key,)}))
