"""What a simulation comes to, as digests: a change that should move nothing is held against those on file.

``python tests/digests.py`` compares all cases, the long ones too; ``--write`` puts what it finds on file.
"""

import argparse
import contextlib
import hashlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from etasim.cli import main as etasim

FILE = Path(__file__).parent / "validation" / "data" / "digests.json"


class Case(NamedTuple):
    """A simulation: its inputs, and whether it is too long to be run with every test."""

    architecture: str
    network: str
    batch: int
    fidelity: str = "cycle"
    functional: bool = False
    is_long: bool = False

    @property
    def name(self) -> str:
        mode = "values" if self.functional else self.fidelity
        return f"{self.architecture} {self.network} batch {self.batch} {mode}"


MACHINES = ("eta_small", "eta_vc709", "stratix10_mx_16bit", "vc706_8bit")
SHORT = ("digits_cnn", "resnet20_cifar", "resnet20_cifar_a", "vgg16_cifar")
LONG = ("resnet18_imagenet", "resnet50_imagenet", "inceptionv3_cifar", "inceptionv3_cifar_short_stem")

CASES = (
    Case("eta_small", "digits_cnn", 2, functional=True),
    *(Case(machine, "digits_cnn", 3) for machine in MACHINES),
    *(Case("eta_vc709", network, 1) for network in SHORT[1:]),
    *(Case(machine, "resnet20_cifar", 1) for machine in MACHINES if machine != "eta_vc709"),
    *(Case(machine, network, 2, "analytical") for machine in MACHINES for network in SHORT),
    *(Case("eta_vc709", network, 2, "analytical") for network in LONG),
    Case("eta_vc709", "resnet20_cifar", 2, functional=True, is_long=True),
    *(Case("eta_vc709", network, 1, is_long=True) for network in LONG),
    Case("eta_small", "resnet20_cifar_a", 1, is_long=True),
)


def digests(case: Case) -> dict[str, str]:
    """SHA-256 of each file that ``etasim run`` writes, by name, of the state that of its arrays, because libraries compress the same into
    other bytes. The timeline holds when every command was issued and completed, and what happened in each sample: the series is left out.

    run_info.json is left out: it says what the computer did.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = ["run", case.architecture, case.network, "--batch", str(case.batch), "--fidelity", case.fidelity, "--out", name]
        arguments += ["--no-series"] + ["--functional"] * case.functional
        arguments += ["--timeline", str(folder / "timeline.json")] * (case.fidelity == "cycle")
        with contextlib.redirect_stdout(io.StringIO()):
            status = etasim(arguments, standalone_mode=False)
        if status:
            raise RuntimeError(f"{case.name}: exit status {status}")
        files = sorted(path for path in folder.iterdir() if path.name != "run_info.json")
        return {path.name: hashlib.sha256(b"".join(contents(path))).hexdigest() for path in files}


def contents(path: Path) -> Iterator[bytes]:
    """What a file holds: its bytes, of an archive the arrays with their names and types."""
    if path.suffix != ".npz":
        yield path.read_bytes()
        return
    with np.load(path) as arrays:
        for name in sorted(arrays.files):
            yield f"{name} {arrays[name].dtype.str} {arrays[name].shape} ".encode()
            yield arrays[name].tobytes()


def on_file() -> dict[str, dict[str, str]]:
    """Digests by the name of a case."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def main() -> int:
    """Compare, or write, all cases; exit status 1 if one differs from what is on file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put what the cases come to on file")
    parser.add_argument("--only", default="", metavar="TEXT", help="the cases whose name has TEXT")
    options = parser.parse_args()
    known, found = on_file() if FILE.exists() else {}, {}
    for case in (case for case in CASES if options.only in case.name):
        started = time.process_time()
        found[case.name] = digests(case)
        parts = [name for name, digest in found[case.name].items() if known.get(case.name, {}).get(name) != digest]
        print(f"{case.name}: {', '.join(parts) + ' differ' if parts else 'equal'} ({time.process_time() - started:.1f} s)", flush=True)
    differ = any(known.get(name) != each for name, each in found.items())
    if options.write:
        all_cases = {case.name: (known | found)[case.name] for case in CASES if case.name in known | found}
        FILE.write_text(json.dumps(all_cases, indent=1) + "\n", encoding="utf-8")
    return int(differ and not options.write)


if __name__ == "__main__":
    sys.exit(main())
