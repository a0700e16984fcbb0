"""Properties of the architecture reader: resolving loses nothing, and no input whatever ends in a traceback."""

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from etasim.config import Architecture, InputError, load_architecture, shipped
from etasim.config.units import UNITS, format_quantity, format_size, parse_quantity

TEXT = shipped("configs", "eta_vc709").read_bytes()
COUNTS = ("array.pes_per_cluster", "array.lanes", "array.psum_depth", "dma.outstanding_bursts", "training.batch")

overrides = st.fixed_dictionaries(
    {
        "core.clock": st.builds("{}/{} MHz".format, st.integers(1, 999), st.integers(1, 99)),
        "array.stream_scratchpad": st.builds("{} {}".format, st.integers(1, 999), st.sampled_from(["B", "kB", "KiB", "MB", "MiB"])),
        "noc.ideal": st.booleans(),
        "dram.write_low_watermark": st.floats(0, 0.7),
        "dram.timing_clocks": st.fixed_dictionaries({"CL": st.integers(1, 99), "RC": st.integers(39, 99)}),
        "training.weight_update": st.sampled_from(["end_of_iteration", "after_layer"]),
        "mapping": st.dictionaries(
            st.text("abc*?_[]:#' ", min_size=1), st.fixed_dictionaries({}, optional={"clusters_k": st.integers(1, 4)}), max_size=3
        ),
    },
    optional={name: st.integers(1, 4096) for name in COUNTS},
)
networks = st.one_of(
    st.fixed_dictionaries(
        {"noc.topology": st.sampled_from(["mesh", "tree", "crossbar"])}, optional={"noc.virtual_channels": st.integers(1, 2)}
    ),
    st.just({"noc.topology": "torus", "noc.virtual_channels": 6}),
)


@settings(max_examples=50)
@given(overrides=overrides, network=networks, clusters=st.integers(1, 20))
def test_resolved_architecture_reads_back_equal(tmp_path_factory, overrides, network, clusters):
    derive = {"noc": {"columns": "auto", "rows": "auto", "placement": "auto"}, "array.clusters": max(4, clusters)}
    architecture = load_architecture("eta_vc709", {**derive, **overrides, **network})
    path = tmp_path_factory.mktemp("run") / "resolved.yaml"
    path.write_text(yaml.safe_dump(architecture.resolved(), sort_keys=False))
    again = load_architecture(path)
    assert again == architecture
    assert hash(again) == hash(architecture)
    assert again.resolved() == architecture.resolved()


@given(value=st.fractions(min_value=1, max_value=10**12, max_denominator=10**6), kind=st.sampled_from(sorted(UNITS)), data=st.data())
def test_quantity_text_is_exact(value, kind, data):
    unit = data.draw(st.sampled_from(sorted(UNITS[kind])))
    assert parse_quantity(format_quantity(value, kind, unit), kind) == value


@given(size_bytes=st.integers(1, 2**40))
def test_size_text_is_exact(size_bytes):
    assert parse_quantity(format_size(size_bytes), "size") == size_bytes


def _loads_or_refuses(path, options=()):
    try:
        outcome = load_architecture(path, options)
    except InputError as error:
        outcome = error
    if isinstance(outcome, InputError):
        assert all(problem.message for problem in outcome.problems)
        assert len(str(outcome).splitlines()) == len(outcome.problems) > 0
    else:
        assert isinstance(outcome, Architecture)


@settings(max_examples=60)
@given(cut=st.integers(0, len(TEXT)), junk=st.binary(max_size=8), rest=st.integers(0, len(TEXT)))
def test_damaged_file_is_refused_in_words(tmp_path_factory, cut, junk, rest):
    path = tmp_path_factory.mktemp("damaged") / "a.yaml"
    path.write_bytes(TEXT[:cut] + junk + TEXT[max(cut, rest) :])
    _loads_or_refuses(path)


@settings(max_examples=60)
@given(option=st.one_of(st.text(max_size=30), st.builds("{}={}".format, st.sampled_from(COUNTS), st.text(max_size=20))))
def test_any_override_is_applied_or_refused_in_words(option):
    _loads_or_refuses("eta_small", [option])
