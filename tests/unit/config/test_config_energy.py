"""The sections ``energy`` and ``board``: files that they extend, what is written over them, problems at their places."""

from fractions import Fraction

import pytest

from etasim.config import InputError, load_architecture, shipped_names
from etasim.config.loading import build_architecture
from etasim.config.reading import Document, SourceMap


@pytest.mark.parametrize("kind", ["configs/energy", "configs/boards", "configs/prior"])
def test_shipped_files_can_be_used(kind):
    section = {"configs/energy": "energy", "configs/boards": "board"}.get(kind)
    for name in shipped_names(kind):
        if section is None:
            assert load_architecture(name).name == name
        else:
            assert load_architecture("eta_small", {f"{section}.extends": name})
    assert shipped_names(kind)


def test_what_is_said_inline_lies_over_the_file():
    eta = load_architecture("eta_vc709", ["energy.dsp_block.energy=1.5 pJ", "energy.lut=null", "board.dsp.count=10"])
    plain = load_architecture("eta_vc709")
    assert eta.energy.dsp_block.energy_joule == Fraction(15, 10**13)
    assert eta.energy.dsp_block.source == plain.energy.dsp_block.source
    assert eta.energy.lut is None is not plain.energy.lut
    assert (eta.board.dsp.count, eta.board.dsp.name) == (10, "DSP48E1")


def test_another_table_takes_the_place_of_the_first():
    eta = load_architecture("eta_vc709", {"energy.extends": "fpga_14nm"})
    assert eta.energy.dsp_block.technology == "14 nm FPGA"
    assert set(eta.energy.static_power) == {"device", "clock_manager", "dram_interface"}


@pytest.mark.parametrize("name", ["eta_vc709", "stratix10_mx_16bit", "vc706_8bit", "eta_small"])
def test_a_resolved_architecture_reads_back(name):
    architecture = load_architecture(name)
    assert build_architecture(Document(architecture.resolved(), SourceMap())) == architecture


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("energy.extends=fpga_27nm", "allowed: fpga_14nm, fpga_28nm; did you mean 'fpga_28nm'?"),
        ("board.extends=vc707", "allowed: stratix10_mx, vc706, vc709"),
        ("energy.dsp_block.energy=1.5", "has no unit"),
        ("energy.static_power.fan={power: 3 W}", "is missing"),
        ("energy.multiplier=1", "unknown key; allowed: activity, dsp_block, extends, flip_flop, lut, memory_block, nets, static_power"),
        ("energy.static_power.fan={power: 3 J, source: x, technology: y}", "is not a unit of a power"),
    ],
)
def test_problems_name_their_place(override, message):
    with pytest.raises(InputError) as caught:
        load_architecture("eta_vc709", [override])
    assert all(problem.file == "--set" for problem in caught.value.problems)
    assert any(message in problem.message for problem in caught.value.problems)


def test_logic_is_a_lut_and_its_nets_at_the_activity():
    table = load_architecture("eta_vc709", {"energy.activity.factor": 0.5}).energy
    assert table.logic.energy_joule == (table.lut.energy_joule + table.nets.energy_joule) / 2
    assert not table.logic.is_assumed
    assert load_architecture("eta_vc709", {"energy.activity.source": "assumed: half"}).energy.logic.is_assumed
