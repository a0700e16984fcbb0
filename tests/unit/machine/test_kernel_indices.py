"""Kernels count from the first element: in machine code nobody looks whether an index is negative (`etasim.core.jit`)."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
import numpy as np
from small_networks import TINY, architecture
from etasim.machine.elaborate import elaborate
from etasim.machine.simulation import run
from etasim.mapping import map_iteration
from etasim.workload.lowering import PHASES

class FromZero(np.ndarray):
    n_seen = 0

    def check(self, key):
        for each in key if isinstance(key, tuple) else (key,):
            FromZero.n_seen += 1
            if isinstance(each, (int, np.integer)) and each < 0:
                raise IndexError(f"{key} in an array {self.shape}")

    def __getitem__(self, key):
        self.check(key)
        return super().__getitem__(key)

    def __setitem__(self, key, value):
        self.check(key)
        super().__setitem__(key, value)

def watched(tree):
    if isinstance(tree, np.ndarray):
        return tree.view(FromZero)
    return type(tree)(*map(watched, tree)) if hasattr(tree, "_fields") else tree

chosen = architecture(**eval(sys.argv[1]))
mapping = map_iteration(chosen, TINY, 1, PHASES)
print(run(watched(elaborate(chosen, mapping)), mapping), FromZero.n_seen > 100_000)
"""


@pytest.mark.parametrize(
    "changes", [{}, {"dram__scheduler": "bank_round_robin", "noc__topology": "torus", "noc__virtual_channels": 6}], ids=str
)
def test_no_kernel_of_the_machine_counts_from_the_end(changes):
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", SCRIPT, repr(changes)], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split()[1:] == ["True"], done.stderr
