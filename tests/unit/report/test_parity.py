"""`etasim validate parity`: machines whose design is public, beside the closed forms of their loops."""

import pytest
from command_line import invoke

from etasim.config import load_architecture
from etasim.config.catalog import shipped_folder
from etasim.report import parity, systolic
from etasim.workload import load_network

LAYERS = {layer.layer: layer for layer in parity.read_layers(shipped_folder("references"))}
CONVOLUTIONS = [layer for layer in load_network(parity.NETWORK).layers if layer.kind == "conv"]


def test_the_closed_form_is_what_is_on_file():
    assert {name: layer.forward_cycles(2) for name, layer in LAYERS.items()} == {name: layer.cycles for name, layer in LAYERS.items()}
    assert sum(layer.instances * layer.cycles for layer in LAYERS.values()) == 129_431_856


def test_the_table_has_the_network_and_the_pins_of_the_configuration():
    """Tile rows are those of the host code, for each instance of a shape."""
    pins = load_architecture(parity.ARCHITECTURE).mapping.pins
    shapes = {(x.inputs, x.outputs, x.rows, x.kernel): x for x in LAYERS.values()}
    found = [shapes[x.in_channels, x.out_channels, x.out_height, x.kernel_height] for x in CONVOLUTIONS]
    assert {x.layer: found.count(x) for x in LAYERS.values()} == {x.layer: x.instances for x in LAYERS.values()}
    for layer, public in zip(CONVOLUTIONS, found, strict=True):
        assert pins[f"{layer.name}.ff"].band_rows == public.tile_rows
        (tile,) = pins[f"{layer.name}.ff"].tiles
        assert (tile.pixels, tile.blocks, tile.taps) == (public.tile_rows * public.rows, 1, public.kernel**2)


@pytest.mark.parametrize("layer", LAYERS)
def test_each_forward_layer_is_near_the_closed_form_and_moves_what_the_loops_load(layer):
    cycles, moved = parity.layer_rows(LAYERS[layer], parity.ESTIMATE)
    assert abs(cycles["error_percent"]) <= 3.5
    assert moved["ours"] == moved["reference"]


def test_the_cycle_model_is_nearer_still():
    cycles, moved = parity.layer_rows(LAYERS[parity.SIMULATED])
    assert abs(cycles["error_percent"]) <= 0.5
    assert moved["ours"] == moved["reference"]


def test_the_iteration_is_near_the_closed_form_and_the_published_rate():
    assert [row["name"] for row in parity.iteration_rows(list(LAYERS.values())) if not row["pass"]] == []


def test_systolic_arrays_take_the_cycles_of_their_rules():
    rows = systolic.rows()
    assert len(rows) == 3 * 19
    assert [(row["name"], row["ours"], row["reference"]) for row in rows if row["ours"] != row["reference"]] == []


def test_a_rule_by_hand():
    """conv1 of ResNet20, 3 x 3 x 3 terms, 1,024 pixels, 16 filters: 32 folds of 27 + 62 cycles; 2 folds of 1,024 + 46."""
    layer = load_network(systolic.NETWORK)["conv1"]
    assert systolic.output_stationary_cycles(layer, 32, 32) == 32 * 89
    assert systolic.weight_stationary_cycles(layer, 16, 16) == 2 * 1070


def test_the_rule_of_the_mesh_is_what_stonne_printed():
    path = shipped_folder("references") / "parity" / "stonne_os_mesh.csv"
    printed = {tuple(map(int, line.split(",")[:3])): int(line.split(",")[3]) for line in path.read_text().splitlines()[1:]}
    layers = [layer for layer in load_network(systolic.NETWORK).layers if layer.kind == "conv"]
    shapes = {
        (x.out_height * x.out_width, x.out_channels, x.in_channels * x.kernel_height * x.kernel_width): systolic.mesh_cycles(x, 16, 16)
        for x in layers
    }  # fmt: skip
    assert shapes == printed


def test_a_folder_without_the_table_is_refused(tmp_path):
    (tmp_path / "parity").mkdir()
    result = invoke("validate", "parity", "--references", str(tmp_path))
    assert result.exit_code == 2
    assert "parity/ef_train_vgg16.csv" in result.stderr
