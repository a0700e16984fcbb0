"""Networks and architectures small enough to simulate in a test."""

import tempfile
from functools import lru_cache
from pathlib import Path

import yaml

from etasim.config import load_architecture
from etasim.machine import simulation
from etasim.machine.elaborate import elaborate
from etasim.mapping import map_iteration
from etasim.workload import load_network
from etasim.workload.lowering import PHASES


def network(shape, *layers, classes=None, name="small"):
    """A network from its input shape (channels, height, width) and entries of a trace; a linear layer to ``classes`` is added if given."""
    entries = list(layers)
    if classes is not None:
        entries.append({"name": "fc", "op": "linear", "out_channels": classes})
    document = {
        "name": name,
        "input": dict(zip(("channels", "height", "width"), shape, strict=True)),
        "classes": classes or 1,
        "layers": entries,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.yaml"
        path.write_text(yaml.safe_dump(document))
        return load_network(path)


def conv(name, out_channels, kernel=1, stride=1, padding=0, **keys):
    """Entry of a convolution."""
    return {"name": name, "op": "conv", "out_channels": out_channels, "kernel": kernel, "stride": stride, "padding": padding, **keys}


def layer(name, op, *inputs, **keys):
    """Entry of a layer; ``inputs`` default to the layer before."""
    return {"name": name, "op": op, **({"from": list(inputs)} if inputs else {}), **keys}


def one_convolution(shape, entry, classes=3):
    """A first convolution whose input needs no error, the convolution ``entry`` that trains in all phases, and a classifier."""
    return network(shape, conv("stem", shape[0]), entry, classes=classes)


def with_pins(machine, pins):
    """``machine`` with plans that are pinned."""
    return type(machine).model_validate(machine.resolved() | {"mapping": pins})


TINY = network(
    (3, 6, 6),
    conv("conv1", 4, kernel=3, padding=1, **{"from": "input"}),
    layer("norm1", "norm"),
    layer("relu1", "relu"),
    conv("conv2", 6, kernel=3, stride=2, padding=1),
    layer("norm2", "norm"),
    conv("projection", 6, stride=2, **{"from": "relu1"}),
    layer("add1", "add", "norm2", "projection"),
    layer("relu2", "relu"),
    classes=4,
    name="tiny",
)
"""Three convolutions, one of them strided, a residual addition and a classifier."""
DEEP = network(
    (4, 8, 8),
    *(each for i in range(3) for each in (conv(f"conv{i}", 8, kernel=3, padding=1), layer(f"norm{i}", "norm"), layer(f"relu{i}", "relu"))),
    classes=4,
)  # fmt: skip
JOINED = network(
    (4, 6, 6),
    conv("stem", 8, kernel=3, padding=1), layer("relu", "relu"),
    conv("left", 4, **{"from": "relu"}), conv("right", 8, kernel=3, padding=1, **{"from": "relu"}),
    layer("both", "concat", "left", "right"), layer("pool", "maxpool", kernel=2, stride=2),
    conv("last", 4, groups=2),
    classes=3,
)  # fmt: skip
SHORTCUT = network(
    (1, 1, 17),
    layer("wider", "shortcut", "input", out_channels=12, stride=1),
    layer("norm", "norm"), layer("relu", "relu"), conv("last", 6),
    classes=3,
)  # fmt: skip
"""Nobody writes the channels that the shortcut adds."""



@lru_cache(maxsize=64)
def _architecture(overrides):
    return load_architecture("eta_small", dict(overrides))


def architecture(**overrides):
    """The small architecture; ``noc__ideal=True`` overrides ``noc.ideal``."""
    return _architecture(tuple((key.replace("__", "."), value) for key, value in overrides.items()))


def finished(chosen, net, batch=1, phases=PHASES):
    """(mapping, machine, total cycles) of a simulated iteration, before any conservation law is checked."""
    mapping = map_iteration(chosen, net, batch, phases)
    machine = elaborate(chosen, mapping)
    return mapping, machine, simulation.run(machine, mapping)
