"""Schemes as YAML."""

import pytest

from etasim.config.catalog import shipped_names
from etasim.config.errors import InputError
from etasim.numerics.format import data_format
from etasim.training import load_scheme
from etasim.training.scheme import SCHEMES


def test_the_shipped_schemes_load():
    others = {"fp8": ("fp8_e4m3", "fp8_e5m2"), "mxfp8": ("mxfp8_e4m3", "mxfp8_e5m2")}
    others |= {"niti8": ("bfp8", "bfp8"), "wageubn8": ("bfp8", "pint8")}
    assert shipped_names(SCHEMES) == ("bfp8", "dfx8", "fp32", "fp8", "int8", "mxfp8", "mxint8", "niti8", "pint8", "wageubn8")
    for name in shipped_names(SCHEMES):
        scheme = load_scheme(name)
        assert scheme.name == name
        assert (scheme.activation.format, scheme.error.format) == others.get(name, (name, name))
    assert load_scheme("fp32", {"normalization.kind": "batch"}).normalization.kind == "batch"


def test_formats_have_segments_and_bits():
    assert data_format("pint8").code.segments == 2
    assert data_format("int8").uniform_bits == 8
    assert not data_format("fp32").rounds
    assert data_format("dfx8").tracked


def test_every_problem_of_a_scheme_has_its_line(tmp_path):
    path = tmp_path / "bad.yaml"
    lines = ("name: bad", "activation: {format: pint99}", "error: {format: pint8, rounding: up}", "weigth: {}", "normalization: {kind: l3}")
    path.write_text("\n".join(lines))
    with pytest.raises(InputError) as caught:
        load_scheme(path)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0].rsplit(":")[-1] for line in lines] == ["2", "3", "4", "5"]
    assert "unknown data format 'pint99'" in lines[0]
    assert "unknown name 'up'" in lines[1]
    assert "did you mean 'weight'?" in lines[2]
    assert "unknown name 'l3'" in lines[3]


def test_overrides_and_unknown_names():
    assert load_scheme("pint8", ["error.format=bfp8"]).error.format == "bfp8"
    with pytest.raises(InputError, match="did you mean 'pint8'"):
        load_scheme("pint9")
