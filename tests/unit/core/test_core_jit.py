"""Kernels run from Python and from kernels, and machine code goes where it is found again."""

import os
import subprocess
import sys
from typing import NamedTuple

import numba
import numpy as np
import pytest

from etasim.core import jit, machine_code
from etasim.core.jit import entry, kernel, procedure, routine


@kernel
def _double(values, i):
    values[i] *= 2
    return values[i]


@entry
def _double_all(values):
    total = 0
    for i in range(values.shape[0]):
        total += _double(values, i)
    return total


def test_kernels_run_in_kernels_and_from_python():
    values = np.array([1, 2, 3])
    assert _double_all(values) == 12
    assert _double(values, 1) == 8
    assert values.tolist() == [2, 8, 6]


@routine
def _scale(values, i, factor):
    values[i] *= factor
    return values[i]


@entry
def _scale_all(values, factor):
    return _scale(values, 0, 1) + _scale(values, 1, 3) + _scale(values, 2, factor)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
def test_a_routine_is_compiled_once_whatever_constants_it_is_called_with():
    assert _scale_all(np.array([1, 2, 3]), 5) == 22
    assert len(_scale.dispatcher.overloads) <= 1


def test_routines_run_in_kernels_and_from_python():
    values = np.array([1, 2, 3])
    assert _scale_all(values, 5) == 22
    assert _scale(values, 1, 7) == 42
    assert values.tolist() == [1, 42, 15]


def test_one_file_imports_numba():
    importing = [
        path.relative_to(jit.PACKAGE).as_posix()
        for path in jit.PACKAGE.rglob("*.py")
        if any(line.strip().startswith(("import numba", "from numba")) for line in path.read_text().splitlines())
    ]
    assert sorted(importing) == ["core/compiling.py"]


def test_the_cache_goes_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert machine_code.cache_folder.__wrapped__() == tmp_path / "cache"
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(blocked / "below"))
    assert machine_code.cache_folder.__wrapped__() is None


def test_without_the_jit_everything_counts_as_compiled():
    assert jit.is_cached(_double_all) or not numba.config.DISABLE_JIT


def test_a_user_without_a_home_has_no_cache_folder(monkeypatch, tmp_path):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    (tmp_path / "file").touch()
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine_code, "PACKAGE", tmp_path / "file" / "cannot be made")
    monkeypatch.setattr(machine_code.Path, "home", unknown)
    assert machine_code.cache_folder.__wrapped__() is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert machine_code.cache_folder.__wrapped__() == tmp_path / "etasim"


def test_machine_code_that_cannot_be_kept_is_used_all_the_same(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(numba.core.caching.Cache, "save_overload", full)

    @entry
    def double(number):
        return 2 * number

    assert double(21) == 42


class Pair(NamedTuple):
    is_odd: bool
    number: float


class Given(NamedTuple):
    pair: Pair
    nothing: None
    flags: tuple[bool, bool]
    cube: np.ndarray


@procedure
def _read_all(given, first, table, is_last) -> int:
    total = first + table[1, 0] + given.cube[0, 1, 2]
    if given.pair.is_odd and is_last:
        total += 2 * given.pair.number
    if given.flags[1] and not given.flags[0]:
        total += 1000
    table[0, 1] = total
    return total


@procedure
def _fill(values, number) -> None:
    values[:] = number


def given(number=1.5):
    return Given(Pair(True, number), None, (False, True), np.arange(24).reshape(2, 3, 4))


def test_a_procedure_reads_what_it_is_called_with_and_writes_to_arrays():
    table, values = np.arange(6).reshape(3, 2), np.zeros(3)
    assert _read_all(given(), 100, table, True) == 100 + 2 + 6 + 3 + 1000 == table[0, 1]
    assert _read_all(given(4.0), np.int64(1), table.copy(order="F"), False) == 1 + 2 + 6 + 1000
    _fill(values, 2.5)
    _fill(values[::2], -1.0)
    assert values.tolist() == [-1, 2.5, -1]


class _Small(NamedTuple):
    whole: np.int32
    real: np.float32
    is_set: bool
    last: np.float32


class _Mixed(NamedTuple):
    is_set: bool
    small: _Small
    wide: int
    narrow: np.int32


@procedure
def _spread(before: bool, mixed: _Mixed, small: _Small, found: np.ndarray) -> None:
    found[0], found[1], found[2], found[3] = before, mixed.is_set, mixed.wide, mixed.narrow
    for i, each in enumerate((mixed.small, small)):
        found[4 + 4 * i], found[5 + 4 * i] = each.whole, each.real
        found[6 + 4 * i], found[7 + 4 * i] = each.is_set, each.last


def test_numbers_of_four_bytes_lie_where_the_machine_code_reads_them():
    """Between others and in tuples of their own, which are aligned as what they hold."""
    found = np.zeros(12)
    small = [_Small(np.int32(n), np.float32(n + 0.25), n % 2 == 0, np.float32(-n)) for n in (-7, 12)]
    _spread(True, _Mixed(True, small[0], 2**40, np.int32(5)), small[1], found)
    assert found.tolist() == [1, 1, 2**40, 5, -7, -6.75, 0, 7, 12, 12.25, 1, -12]


def test_a_procedure_answers_with_a_whole_number():
    with pytest.raises(TypeError, match="answers with something else"):

        @procedure
        def half(number) -> float:
            return number / 2


@pytest.mark.skipif(jit.DISABLED, reason="nothing is compiled")
def test_what_is_compiled_runs_in_the_next_process_without_numba(tmp_path):
    (tmp_path / "thrice.py").write_text(
        "import sys\nimport numpy as np\nfrom etasim.core.jit import is_cached, kernel, procedure\n"
        "@kernel\ndef times(values, i, n):\n    values[i] *= n\n    return values[i]\n"
        "@procedure\ndef thrice(values) -> int:\n    return times(values, 0, 3)\n"
        "print(is_cached(thrice), thrice(np.array([14])), 'numba' in sys.modules)\n"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(jit.PACKAGE.parent)}

    def told():
        return subprocess.run([sys.executable, tmp_path / "thrice.py"], env=environment, capture_output=True, text=True, check=True).stdout

    assert [told() for _ in range(2)] == ["False 42 True\n", "True 42 False\n"]
    (kept,) = tmp_path.glob("*.code")
    whole = kept.read_bytes()
    for damaged in (whole[:-1], whole.replace(b"__", b"--", 1), b"", b"\xff\n\xff\n\xff"):
        kept.write_bytes(damaged)
        assert told() == "True 42 True\n"
        assert kept.read_bytes() == whole


@pytest.mark.skipif(jit.DISABLED, reason="nothing is compiled")
def test_a_procedure_that_cannot_be_kept_runs_all_the_same(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(machine_code.tempfile, "mkstemp", full)

    @procedure
    def add(values, number) -> int:
        return values[0] + number

    assert add(np.array([20]), 22) == 42
    assert not jit.is_cached(add)
