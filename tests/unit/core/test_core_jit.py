"""Kernels run from Python and from kernels, and machine code goes where it is found again."""

import numba
import numpy as np
import pytest

from etasim.core import jit
from etasim.core.jit import entry, kernel, routine


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
    assert len(_scale.overloads) <= 1


def test_routines_run_in_kernels_and_from_python():
    values = np.array([1, 2, 3])
    assert _scale_all(values, 5) == 22
    assert _scale(values, 1, 7) == 42
    assert values.tolist() == [1, 42, 15]


def test_two_files_import_numba():
    importing = [
        path.relative_to(jit.PACKAGE).as_posix()
        for path in jit.PACKAGE.rglob("*.py")
        if any(line.strip().startswith(("import numba", "from numba")) for line in path.read_text().splitlines())
    ]
    assert sorted(importing) == ["core/frame.py", "core/jit.py"]


def test_the_cache_goes_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert jit.cache_folder.__wrapped__() == tmp_path / "cache"
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(blocked / "below"))
    assert jit.cache_folder.__wrapped__() is None


def test_without_the_jit_everything_counts_as_compiled():
    assert jit.is_cached(_double_all) or not numba.config.DISABLE_JIT


def test_a_user_without_a_home_has_no_cache_folder(monkeypatch, tmp_path):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    (tmp_path / "file").touch()
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(jit, "PACKAGE", tmp_path / "file" / "cannot be made")
    monkeypatch.setattr(jit.Path, "home", unknown)
    assert jit.cache_folder.__wrapped__() is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert jit.cache_folder.__wrapped__() == tmp_path / "etasim"


def test_machine_code_that_cannot_be_kept_is_used_all_the_same(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(numba.core.caching.Cache, "save_overload", full)

    @entry
    def double(number):
        return 2 * number

    assert double(21) == 42
