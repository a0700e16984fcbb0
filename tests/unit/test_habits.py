"""Habits of a command line: help without a question, one spelling of errors, suggestions, more and less said."""

import os
import re
import subprocess
import sys

import pytest
from command_line import invoke
from run_results import make_result

from etasim.cli import main
from etasim.report import progress
from etasim.report.console import Verbosity, saying
from etasim.report.progress import COMPILING, SimulationProgress
from etasim.report.simulated import Result

COMMANDS = {name: command for name, command in main.commands.items() if not hasattr(command, "commands")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return Result.of(make_result("digits_cnn"), 1.0).save(tmp_path_factory.mktemp("habits") / "results")


def test_no_command_is_a_question_for_help():
    result = invoke()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == invoke("--help").stdout


def test_the_list_of_commands_cuts_no_sentence():
    listed = " ".join(invoke().stdout.partition("Commands:")[2].split())
    assert "..." not in listed.replace("vgg16_cifar, ...", "")
    assert "`etasim run FILE.zip --out AGAIN` repeats them anywhere, and compares." in listed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_less_or_more(name):
    assert re.search(r"-q, --quiet .*-v, --verbose ", invoke(name, "--help").stdout, re.DOTALL)


@pytest.mark.parametrize(
    ("words", "close"),
    [
        (["rnu"], "run"),
        (["run", "eta_vc70", "digits_cnn", "--out", "x"], "eta_vc709"),
        (["run", "eta_small", "digits_cn", "--out", "x"], "digits_cnn"),
        (["run", "eta_small", "digits_cnn", "--ot", "x"], "--out"),
        (["run", "eta_small", "digits_cnn", "--out", "x", "--set", "core.clok=3"], "clock"),
        (["run", "eta_small", "digits_cnn", "--out", "x", "--phases", "ff,wgg"], "wg"),
        (["run", "eta_small", "digits_cnn", "--out", "x", "--fidelity", "cycel"], "cycle"),
        (["run", "results/rn.yaml", "--out", "x"], "results/run.yaml"),
        (["plot", "results", "bandwith"], "bandwidth"),
        (["plot", "resluts", "bandwidth"], "results/results.json"),
        (["plot", "results", "stalls", "-o", "x.pngg"], "png"),
        (["validate", "drma"], "dram"),
        (["explain", "throughput_gop"], "throughput_gops"),
        (["explore", "eta_vc709", "--method", "nsga", "--out", "x"], "nsga2"),
        (["explore", "eta_vc70", "--out", "x"], "eta_vc709"),
        (["report", "resluts", "-o", "x.html"], "results"),
        (["compare", "results", "resluts"], "results/results.json"),
        (["best", "resluts"], "results"),
        (["bundle", "resluts"], "results/results.json"),
        (["selfcheck", "monoton"], "monotone"),
        (["why", "result", "1"], "results"),
        (["cost", "resluts", "eta_small"], "results/recipe.json"),
        (["import", "results/layer.csv", "-o", "x.yaml"], "results/layers.csv"),
        (["run", "eta_small", "digits_cnn", "--out", "x", "--functional", "--tensors", "results/layer.csv"], "results/layers.csv"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_misspelt_name_is_suggested(folder, monkeypatch, words, close):
    if words[0] == "report":
        pytest.importorskip("vl_convert")
    monkeypatch.chdir(folder.parent)
    result = invoke(*words)
    assert result.exit_code == 2
    assert re.search(rf"[Dd]id you mean (one of: )?'{re.escape(close)}'", result.stderr), result.stderr


@pytest.mark.parametrize("words", [("--batch", "0"), ("--phases", "x"), ("--fidelity", "x"), ("--seed", "1"), ("--series-every", "x")])
def test_an_option_has_a_name_and_no_line(words):
    errors = invoke("run", "eta_small", "digits_cnn", "--out", "x", *words).stderr
    assert errors.startswith(f"{words[0]}: ")


def test_of_options_that_are_repeated_the_number_is_said():
    errors = invoke("run", "eta_small", "digits_cnn", "--out", "x", "--set", "core.clock=1 MHz", "--set", "x.y=1").stderr
    assert errors.startswith("--set:2: x")


def test_with_v_an_error_says_where_it_was_found():
    plain, more = (invoke("run", "eta_small", "digits_cn", "--out", "x", *words).stderr for words in ((), ("-v",)))
    assert more.endswith(plain)
    assert more.startswith("Traceback")
    assert invoke("run", "eta_small", "digits_cn", "--out", "x").stderr == plain


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def monotonic(self):
        return self.now


@pytest.mark.parametrize(("much", "seconds"), [(Verbosity.NORMAL, 10), (Verbosity.VERBOSE, 1)])
def test_without_a_terminal_progress_is_a_line_now_and_then(monkeypatch, capsys, much, seconds):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with saying(much), SimulationProgress(compiling=False) as bars:
        update, step = bars.add("vgg16"), bars.count("points", 4)
        update(0.1, 1_000_000)
        clock.now = 0.9 * seconds
        update(0.2, 1_000_000)
        clock.now = seconds
        update(0.25, 1_500_000)
        step("one: ok")
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"vgg16 25 % 1\.5 M cycles, \S+ M cycles/s; points 0 %", line)


def test_with_q_nothing_is_said_of_progress(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with saying(Verbosity.QUIET), SimulationProgress(compiling=True) as bars:
        update = bars.add("vgg16")
        clock.now = 60.0
        update(0.1, 1_000_000)
    assert capsys.readouterr().err == ""
    with SimulationProgress(compiling=True):
        pass
    assert capsys.readouterr().err == f"{COMPILING}\n"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("etasim re", {"report", "reproduce", "reproduce-accuracy"}),
        ("etasim plot results roof", {"roofline", "rooflines"}),
        ("etasim run --che", {"--checkpoint-every"}),
    ],
)
def test_the_shell_completes(words, found):
    environment = os.environ | {"_ETASIM_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run([sys.executable, "-c", "from etasim.cli import main; main(prog_name='etasim')"], env=environment,
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == found


def test_no_colour_where_none_is_wanted():
    code = "from etasim.report.progress import SimulationProgress\nwith SimulationProgress(False) as bars: bars.add('x')(0.5, 1)"
    environment = os.environ | {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    coloured, plain = (
        subprocess.run([sys.executable, "-c", code], env=environment | more, capture_output=True, text=True, check=True).stderr
        for more in ({"NO_COLOR": ""}, {"NO_COLOR": "1"})
    )
    colours = re.compile(r"\x1b\[[\d;]*(3[0-7]|9[0-7]|38;5)[\d;]*m")
    assert colours.search(coloured)
    assert not colours.search(plain)
