"""The house rules that a machine can check: names, sizes, the order of the rooms, and what documentation mentions."""

import ast
import re
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

import etasim

PACKAGE = Path(etasim.__file__).parent
ROOT = PACKAGE.parent
SOURCES = {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

ROOMS = (
    "core", "program", "config", "ops", "workload", "numerics", "noc", "memory", "schedule", "pe", "mapping", "estimate", "functional",
    "machine", "rtl", "report", "explore", "training", "cli",
)  # fmt: skip
"""From low to high: a room imports from those before it only, in functions too."""

NOT_IN_ORDER: set[tuple[str, str]] = set()
"""Imports that are to go."""

STANDING_TWICE: set[str] = set()
"""Class names that are to part."""

MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 60


def test_the_fast_tier_names_what_is_there():
    """``pytest @tests/fast.txt``; one that is gone would end it."""
    named = (ROOT / "tests" / "fast.txt").read_text(encoding="utf-8").split()
    assert len(set(named)) == len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def trees():
    return {name: ast.parse(text) for name, text in SOURCES.items()}


def test_no_class_name_stands_twice():
    names = Counter(node.name for tree in trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert {name for name, uses in names.items() if uses > 1} == STANDING_TWICE


def test_files_and_functions_are_short():
    long_files = {name: text.count("\n") for name, text in SOURCES.items() if text.count("\n") > MOST_LINES}
    functions = {
        f"{name}: {node.name}": node.end_lineno - node.lineno + 1
        for name, tree in trees().items() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    }  # fmt: skip
    assert (long_files, {name: n for name, n in functions.items() if n > MOST_LINES_OF_A_FUNCTION}) == ({}, {})


def room_of(name: str) -> str:
    return name.split("/")[0].removesuffix(".py")


def imported_rooms(tree: ast.AST) -> set[str]:
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    modules += [f"etasim.{alias.name}" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "etasim"
                for alias in node.names]  # fmt: skip
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return {module.split(".")[1] for module in modules if module.startswith("etasim.")} & set(ROOMS)


def test_rooms_import_from_below_only():
    """Which also leaves no circle."""
    arrows = {(room_of(name), to) for name, tree in trees().items() for to in imported_rooms(tree) if to != room_of(name)}
    assert {room for room, _ in arrows} <= {*ROOMS, "__init__", "__main__"}
    upward = {(room, to) for room, to in arrows if room in ROOMS and ROOMS.index(room) < ROOMS.index(to)}
    assert upward == NOT_IN_ORDER


def exists(dotted: str) -> bool:
    """Whether ``etasim.x.y`` is a module, or an attribute of one."""
    module, *names = dotted.split(".")
    found = import_module(module)
    for i, name in enumerate(names):
        if not hasattr(found, name):
            try:
                import_module(".".join([module, *names[: i + 1]]))
            except ModuleNotFoundError:
                return False
        found = getattr(found, name)
    return True


def mentioned(pattern: str) -> set[tuple[str, str]]:
    texts = SOURCES | {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in DOCUMENTS}
    return {(name, match) for name, text in texts.items() for match in re.findall(pattern, text)}


def test_modules_that_are_mentioned_exist():
    pytest.importorskip("torch")
    names = mentioned(r"`(etasim(?:\.\w+)+)")
    assert len(names) > 50
    assert sorted((where, name) for where, name in names if "shipped_" not in name and not exists(name)) == []


def test_files_that_documents_mention_exist():
    names = mentioned(r"`(?:etasim/)?([\w/]+\.py)(?:: (\w+))?`")
    assert len(names) > 50
    wrong = []
    for where, (path, name) in names:
        places = [place for place in (*SOURCES, "setup.py") if f"/{place}".endswith(f"/{path}")]
        places += [file.as_posix() for file in (ROOT / "tests").rglob(Path(path).name)]
        if not places or (name and not exists(f"etasim.{path.removesuffix('.py').replace('/', '.')}.{name}")):
            wrong.append((where, path, name))
    assert sorted(wrong) == []
