"""Simulates a network with ReLU6 alone, behind a convolution, a normalization and an addition; prints what its values come to."""

import json

import numpy as np
import yaml

from etasim import load_architecture, simulate
from etasim.config.reading import Document, parse_yaml
from etasim.workload.trace import build_network

TRACE = {
    "name": "six", "input": {"channels": 3, "height": 6, "width": 6}, "classes": 3,
    "layers": [
        {"name": "first", "op": "relu6"},
        {"name": "stem", "op": "conv", "out_channels": 5, "kernel": 3, "padding": 1, "bias": True},
        {"name": "second", "op": "relu6"},
        {"name": "conv", "op": "conv", "out_channels": 5, "kernel": 3, "padding": 1},
        {"name": "norm", "op": "norm"},
        {"name": "third", "op": "relu6"},
        {"name": "sum", "op": "add", "from": ["third", "second"]},
        {"name": "fourth", "op": "relu6"},
        {"name": "pool", "op": "avgpool", "kernel": 3},
        {"name": "fc", "op": "linear", "out_channels": 3},
    ],
}  # fmt: skip

network = build_network(Document(*parse_yaml(yaml.dump(TRACE), "six")))
inputs = np.linspace(-20, 20, 2 * 108).reshape(2, 3, 6, 6)
tensors = {"inputs": inputs, "labels": np.array([0, 2])}
result = simulate(load_architecture("eta_small"), network, batch=2, functional=True, tensors=tensors)
values = result.values
print(json.dumps({
    "mismatch": str(values.mismatch), "n_tensors": values.n_tensors,
    "output": values["first.ofmap"].real().tolist(), "mask": values["first.mask"].integers.tolist(),
    "norm": values["third.ofmap"].real().tolist(), "error": values["stem.error"].real().tolist(),
}))  # fmt: skip
