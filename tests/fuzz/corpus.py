"""Sound files of every kind that a command reads, and how they come to be read."""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from etasim import noc
from etasim.config import InputError, find_input
from etasim.core.registry import PICTURES
from etasim.memory import replay
from etasim.noc.routing import NocError

from .case import Case

HAS_TORCH = importlib.util.find_spec("torch") is not None and importlib.util.find_spec("sklearn") is not None
HAS_ONNX = importlib.util.find_spec("onnx") is not None

TRACE = """\
name: resnet20_cifar                    # that of a network with published figures
input: {channels: 3, height: 6, width: 6}
classes: 4
layers:
  - {name: conv1, op: conv, out_channels: 4, kernel: 3, padding: 1}
  - {name: norm1, op: norm}
  - {name: relu1, op: relu}
  - {name: pool1, op: maxpool, kernel: 2}
  - {name: conv2, op: conv, out_channels: 4, kernel: [1, 3], padding: [0, 1], groups: 2}
  - {name: add1, op: add, from: [pool1, conv2]}
  - {name: fc, op: linear, out_channels: 4, bias: true}
"""
ARCHITECTURE = """\
extends: eta_small
name: small
core: {clock: 100 MHz}
dram: {part: part.yaml, channels: 1, timing_clocks: {CL: 12}}
energy: {extends: energy.yaml}
board: {extends: board.yaml}
mapping: {conv*: {clusters_k: 1}}
noc:
  networks:
    - {classes: [stream, psum], link_width: 64 bit}
    - {classes: [stationary], link_width: 32 bit}
"""
SWEEP = """\
architecture: eta_small
networks: [net.yaml]
batch: [1, 2]
phases: [ff, wg]
set: {dram.channels: 2}
axes:
  - {name: link, key: noc.link_width, values: [64 bit, 128 bit]}
  - {name: queues, keys: [dram.read_queue, dram.write_queue], values: [[8, 8], [16, 4]]}
"""
CALIBRATION = """\
architecture: eta_small
networks: [net.yaml]
tolerance_percent: 5
together:
  - {name: clock, key: core.clock, values: [100 MHz, 200 MHz], reason: not known}
alone:
  - {name: lanes, keys: [unified_core.lanes, training.batch], values: [[2, 1], [8, 2]], reason: not known}
"""
DRAM_TRACE = "R 0\nW 1f\nR 10\nR 2000\nW 2001\n\nR abc\n" * 4
DRAM_RUN = "params,mapping,refresh,trace,mode,sim,cycles\nDDR3_1600K,RoBaCo,False,dep_seq,dep,ramulator2.1-FRFCFS,1\n"
NOC_TRACE = "cycle,source,destinations,flits\n0,0,3,2\n1,1,2,1\n5,2,0 1 3,4\n9,3,0,1\n"
TORCH_MODULE = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3, 1, 1)
        self.b = nn.Conv2d(4, 4, 3, 2, 1, groups=2)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        y = torch.relu(self.norm(self.b(self.a(x))))
        return self.fc(torch.flatten(self.pool(y + y), 1))


def model():
    return Block()
"""
TRAIN = ("--epochs", 1, "--train-samples", 8, "--batch", 4, "--threads", 1)


class Kind(NamedTuple):
    """A kind of file. ``make`` fills a folder with sound files and returns the names of those that are damaged; ``read`` runs what reads
    them. ``has_digest``: any change of a byte must be noticed."""

    make: Callable[[Case], list[str]]
    read: Callable[[Case], None]
    has_digest: bool = False


def scheme_text() -> str:
    """A shipped scheme."""
    return find_input("configs/schemes", "pint8").read_text(encoding="utf-8")


def train(case: Case, *options: Any, scheme: Any = "pint8") -> None:
    """A training of a second."""
    case.etasim("train", "resnet8_narrow", *TRAIN, "--scheme", scheme, "--out", case.folder / "trained", *options)


def _files(**texts: str) -> Callable[[Case], list[str]]:
    """Makes the files of these names; the first one is damaged."""

    def make(case: Case) -> list[str]:
        for name, text in texts.items():
            case.write(name.replace("__", "."), text)
        return [next(iter(texts)).replace("__", ".")]

    return make


def _machine_files(damaged: str) -> Callable[[Case], list[str]]:
    shipped = {"part.yaml": ("configs/dram", "ddr3_1600k_4gb_x8"), "energy.yaml": ("configs/energy", "fpga_28nm")}
    shipped["board.yaml"] = ("configs/boards", "vc709")

    def make(case: Case) -> list[str]:
        case.write("arch.yaml", ARCHITECTURE)
        case.write("net.yaml", TRACE)
        for name, place in shipped.items():
            case.write(name, find_input(*place).read_bytes())
        return [damaged]

    return make


def _run(case: Case, *arguments: Any) -> None:
    case.etasim("run", *arguments, "--out", case.folder / "again")


def _run_machine(case: Case) -> None:
    _run(case, case.folder / "arch.yaml", case.folder / "net.yaml", "--batch", 1)


def _tensors(case: Case) -> list[str]:
    case.write("net.yaml", TRACE)
    random = np.random.default_rng(1)
    arrays = {"inputs": random.standard_normal((3, 3, 6, 6)), "labels": random.integers(4, size=3)}
    arrays |= {"conv1.weight": random.standard_normal((4, 3, 3, 3)).astype(np.float32), "fc.bias": np.zeros(4)}
    with (case.folder / "tensors.npz").open("wb") as file:
        (np.savez_compressed if case.choices.chance(0.5) else np.savez)(file, **arrays)
    return ["tensors.npz"]


def _run_tensors(case: Case) -> None:
    files = [path for path in (case.folder / "tensors.npz", case.folder / "out" / "state.npz") if path.exists()]
    options = [word for path in files for word in ("--tensors", path)]
    _run(case, "eta_small", case.folder / "net.yaml", "--batch", 1, "--functional", *options)


def _result(*options: Any, damaged: tuple[str, ...]) -> Callable[[Case], list[str]]:
    """A result folder of a run with ``options``."""

    def make(case: Case) -> list[str]:
        case.write("net.yaml", TRACE)
        case.etasim("run", "eta_small", case.folder / "net.yaml", "--batch", 1, *options, "--out", case.folder / "out")
        return [f"out/{name}" for name in damaged]

    return make


def _plots(case: Case) -> None:
    case.etasim("plot", case.folder / "out", case.choices.one_of(PICTURES.names), "-o", case.folder / "picture.png")


def _swept(case: Case) -> list[str]:
    case.write("sweep.yaml", SWEEP)
    case.write("net.yaml", TRACE)
    case.etasim("sweep", case.folder / "sweep.yaml", "--workers", 1, "--out", case.folder / "out")
    return ["out/points.csv"]


def _read_points(case: Case) -> None:
    if case.choices.chance(0.5):
        case.etasim("plot", case.folder / "out", "pareto", "-o", case.folder / "picture.png")
    else:
        case.etasim("sweep", case.folder / "sweep.yaml", "--workers", 1, "--resume", "--out", case.folder / "out")


def _trained(*damaged: str) -> Callable[[Case], list[str]]:
    def make(case: Case) -> list[str]:
        train(case)
        return [f"trained/{name}" for name in damaged]

    return make


def _onnx(case: Case) -> list[str]:
    import onnx
    from onnx import TensorProto, helper

    def tensor(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="c", pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c"], ["r"], name="r"),
        helper.make_node("MaxPool", ["r"], ["p"], name="p", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], name="f"),
        helper.make_node("Gemm", ["f", "v"], ["y"], name="fc", transB=1),
    ]
    weights = [tensor("w", [4, 3, 3, 3]), tensor("v", [5, 64])]
    graph = helper.make_graph(nodes, "g", [tensor("x", [1, 3, 8, 8]), *weights], [tensor("y", [1, 5])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), case.folder / "model.onnx")
    return ["model.onnx"]


def _torch_module(case: Case) -> list[str]:
    """A module of a name of its own: Python keeps modules that it has imported."""
    case.write("model.py", TORCH_MODULE)
    return ["model.py"]


def _read_module(case: Case) -> None:
    from .modules import imported_from

    with imported_from(case.folder, "model"):
        case.etasim("trace", "model:model", "--input", "3x8x8", "-o", case.folder / "out.yaml")


def _references(case: Case) -> list[str]:
    """A little of the DRAM references, and one line of the NoC's."""
    source = Path(__file__).parents[1] / "validation" / "data"
    line_of_noc = (source / "noc" / "sweep.csv").read_bytes().splitlines()[:2]
    files = {
        "dram/parameters.json": (source / "dram" / "parameters.json").read_bytes(),
        "dram/reference_runs.csv": DRAM_RUN,
        "dram/exact_without_refresh.json": '{"DDR3_1600K/RoBaCo": {"dep_seq": {"cycles_r21": 1}}}',
        "noc/sweep.csv": b"\n".join(line_of_noc) + b"\n",
    }
    for name, content in files.items():
        case.write(f"references/{name}", content)
    return [f"references/{name}" for name in files]


def _validate(case: Case) -> None:
    part = ("noc",) if any("noc/sweep" in name for name in case.damaged) else ("dram",)
    case.etasim("validate", *part, "--references", case.folder / "references", allowed=(0, 1, 2))


def _replay_dram(case: Case) -> None:
    mode, path = case.choices.one_of(["sat", "dep", "pace3"]), case.folder / "trace.txt"
    case.call(f"replay dram {path.name}", lambda: replay("DDR3_1600K", "RoBaCo", path, mode), (ValueError, InputError))


def _replay_noc(case: Case) -> None:
    path, network = case.folder / "trace.csv", {"topology": "mesh", "columns": 2, "rows": 2, "virtual_channels": 2, "buffer_depth": 8}
    case.call(f"replay noc {path.name}", lambda: noc.replay(network, traffic=f"trace:{path}"), (NocError,))


def _recorded(case: Case) -> list[str]:
    names = _result("--functional", "--tensors", case.folder / "tensors.npz", damaged=("run.yaml",))
    _tensors(case)
    return names(case)


def _bundled(case: Case) -> list[str]:
    """A bundle with tensors; what it was made of is gone."""
    _recorded(case)
    case.etasim("bundle", case.folder / "out", "-o", case.folder / "run.zip")
    (case.folder / "tensors.npz").unlink()
    return ["run.zip"]


def _repeated(case: Case) -> None:
    case.etasim("run", case.folder / "run.zip", "--out", case.folder / "again", allowed=(0, 1, 2))


@cache
def kinds() -> dict[str, Kind]:
    """Kinds of files by name; those that need an extra only where it is installed."""
    found = {
        "architecture": Kind(_machine_files("arch.yaml"), _run_machine),
        "part": Kind(_machine_files("part.yaml"), _run_machine),
        "energy": Kind(_machine_files("energy.yaml"), _run_machine),
        "board": Kind(_machine_files("board.yaml"), _run_machine),
        "trace": Kind(_machine_files("net.yaml"), _run_machine),
        "sweep": Kind(_files(sweep__yaml=SWEEP, net__yaml=TRACE), lambda case: _sweep(case)),
        "calibration": Kind(_files(calibration__yaml=CALIBRATION, net__yaml=TRACE), lambda case: _calibrate(case)),
        "tensors": Kind(_tensors, _run_tensors),
        "state": Kind(_result("--functional", damaged=("state.npz",)), _run_tensors),
        "run": Kind(_recorded, lambda case: _run(case, case.folder / "out" / "run.yaml")),
        "bundle": Kind(_bundled, _repeated),
        "results": Kind(_result(damaged=("results.json",)), _plots),
        "layers": Kind(_result(damaged=("layers.csv",)), _plots),
        "points": Kind(_swept, _read_points),
        "dram trace": Kind(_files(trace__txt=DRAM_TRACE), _replay_dram),
        "noc trace": Kind(_files(trace__csv=NOC_TRACE), _replay_noc),
        "references": Kind(_references, _validate),
    }
    if HAS_TORCH:
        found |= {
            "scheme": Kind(_files(scheme__yaml=scheme_text()), lambda case: train(case, scheme=case.folder / "scheme.yaml")),
            "checkpoint": Kind(_trained("checkpoint.pt"), lambda case: train(case, "--resume"), has_digest=True),
            "recipe": Kind(_trained("recipe.json", "network.yaml"), lambda case: _cost(case)),
            "module": Kind(_torch_module, _read_module),
        }
    if HAS_ONNX:
        found["onnx"] = Kind(_onnx, lambda case: case.etasim("import", case.folder / "model.onnx", "-o", case.folder / "out.yaml"))
    return found


def _sweep(case: Case) -> None:
    case.etasim("sweep", case.folder / "sweep.yaml", "--workers", 1, "--out", case.folder / "out")


def _calibrate(case: Case) -> None:
    case.etasim("calibrate", case.folder / "calibration.yaml", "--workers", 1, "--simulate", 2, "--out", case.folder / "out")


def _cost(case: Case) -> None:
    case.etasim("cost", case.folder / "trained", "eta_small", *(["--json"] if case.choices.chance(0.5) else []))
