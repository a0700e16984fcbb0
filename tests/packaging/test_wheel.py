"""The wheel, made from the source archive and installed elsewhere: commands run from another folder, without a home, from a package that
cannot be written."""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import matplotlib
import pytest
from pages import blocks

import etasim
from etasim.core.jit import cache_folder

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
SPACE = """\
architecture: eta_small
networks: [digits_cnn]
axes:
  - {key: unified_core.lanes, values: [4, 8]}
objectives:
  - {metric: throughput_gops, direction: maximize}
  - {metric: mac_units, direction: minimize}
fidelity: analytical
"""
OF_THE_README = (
    "etasim list",
    "etasim doctor",
    "etasim run eta_vc709 resnet20_cifar --batch 1 --out results/",
    "etasim plot results/ bandwidth",
    "etasim run results/run.yaml --out again/",
    "etasim bundle results/",
    "etasim report results/ -o page.html",
    "etasim explain stream_stall_cycles",
    "etasim explore pe_array_vc709 --out found/ --method nsga2 --budget 240",
    "etasim plot found/ pareto",
    "etasim why found/ 1234",
    "etasim board eta_vc709",
)
CHARTS = os.environ.get("CI") or importlib.util.find_spec("vl_convert")
INSTEAD = {"eta_vc709": "eta_small", "resnet20_cifar": "digits_cnn", "pe_array_vc709": "space.yaml", "nsga2": "random", "1234": "1"}


def built(hook, source, into):
    """The archive that a hook of the build backend makes of ``source``; no package index is asked."""
    done = subprocess.run([sys.executable, "-c", BUILD, hook, into], cwd=source, capture_output=True, text=True, check=True)
    return into / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder of the installed wheel. A file in the place of the package's ``__pycache__`` keeps machine code out, whoever runs this."""
    work = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, work / "source", ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist"))
    archive = built("build_sdist", work / "source", work)
    with tarfile.open(archive) as packed:  # Python 3.11.2, Debian's, has no `filter` in shutil
        packed.extractall(work / "unpacked", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    wheel = built("build_wheel", work / "unpacked" / archive.name.removesuffix(".tar.gz"), work)
    target = work / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target", target, wheel]
    subprocess.run(pip, check=True)
    (target / "etasim" / "__pycache__").touch()
    return target


@pytest.fixture
def run(installed, tmp_path):
    """Runs the installed command in an empty folder; ``cached`` with the machine code of this checkout, and with the list of fonts."""

    def command(*arguments, cached=True):
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), "XDG_CACHE_HOME": os.devnull}
        if cached and cache_folder() is not None:
            environment |= {"NUMBA_CACHE_DIR": str(cache_folder()), "MPLCONFIGDIR": matplotlib.get_cachedir()}
        script = [sys.executable, installed / "bin" / "etasim", *arguments]
        done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done

    return command


def test_the_archives_are_of_this_version_and_its_licence(installed):
    (about,) = installed.glob("etasim-*.dist-info")
    assert about.name == f"etasim-{etasim.__version__}.dist-info"
    assert (about / "licenses" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert "License-Expression: MIT" in (about / "METADATA").read_text()


@pytest.mark.parametrize(("name", "folder"), [("configs", "configs"), ("traces", "traces"), ("references", "tests/validation/data")])
def test_every_input_is_in_the_wheel(installed, name, folder):
    def contents(root):
        files = (path for path in root.rglob("*") if path.suffix in (".yaml", ".csv", ".gz", ".json") and path.name != "digests.json")
        return {path.relative_to(root): path.read_bytes() for path in files}

    assert contents(ROOT / folder)
    assert contents(installed / "etasim" / f"shipped_{name}") == contents(ROOT / folder)


def test_a_result_is_the_checkouts_to_the_byte(run, tmp_path):
    run("run", "eta_small", "digits_cnn", "--batch", "2", "--out", "there")
    shown = run("plot", "there", "bandwidth")
    assert Path(shown.stdout.strip()).name == "bandwidth.png"
    assert (tmp_path / "there" / "bandwidth.png").stat().st_size > 10_000
    again = [sys.executable, "-m", "etasim", "run", tmp_path / "there" / "run.yaml", "--out", tmp_path / "here"]
    subprocess.run(again, cwd=ROOT, check=True, capture_output=True)
    for name in ("results.json", "layers.csv", "run.yaml", "series.npz"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_the_models_stand_beside_their_reference_runs(run):
    found = json.loads(run("validate", "noc", "--json").stdout)
    assert (found["passed"] > 900, found["failed"]) == (True, 0)


def test_the_published_figures_are_reproduced(run):
    found = json.loads(run("reproduce", "--batch", "1", "--json").stdout)
    assert {row["network"] for row in found["rows"]} >= {"vgg16_cifar", "resnet20_cifar", "resnet18_imagenet"}


@pytest.mark.skipif(not CHARTS, reason="needs the extra report")
def test_commands_of_the_readme_run_in_another_folder(run, tmp_path):
    """As they stand there, but on a small machine and a small space."""
    shown = [shlex.split(command, comments=True)[1:] for block in blocks(ROOT / "README.md") for command in block.commands]
    wanted = [command.split()[1:] for command in OF_THE_README]
    assert [words for words in wanted if words not in shown] == []
    (tmp_path / "space.yaml").write_text(SPACE)
    for words in wanted:
        run(*(words if words[0] == "board" else (INSTEAD.get(word, word) for word in words)))
    assert json.loads((tmp_path / "results" / "results.json").read_text()) == json.loads((tmp_path / "again" / "results.json").read_text())
    assert {"page.html", "results.zip"} <= {path.name for path in tmp_path.iterdir()}
    assert {"points.csv", "pareto.png"} <= {path.name for path in (tmp_path / "found").iterdir()}


def test_nothing_need_be_writable_but_the_results(run, tmp_path):
    """Without a folder for machine code kernels are compiled in the process."""
    assert run("run", "eta_small", "digits_cnn", "--fidelity", "analytical", "--out", "estimate", cached=False).stderr == ""
    assert json.loads((tmp_path / "estimate" / "results.json").read_text())["fidelity"] == "analytical"
