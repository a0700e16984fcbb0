"""Names that a user may write, and kernels that are chosen by number."""

import pytest

from etasim.core import registry
from etasim.core.jit import chooser, entry, kernel
from etasim.core.registry import PluginError, Registry, UnknownNameError


@pytest.fixture
def shapes() -> Registry:
    kinds = Registry("shape", "etasim.core.registry")
    kinds.add("circle", "round")
    kinds.add("square", "flat")
    return kinds


def test_names_keep_the_order_in_which_they_were_added(shapes):
    assert shapes.names == tuple(shapes) == ("circle", "square")
    assert (shapes["square"], shapes.number("square"), "cube" in shapes) == ("flat", 1, False)


def test_an_unknown_name_says_what_is_allowed_and_what_is_close(shapes):
    with pytest.raises(UnknownNameError, match=r"^unknown shape 'Squre'; allowed: circle, square; did you mean 'square'\?$"):
        shapes["Squre"]


def test_a_name_stands_for_one_thing(shapes):
    shapes.add("circle", "round")
    with pytest.raises(PluginError, match="shape 'circle' is there already, from test_core_registry"):
        shapes.add("circle", "flat")


class _Point:
    name, value, module, dist = "broken", "broken_package", "broken_package", None

    def load(self):
        raise ImportError("no module named broken_package")


def test_a_package_that_cannot_be_loaded_is_named(monkeypatch):
    registry._points.cache_clear()
    monkeypatch.setattr(registry, "_begun", [])
    monkeypatch.setattr(registry, "_failures", [])
    monkeypatch.setattr(registry, "entry_points", lambda group: [_Point()])
    try:
        for _ in range(2):
            with pytest.raises(PluginError, match=r"broken = broken_package of etasim\.plugins: ImportError: no module"):
                registry.load_plugins()
    finally:
        registry._points.cache_clear()


def test_machine_code_is_kept_apart_by_the_sources_of_packages(monkeypatch, tmp_path):
    def digest() -> str:
        registry._points.cache_clear()
        registry.plugins_digest.cache_clear()
        return registry.plugins_digest()

    try:
        without = digest()
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(registry, "entry_points", lambda group: [_Point()])
        missing = digest()
        (tmp_path / "broken_package.py").write_text("x = 1")
        first = digest()
        (tmp_path / "broken_package.py").write_text("x = 2")
        assert len({without, missing, first, digest()}) == 4
    finally:
        registry._points.cache_clear()
        registry.plugins_digest.cache_clear()


@kernel
def _sum(x, y):
    return x + y


@kernel
def _product(x, y):
    return x * y


_arithmetic = chooser("_arithmetic", ("x", "y"), (_sum, _product))


@entry
def _compute(which, x, y):
    return _arithmetic(which, x, y)


def test_a_kernel_is_chosen_by_number():
    assert [_compute(which, 3, 4) for which in range(2)] == [7, 12]


def test_kernels_may_be_named_until_the_first_caller_is_compiled():
    kernels = []
    late = chooser("late", ("x", "y"), lambda: kernels)

    @entry
    def compute(which, x, y):
        return late(which, x, y)

    kernels += [_sum, _product, _sum]
    assert [compute(which, 3, 4) for which in range(3)] == [7, 12, 7]
