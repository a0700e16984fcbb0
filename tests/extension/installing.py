"""Python with other packages beside this checkout."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
Command = Callable[..., subprocess.CompletedProcess]


def command_with(*folders: Path, **more: str) -> Command:
    """Runs Python with ``folders`` and this checkout on its path."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*folders, CHECKOUT)))} | more

    def run(*arguments: object) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False)

    return run
