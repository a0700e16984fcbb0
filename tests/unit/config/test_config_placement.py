"""Derived placements: every cluster and port has a node of its own."""

import pytest

from etasim.config import InputError, load_architecture

AUTO = "noc={columns: auto, rows: auto, placement: auto}"


def test_four_clusters_give_the_shipped_placement():
    shipped = load_architecture("eta_vc709")
    derived = load_architecture("eta_vc709", [AUTO])
    assert derived.noc == shipped.noc


@pytest.mark.parametrize("clusters", [1, 2, 3, 4, 5, 8, 16, 17, 32, 64, 100])
@pytest.mark.parametrize("columns", ["auto", 1, 3, 5])
def test_derived_placement_fits(clusters, columns):
    noc = load_architecture("eta_vc709", [AUTO, f"noc.columns={columns}", f"array.clusters={clusters}"]).noc
    nodes = [*noc.placement.clusters, noc.placement.activation, noc.placement.weight, *noc.placement.error]
    assert noc.placement.clusters == tuple(sorted(noc.placement.clusters))
    assert len(set(nodes)) == len(nodes) == clusters + 4
    assert max(nodes) // noc.columns == noc.rows - 1
    rows = [{node // noc.columns for node in where} for where in (noc.placement.clusters, nodes[clusters:])]
    above, below = ({row for row in rows[0] if (row < min(rows[1])) == is_above} for is_above in (True, False))
    assert not rows[0] & rows[1], "rows of ports hold no cluster"
    assert len(above) - len(below) in (0, 1), "as many rows of clusters above the ports as below"


def test_sixteen_clusters_make_a_square():
    noc = load_architecture("eta_vc709", [AUTO, "array.clusters=16"]).noc
    assert (noc.columns, noc.rows, noc.placement.activation) == (4, 5, 8)


def test_array_larger_than_the_network():
    with pytest.raises(InputError) as caught:
        load_architecture("eta_vc709", ["array.clusters=16"])
    (problem,) = caught.value.problems
    assert problem.key == "noc.placement.clusters"
    assert "places 4 clusters, array.clusters is 16" in problem.message
    assert "8 nodes, 20 are needed" in problem.message
    assert "auto" in problem.message


@pytest.mark.parametrize(("override", "key"), [("array.clusters=x", "array.clusters"), ("noc.columns=x", "noc.columns")])
def test_wrong_size_is_reported_once(override, key):
    with pytest.raises(InputError) as caught:
        load_architecture("eta_vc709", [AUTO, override])
    assert [problem.key for problem in caught.value.problems] == [key]
