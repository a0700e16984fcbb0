"""Design-space files: what their axes are, how designs are numbered, and every mistake at its line."""

import itertools

import pytest
from command_line import invoke
from hypothesis import given, settings
from hypothesis import strategies as st

from etasim.config import InputError
from etasim.explore.assess import Assessment, assess
from etasim.explore.space import load_space
from etasim.explore.space_file import DesignAxis
from etasim.explore.space_reading import load_design_space
from etasim.report.board import board_rows

SPACE = """\
architecture: eta_vc709
networks: [resnet20_cifar, digits_cnn]
batch: [4, 8]
set: {noc.columns: auto, noc.rows: auto, noc.placement: auto}
axes:
  - {key: array.clusters, range: {from: 1, to: 3}}
  - {key: array.lanes, powers_of_two: {from: 4, to: 16}}
  - {name: clock, key: core.clock, log_range: {from: 100, to: 400, points: 3, unit: MHz}}
  - {key: noc.topology, categories: [mesh, torus]}
  - {name: memory, keys: [array.psum_depth, array.stream_scratchpad], values: [[64, 16 KiB], [32, 8 KiB]]}
derived:
  array.columns: "= 64 / array.lanes"
  array.stationary_scratchpad: "= array.stream_scratchpad / 4"
constraints: [fits_board, dsp <= 2048, "power_w <= 10"]
objectives:
  - {metric: throughput_gops, direction: maximize, aggregate: worst}
  - {metric: energy_mj / batch, direction: minimize}
fidelity: analytical
"""


@pytest.fixture
def space_file(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


def problems_of(path, text):
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_design_space(path)
    return [f"{problem.line}: {problem.key}: {problem.message}" for problem in caught.value.problems]


def values(**axis):
    return [step["array.lanes"] for step in DesignAxis.model_validate({"key": "array.lanes", **axis}).settings()]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ({"values": [3, 1, 2]}, [3, 1, 2]),
        ({"range": {"from": 1, "to": 3}}, [1, 2, 3]),
        ({"range": {"from": 1, "to": 8, "step": 3}}, [1, 4, 7]),
        ({"range": {"from": 0.1, "to": 0.4, "step": 0.1}}, [0.1, 0.2, 0.3, 0.4]),
        ({"range": {"from": 100, "to": 200, "step": 50, "unit": "MHz"}}, ["100 MHz", "150 MHz", "200 MHz"]),
        ({"range": {"from": 5, "to": 5}}, [5]),
        ({"powers_of_two": {"from": 1, "to": 8}}, [1, 2, 4, 8]),
        ({"powers_of_two": {"from": 16, "to": 32, "unit": "KiB"}}, ["16 KiB", "32 KiB"]),
        ({"log_range": {"from": 1, "to": 1000, "points": 4}}, [1, 10, 100, 1000]),
        ({"log_range": {"from": 1, "to": 3, "points": 9}}, [1, 2, 3]),
        ({"log_range": {"from": 0.5, "to": 8, "points": 3}}, [0.5, 2, 8]),
        ({"categories": ["mesh", "torus"]}, ["mesh", "torus"]),
    ],
    ids=str,
)
def test_axes(axis, expected):
    assert values(**axis) == expected


@given(st.floats(0.01, 1e6).filter(lambda first: first != int(first)), st.floats(1.01, 1e3), st.integers(2, 40))
def test_a_log_range_has_its_ends_and_one_ratio(first, factor, points):
    found = values(log_range={"from": first, "to": first * factor, "points": points})
    assert len(found) == points
    assert (found[0], found[-1]) == (pytest.approx(first, rel=1e-5), pytest.approx(first * factor, rel=1e-5))
    assert all(b / a == pytest.approx(factor ** (1 / (points - 1)), rel=1e-4) for a, b in itertools.pairwise(found))


def test_designs_are_the_product_in_the_order_of_the_file(space_file):
    space = load_design_space(space_file)
    assert space.size == 3 * 3 * 3 * 2 * 2 * 2
    first, second, last = (space.design(number) for number in (0, 1, space.size - 1))
    assert first.settings == {
        "array.clusters": 1, "array.lanes": 4, "core.clock": "100 MHz", "noc.topology": "mesh", "array.psum_depth": 64,
        "array.stream_scratchpad": "16 KiB", "array.columns": 16, "array.stationary_scratchpad": "4096 B",
    }  # fmt: skip
    assert (first.batch, second.batch, second.settings) == (4, 8, first.settings)
    assert last.label == "array.clusters=3, array.lanes=16, clock=400 MHz, noc.topology=torus, memory=32x8 KiB, batch=8"
    assert len({str(design.settings) + str(design.batch) for design in space.designs()}) == space.size
    assert space.keys == tuple(first.settings)


@settings(max_examples=50)
@given(st.data())
def test_a_number_is_its_steps(data):
    space = load_design_space("pe_array")
    number = data.draw(st.integers(0, space.size - 1))
    assert space.number(space.steps(number)) == number


def test_a_sweep_file_is_a_space_of_the_same_points():
    sweep, space = load_space("pe_array"), load_design_space("pe_array")
    assert [point.label for point in sweep.points] == [design.label for design in space.designs()]
    assert [point.inputs.architecture for point in sweep.points] == [space.base.varied(space.overrides(d)) for d in space.designs()]


def test_a_derived_key_can_make_a_design_impossible(space_file):
    space_file.write_text(SPACE.replace("= 64 / array.lanes", "= 64 / (array.lanes - 4)"))
    space = load_design_space(space_file)
    assert [space.design(number).fault for number in (0, 24)] == ["64 / (array.lanes - 4) divides by zero", ""]


def test_identity_is_that_of_the_contents(space_file):
    def digests(text):
        space_file.write_text(text)
        space = load_design_space(space_file)
        return space.digest, space.evaluation_digest(space.design(5), "digits_cnn", "cycle")

    first = digests(SPACE)
    assert digests("# a comment\n" + SPACE) == first
    constrained = digests(SPACE.replace("2048", "2000"))
    assert (constrained[0] == first[0], constrained[1] == first[1]) == (False, True)
    for other in (
        SPACE.replace("unit: MHz", "unit: kHz"),
        SPACE.replace("= 64 /", "= 32 /"),
        SPACE.replace("noc.rows: auto", "noc.rows: 3"),
    ):
        assert not set(digests(other)) & set(first)
    space = load_design_space(space_file)
    design = space.design(5)
    assert len({space.evaluation_digest(d, n, f) for d in (design, design._replace(batch=5)) for n in ("digits_cnn", "resnet20_cifar")
                for f in ("cycle", "analytical")}) == 8  # fmt: skip


MISTAKES = [
    ("axes:", "axis:", "5: axis: unknown key; allowed: architecture, axes, batch, constraints, derived"),
    ("eta_vc709", "eta_vc7", "1: architecture: 'eta_vc7': no such file or shipped name"),
    ("digits_cnn", "digits", "2: networks[1]: 'digits': no such file"),
    ("digits_cnn", "resnet20_cifar", "2: networks[1]: 'resnet20_cifar' is there already"),
    ("{from: 1, to: 3}", "{from: 3, to: 1}", "6: axes[0].range: is empty: from 3 is above to 1"),
    ("{from: 1, to: 3}", "{from: 1, to: 3, steps: 1}", "6: axes[0].range.steps: unknown key; allowed: from, points, step, to, unit"),
    ("{from: 1, to: 3}", "{from: 1, to: 3, points: 2}", "6: axes[0].range.points: has no meaning here"),
    ("{from: 1, to: 3}", "{from: 1, to: 3, step: 0}", "6: axes[0].range.step: must be greater than 0"),
    ("{from: 1, to: 3}", "{from: 1, to: 3e9}", "6: axes[0].range.step: gives more than 100,000 steps"),
    ("range: {from: 1, to: 3}", "values: []", "6: axes[0].values: must have at least 1 entry"),
    ("range: {from: 1, to: 3}", "values: [1], categories: [2]", "6: axes[0]: needs exactly one of values, categories, range"),
    (", range: {from: 1, to: 3}", "", "6: axes[0]: needs exactly one of values"),
    ("from: 4, to: 16", "from: 3, to: 16", "7: axes[1].powers_of_two.from: must be a power of two, got 3"),
    ("from: 100", "from: 0", "8: axes[2].log_range.from: must be greater than 0"),
    (" points: 3,", "", "8: axes[2].log_range.points: is missing"),
    ("unit: MHz", "unit: Mhz", "8: axes[2].log_range.unit: unknown unit 'Mhz'"),
    ("key: core.clock", "keys: [core.clock, array.pes_per_cluster]", "8: axes[2].log_range: is for one key"),
    ("noc.topology", "noc.topologie", "9: axes[3].key: 'noc.topologie' is not a key of the architecture; did you mean 'noc.topology'?"),
    ("noc.topology", "training.momentum", "9: axes[3]: 'training.momentum' moves no figure in any fidelity: it moves values"),
    ("noc.topology", "board.source", "9: axes[3]: 'board.source' moves no figure in any fidelity: says what it is"),
    ("[32, 8 KiB]", "[32]", "10: axes[4].values[1]: must be a list of 2 entries"),
    ("array.columns:", "array.lanes:", "7: axes[1].key: 'array.lanes' is already set above"),
    ("= 64 /", "64 /", "12: derived.array.columns: must begin with '='"),
    ("64 / array.lanes", "64 / array.lane", "12: derived.array.columns: 'array.lane' is no metric, no resource and no key; did you mean"),
    ("64 / array.lanes", "dsp / array.lanes", "12: derived.array.columns: 'dsp' is no metric"),
    ("array.stream_scratchpad / 4", "array.columns * array.stationary_scratchpad", "11: derived: depends on itself by way of array.stat"),
    ("fits_board", "fits_bord", "14: constraints[0]: 'fits_bord' is no metric, no resource and no key; did you mean 'fits_board'?"),
    ("dsp <= 2048", "dsp <=", "14: constraints[1]: 'dsp <=' is no expression"),
    ("dsp <= 2048", "dsp <= -1", "14: constraints[1]: 'dsp <= -1' cannot hold for any design of this space"),
    ("dsp <= 2048", "array.lanes > 16", "14: constraints[1]: 'array.lanes > 16' cannot hold"),
    ("dsp <= 2048", "array.columns * array.lanes != 64", "14: constraints[1]: 'array.columns * array.lanes != 64' cannot hold"),
    ("dsp <= 2048", "open('x')", "14: constraints[1]: unknown function 'open'"),
    ("dsp <= 2048", "busy_share >= 0.5", "14: constraints[1]: 'busy_share' is known to the cycle model only, and fidelity is analytical"),
    ("energy_mj / batch", "idle_share", "17: objectives[1].metric: 'idle_share' is known to the cycle model only"),
    ("throughput_gops, direction: maximize", "throughput_gops", "16: objectives[0].direction: is missing"),
    ("maximize", "higher", "16: objectives[0].direction: unknown name 'higher'; allowed: maximize, minimize"),
    ("throughput_gops", "throughput", "16: objectives[0].metric: 'throughput' is no metric, no resource and no key; did you mean"),
    ("worst", "weighted", "16: objectives[0]: weights of the networks and aggregate: weighted belong together"),
    ("worst", "weighted, weights: {digits_cnn: 1}", "16: objectives[0].weights: lacks resnet20_cifar"),
    ("worst", "weighted, weights: {digits_cnn: 1, resnet20_cifar: 2, vgg: 1}", "16: objectives[0].weights.vgg: 'vgg' is no network"),
    ("fidelity: analytical", "fidelity: estimate", "18: fidelity: unknown name 'estimate'; allowed: analytical, cycle, screen"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), MISTAKES, ids=[new for _, new, _ in MISTAKES])
def test_mistakes_are_reported_with_their_line(space_file, old, new, expected):
    assert old in SPACE
    found = problems_of(space_file, SPACE.replace(old, new, 1))
    assert any(problem.startswith(expected) for problem in found), found


FULL_OF_MISTAKES = """\
architecture: eta_vc709
network: [vgg16_cifar]
networks: [vgg16_cifar, 5, resnet20_cifer]
batch: [4, 0]
set: {noc.colums: auto, core.clock: 200 MB}
axes:
  - {key: array.clusters, range: {from: 8, to: 1}}
  - {key: array.lanes, values: [4, 8], step: 2}
  - {key: array.lane, range: {from: 8, to: 1}}
  - {key: array.lanes, values: [16]}
  - {key: noc.link_width, values: [16 MHz, 128 bit, 64]}
  - {key: core.clok, range: {from: 100, to: 400, unit: Mhz}}
  - {key: training.momentum, values: [0.5, 0.9]}
  - {keys: [buffers.weight.size, buffers.errer.size], values: [[256 KiB], [512 KiB, 1 MiB]]}
  - {key: noc.topology, categories: [mesh, tores]}
  - {values: [1], nam: lost}
derived:
  array.columns: "= 64 / array.lans"
  array.pes_per_cluster: "64 / 2"
  array.psum_depth: "= 32 *"
constraints:
  - fits_bord
  - dsp <= -1
  - power_w <=
  - array.lanes > 64
  - array.clusters > 100
objectives:
  - {metric: throughput_gops}
  - {metric: power, direction: minimise, aggregate: weighted}
  - {metric: lutt, direction: minimize, agregate: worst}
fidelity: quick
"""

ALL_MISTAKES = [
    "2: network: unknown key; allowed: architecture, axes,",
    "3: networks[1]: must be text, got 5",
    "3: networks[2]: 'resnet20_cifer': no such file or shipped name; allowed: alexnet_imagenet,",
    "4: batch[1]: must be at least 1, got 0",
    "5: set.core.clock: 'MB' is not a unit of a frequency; a frequency is a number with a unit",
    "5: set.noc.colums: 'noc.colums' is not a key of the architecture; did you mean 'noc.columns'?",
    "7: axes[0].range: is empty: from 8 is above to 1",
    "8: axes[1].name: 'array.lanes' names 2 axes",
    "8: axes[1].step: unknown key; allowed: categories, key,",
    "9: axes[2].key: 'array.lane' is not a key of the architecture; did you mean 'array.lanes'?",
    "9: axes[2].range: is empty: from 8 is above to 1",
    "10: axes[3].key: 'array.lanes' is already set above",
    "10: axes[3].name: 'array.lanes' names 2 axes",
    "11: axes[4].values[0]: 'MHz' is not a unit of a width; a width is a number with a unit",
    "11: axes[4].values[2]: 64 has no unit; a width is a number with a unit",
    "12: axes[5].key: 'core.clok' is not a key of the architecture; did you mean 'core.clock'?",
    "12: axes[5].range.unit: unknown unit 'Mhz'; allowed: B, B/s, GB,",
    "13: axes[6]: 'training.momentum' moves no figure in any fidelity",
    "14: axes[7].keys[1]: 'buffers.errer.size' is not a key of the architecture; did you mean 'buffers.error.size'?",
    "14: axes[7].values[0]: must be a list of 2 entries",
    "15: axes[8].categories[1]: unknown topology 'tores'; allowed: crossbar, mesh, torus, tree; did you mean 'torus'?",
    "16: axes[9]: needs either key (one) or keys",
    "16: axes[9].nam: unknown key; allowed: categories, key,",
    "18: derived.array.columns: 'array.lans' is no metric, no resource and no key; did you mean 'array.lanes'?",
    "19: derived.array.pes_per_cluster: must begin with '='",
    "20: derived.array.psum_depth: '32 *' is no expression",
    "22: constraints[0]: 'fits_bord' is no metric, no resource and no key; did you mean 'fits_board'?",
    "23: constraints[1]: 'dsp <= -1' cannot hold for any design of this space",
    "24: constraints[2]: 'power_w <=' is no expression",
    "25: constraints[3]: 'array.lanes > 64' cannot hold for any design of this space",
    "28: objectives[0].direction: is missing",
    "29: objectives[1]: weights of the networks and aggregate: weighted belong together",
    "29: objectives[1].direction: unknown name 'minimise'; allowed: maximize, minimize; did you mean 'minimize'?",
    "29: objectives[1].metric: 'power' is no metric, no resource and no key; did you mean 'power_w'?",
    "30: objectives[2].agregate: unknown key; allowed: aggregate, direction, metric, weights; did you mean 'aggregate'?",
    "30: objectives[2].metric: 'lutt' is no metric, no resource and no key; did you mean 'lut'?",
    "31: fidelity: unknown name 'quick'; allowed: analytical, cycle, screen",
]


def beginnings(found, expected):
    """What was found, each cut to the length of what is expected in its place."""
    return [problem[: len(start)] for problem, start in itertools.zip_longest(found, expected, fillvalue="")]


def test_all_mistakes_are_reported_at_once(space_file):
    assert beginnings(problems_of(space_file, FULL_OF_MISTAKES), ALL_MISTAKES) == ALL_MISTAKES


def test_an_architecture_that_is_not_there_hides_no_other_mistake(space_file):
    found = problems_of(space_file, FULL_OF_MISTAKES.replace("eta_vc709", "eta_vc7"))
    assert found[0].startswith("1: architecture: 'eta_vc7': no such file or shipped name")
    of_steps = ("23: constraints[1]", "25: constraints[3]")  # whether a constraint can hold hangs on the machine
    expected = [mistake for mistake in ALL_MISTAKES if not mistake.startswith(of_steps)]
    assert beginnings(found[1:], expected) == expected


def test_mistakes_end_with_status_2_and_their_file_and_line(space_file, tmp_path):
    space_file.write_text(FULL_OF_MISTAKES)
    ended = invoke("explore", space_file, "--out", tmp_path / "out")
    expected = [f"{space_file}:{mistake}" for mistake in ALL_MISTAKES]
    assert (ended.exit_code, beginnings(ended.stderr.splitlines(), expected)) == (2, expected)
    assert not (tmp_path / "out").exists()


def test_a_board_is_needed_to_fit_it(space_file):
    assert any("'fits_board' needs a board" in p for p in problems_of(space_file, SPACE.replace("eta_vc709", "eta_small")))


def test_an_evaluation_says_what_became_of_a_design(space_file):
    space_file.write_text(
        SPACE.replace("networks: [resnet20_cifar, digits_cnn]", "networks: [digits_cnn]").replace("power_w <= 10", "power_w <= 7")
    )
    space = load_design_space(space_file)

    def outcome(**steps):
        chosen = [steps.get(axis.name, 0) for axis in space.axes]
        return assess(space, Assessment(space.design(space.number(chosen)), "digits_cnn", "analytical"), lambda *_: None)

    fine = outcome()
    assert (fine["status"], fine["violation"], fine["reason"]) == ("ok", 0, "")
    assert fine["dsp"] == board_rows(space.base.varied(space.overrides(space.design(0))))[0]["used"]
    assert fine["throughput_gops"] > 0
    assert sum(fine[f"{phase}_share"] for phase in ("ff", "bp", "wg", "wu")) == pytest.approx(1)
    assert fine["busy_share"] is None, "only a simulation knows"
    no_machine = outcome(**{"noc.topology": 1})
    assert no_machine["status"] == "infeasible"
    assert "a torus needs two VCs" in no_machine["reason"]
    assert no_machine["throughput_gops"] is None
    misfit = outcome(**{"array.lanes": 2})
    assert misfit["status"] == "infeasible"
    assert "must divide" in misfit["reason"]
    space_file.write_text(space_file.read_text().replace("power_w <= 7", "power_w <= 2"))
    space = load_design_space(space_file)
    hot = outcome()
    assert (hot["status"], hot["throughput_gops"]) == ("excluded", fine["throughput_gops"])
    assert hot["reason"] == f"power_w <= 2: {fine['power_w']:.6g}"
    assert hot["violation"] == pytest.approx(fine["power_w"] / 2 - 1, rel=1e-5)
    space_file.write_text(space_file.read_text().replace("dsp <= 2048", "dsp <= 100"))
    space = load_design_space(space_file)
    large = outcome()
    assert (large["status"], large["throughput_gops"]) == ("excluded", None), "judged before it is evaluated"
    assert large["reason"] == f"dsp <= 100: {large['dsp']}"


def test_the_estimate_leaves_to_the_cycle_model_what_it_does_not_know(space_file):
    text = SPACE.replace("dsp <= 2048", "busy_share >= 0.9").replace("[resnet20_cifar, digits_cnn]", "[digits_cnn]")
    space_file.write_text(text.replace("fidelity: analytical", "fidelity: screen"))
    space = load_design_space(space_file)
    design = space.design(0)._replace(batch=1)
    estimate, simulated = (assess(space, Assessment(design, "digits_cnn", name), lambda *_: None) for name in ("analytical", "cycle"))
    assert (estimate["status"], simulated["status"]) == ("ok", "excluded")
    assert simulated["reason"] == f"busy_share >= 0.9: {simulated['busy_share']:.6g}"


def test_the_cycle_model_books_every_cluster_cycle(space_file):
    space = load_design_space(space_file)
    found = assess(space, Assessment(space.design(0)._replace(batch=1), "digits_cnn", "cycle"), lambda *_: None)
    shares = [
        found[f"{cause}_share"]
        for cause in ("busy", "stationary_stall", "stream_stall", "psum_stall", "gather_conflict", "fill_drain", "idle")
    ]
    assert sum(shares) == pytest.approx(1)
