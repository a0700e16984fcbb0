"""A machine that varies a base is the machine that the same file and overrides give, wherever the override falls."""

import json

import pytest
from schema_cases import CASES
from test_config_keys import settings

from etasim.config import BaseArchitecture, InputError, load_architecture

AUTO = {"noc.columns": "auto", "noc.rows": "auto", "noc.placement": "auto"}
BASES = {name: BaseArchitecture(name) for name in ("eta_small", "eta_vc709")}


def outcome(make, *arguments):
    """What became of it: the architecture, or what is wrong."""
    try:
        return make(*arguments).resolved()
    except InputError as error:
        return [(problem.key, problem.message) for problem in error.problems]


def test_every_key_varies_as_it_loads():
    """All cases of all keys: machines, and what is wrong where there is none."""
    machines = 0
    for key, case in CASES.items():
        for value in case.to:
            overrides = case.given | settings(key, value)
            varied = outcome(BASES["eta_small"].varied, overrides)
            assert varied == outcome(load_architecture, "eta_small", overrides), key
            machines += isinstance(varied, dict)
    assert machines > len(CASES)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"array.clusters": 6},
        {"array.clusters": 6, **AUTO},
        {"array.clusters": 0, "core.clock": "fast", "noc.link_width": "7 bot"},
        {"array.clusers": 2},
        {"dram.part": "ddr4_2400r_8gb_x8"},
        {"dram.part": "nothing"},
        {"dram.timing_clocks.CL": 13, "dram.channels": 1},
        {"dram.part.timing_clocks.CL": 13},
        {"energy.extends": "fpga_28nm"},
        {"board": {"extends": "vc706"}},
        {"board.dsp.count": 10},
        {"extends": "eta_small"},
        {"numerics.weight_segments": 1, "data.weight": "16 bit"},
        {"mapping": {"ff": {"clusters_k": 64}}},
    ],
    ids=str,
)
def test_files_derived_values_and_mistakes_too(overrides):
    for name, base in BASES.items():
        assert outcome(base.varied, overrides) == outcome(load_architecture, name, overrides)


def test_the_base_stays_as_it_is():
    base = BASES["eta_vc709"]
    before = base.architecture.resolved()
    base.varied({"array.clusters": 2, "dram.timing_clocks.CL": 13, **AUTO})
    assert base.architecture.resolved() == before == load_architecture("eta_vc709").resolved()


def test_a_base_outlives_its_file():
    for name, base in BASES.items():
        kept = BaseArchitecture.restored(json.loads(json.dumps(base.kept())))
        assert kept.architecture == base.architecture
        for overrides in ({"array.clusters": 1, **AUTO}, {"dram.part": "ddr4_2400r_8gb_x8"}, {"dram.timing_clocks.CL": 13}):
            assert outcome(kept.varied, overrides) == outcome(load_architecture, name, overrides)
