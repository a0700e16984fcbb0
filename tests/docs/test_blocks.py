"""Every fenced block of README and docs: Python and commands run, inputs are read, and what is too long for that says why."""

import shlex
import tomllib

import click
import pytest
import yaml
from pages import PAGES, ROOT, TUTORIAL, Session, blocks

from etasim.cli import main
from etasim.config import load_architecture
from etasim.explore.calibration_space import load_calibration
from etasim.explore.space import load_space
from etasim.explore.space_reading import load_design_space
from etasim.training import load_scheme
from etasim.training.recipe import load_recipe
from etasim.workload import load_network

BLOCKS = [block for page in PAGES for block in blocks(page)]
RUNNING = sorted({block.page for block in BLOCKS if block.page not in TUTORIAL and not block.reason and not block.test
                  and (block.commands or block.language == "python")})  # fmt: skip
LANGUAGES = {"bash", "console", "python", "yaml", "toml", "text", "mermaid", "{toctree}"}
NOT_RUN = 20
"""Blocks that say why they are not run. A new one is a decision."""


def written(text, folder):
    path = folder / "block.yaml"
    path.write_text(text)
    return path


def part_of_an_architecture(text, folder):
    return load_architecture(written(f"name: shown\nextends: eta_vc709\n{text}", folder))


def part_of_a_scheme(text, folder):
    return load_scheme("pint8", {"layers": yaml.safe_load(text)["layers"]})


KINDS = {
    "network": lambda text, folder: load_network(written(text, folder)),
    "sweep": lambda text, folder: load_space(written(text, folder)),
    "space": lambda text, folder: load_design_space(written(text, folder)),
    "calibration": lambda text, folder: load_calibration(written(text, folder)),
    "recipe": lambda text, folder: load_recipe(written(text, folder)),
    "part of an architecture": part_of_an_architecture,
    "part of a scheme": part_of_a_scheme,
}


def of(language, *languages):
    chosen = [block for block in BLOCKS if block.language in (language, *languages)]
    return pytest.mark.parametrize("block", chosen, ids=lambda block: block.where)


def test_every_block_says_what_it_is():
    assert [block.where for block in BLOCKS if block.language not in LANGUAGES] == []
    assert [block.where for block in BLOCKS if block.mark and not (block.reason or block.test or block.mark.startswith("yaml: "))] == []


def test_blocks_that_are_not_run_are_counted():
    assert sum(block.reason is not None for block in BLOCKS) == NOT_RUN


def test_a_test_that_runs_a_block_names_its_page():
    for block in BLOCKS:
        assert block.test is None or block.page.name in (ROOT / block.test).read_text(encoding="utf-8"), block.where


@pytest.mark.parametrize("page", RUNNING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_runs_as_it_stands(page, tmp_path):
    if "import torch" in (text := page.read_text(encoding="utf-8")) or "from torch" in text:
        pytest.importorskip("torch")
    assert Session(tmp_path).read(page) == text


@of("yaml")
def test_an_input_is_one(block, tmp_path):
    """A file that blocks below name is used there."""
    if block.file:
        assert block.file in block.page.read_text(encoding="utf-8")[block.span[1] :], f"{block.where}: nothing uses it"
    else:
        assert KINDS[block.mark.removeprefix("yaml: ")](block.text, tmp_path)


@of("toml")
def test_toml_is_toml(block):
    assert tomllib.loads(block.text)


@of("python")
def test_python_is_python(block):
    compile(block.text, block.where, "exec")


@of("bash", "console")
def test_commands_are_commands(block):
    """Also those that are not run: the command is one, its options are, and their values can be read as far as that needs no file."""
    for command in block.commands:
        words = shlex.split(command, comments=True)
        if words[0] == "etasim":
            parse(main, words[1:])


def parse(command, words):
    if isinstance(command, click.Group):
        if words:
            parse(command.commands[words[0]], words[1:])
        return
    context = click.Context(command, info_name=command.name)
    values, left, _ = command.make_parser(context).parse_args(list(words))
    assert left == [], f"{command.name}: too many arguments: {left}"
    for parameter in command.params:
        value = values.get(parameter.name)
        if isinstance(value, (str, list, tuple)) and not isinstance(parameter.type, click.Path):
            parameter.type_cast_value(context, value)


@pytest.mark.parametrize("command", ["rum", "run a --oot b", "plot a bandwith", "why found x", "validate dram noc"])
def test_a_wrong_command_is_found(command):
    with pytest.raises((click.UsageError, KeyError, AssertionError)):
        parse(main, command.split())
