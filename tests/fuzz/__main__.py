"""`python -m tests.fuzz`, from the root of a checkout."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "given"), str(TESTS.parent)]  # the package is `fuzz`, as pytest finds it

from fuzz.campaign import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main())
