"""Known gaps (docs/deviations.md): each test states a gap and fails when the gap closes, so that the page is corrected with it."""

import numpy as np
import pytest
from part_bench import fields
from program_reading import UNIFIED
from small_networks import architecture, conv
from small_networks import network as small_network

import etasim
from etasim.config import load_architecture
from etasim.config.array import Pipeline
from etasim.config.errors import InputError
from etasim.core.channel import can_pop, can_push, channels, pop, push
from etasim.core.registry import TOPOLOGIES
from etasim.explore.power_bounds import sourced_watt
from etasim.functional.samples import state_names
from etasim.functional.schemes import scheme_of
from etasim.mapping import InfeasibleError, map_iteration
from etasim.numerics.codec import ROUNDINGS
from etasim.numerics.normalization import NORMALIZATIONS
from etasim.numerics.quantization import GRANULARITIES
from etasim.ops.passes import all_passes
from etasim.pe import unified
from etasim.program.commands import MAX_READS, MAX_WRITES, VECTOR
from etasim.program.events import event_log
from etasim.report.metrics import summary
from etasim.report.published import NEIGHBOUR_ARCHITECTURE, NEIGHBOUR_WATT
from etasim.schedule.array import array_of
from etasim.schedule.patterns import PixelTile, forward
from etasim.workload import load_network


@pytest.fixture
def network(tmp_path):
    """Builds a network from a list of layers of a trace."""

    def build(layers: list[str], channels: int = 8, size: int = 8, classes: int = 8):
        head = f"name: gap\ninput: {{channels: {channels}, height: {size}, width: {size}}}\nclasses: {classes}\nlayers:\n"
        path = tmp_path / "gap.yaml"
        path.write_text(head + "".join(f"  - {{{layer}}}\n" for layer in layers))
        return etasim.load_network(path)

    return build


POOLED = ["name: pool, op: avgpool, kernel: 8", "name: fc, op: linear, out_channels: 8"]


def mapped(network, architecture="eta_vc709", batch=1, **overrides):
    """The mapping of ``network``; ``overrides`` are keys with their dots written as ``__``."""
    return map_iteration(etasim.load_architecture(architecture, {k.replace("__", "."): v for k, v in overrides.items()}), network, batch)


def operation(mapping, layer: str, phase: str) -> int:
    return next(i for i, o in enumerate(mapping.operations) if (o.layer, o.phase) == (layer, phase))


def multiply_cycles(mapping, layer: str, phase: str) -> int:
    """Cycles of all clusters for the sweeps of an operation."""
    program, number = mapping.program, operation(mapping, layer, phase)
    rows = program.computes[program.computes["operation"] == number]
    tables = [program.sweep_cycles[r["sweep_table"] + np.arange(r["n_sweeps"]) % r["sweep_period"]] for r in rows]
    return int(sum(table.sum() for table in tables))


def tensor(mapping, name: str):
    return next(t for t in mapping.tensors if t.name == name)


def test_three_channels_cost_as_much_as_eight(network):
    after = ["name: c, op: conv, out_channels: 8, kernel: 3, padding: 1", *POOLED]
    three, eight = (mapped(network([f"name: a, op: conv, out_channels: {n}, kernel: 1", *after])) for n in (3, 8))
    assert multiply_cycles(three, "c", "ff") == multiply_cycles(eight, "c", "ff")
    assert tensor(three, "a.output").n_bytes == tensor(eight, "a.output").n_bytes == 8 * 64


def test_depthwise_convolution_multiplies_the_zeros_between_channels(network):
    dense = mapped(network(["name: c, op: conv, out_channels: 8, kernel: 3, padding: 1", *POOLED]))
    depthwise = mapped(network(["name: c, op: conv, out_channels: 8, kernel: 3, padding: 1, groups: 8", *POOLED]))
    assert multiply_cycles(depthwise, "c", "ff") == multiply_cycles(dense, "c", "ff")
    assert tensor(depthwise, "c.weight").n_bytes == 9 * 64


def test_a_part_of_a_row_brings_whole_rows():
    tile = PixelTile(0, 1, 56, 112)
    (pattern,) = (forward(layer) for layer in load_network("resnet18_imagenet").layers if layer.name == "conv1")
    assert pattern.operand_columns(tile) == (0, 224)
    assert pattern.operand_columns(tile._replace(by_row=True)) == (109, 224)


def test_an_average_over_a_window_beyond_the_error_buffer_is_refused(network):
    layers = ["name: c, op: conv, out_channels: 8, kernel: 3, stride: 2, padding: 1", "name: p, op: avgpool, kernel: 640"]
    with pytest.raises(InfeasibleError, match=r"p \(ff\)"):
        mapped(network([*layers, "name: fc, op: linear, out_channels: 8"], size=1280))


def test_weights_between_two_blocks_beyond_the_buffer_are_refused(network):
    layers = ["name: c, op: conv, out_channels: 8, kernel: 3, padding: 1", *POOLED]
    assert mapped(network(layers, channels=1024), buffers__weight__size="1 KiB")
    with pytest.raises(InfeasibleError, match=r"c \(ff\)"):
        mapped(network(layers, channels=1024), buffers__weight__size="512 B")


def test_a_linear_layer_over_large_maps_is_refused(network):
    with pytest.raises(InfeasibleError, match=r"fc \(ff\)"):
        mapped(network(["name: fc, op: linear, out_channels: 8"], size=64))


def test_an_addition_of_more_maps_than_operand_streams_is_refused(network):
    branches = [f"name: b{i}, op: conv, from: input, out_channels: 8, kernel: 1" for i in range(MAX_READS + 1)]
    join = f"name: sum, op: add, from: [{', '.join(f'b{i}' for i in range(MAX_READS + 1))}]"
    with pytest.raises(InfeasibleError, match="sum"):
        mapped(network([*branches, join, *POOLED]))


def test_exponents_and_the_program_cost_no_traffic(network):
    layers = ["name: c, op: conv, out_channels: 8, kernel: 3, padding: 1, bias: true", "name: n, op: norm", "name: r, op: relu"]
    mapping = mapped(network([*layers, "name: m, op: maxpool, kernel: 8", "name: fc, op: linear, out_channels: 8"]))
    roles = {t.name.split(".")[1] for t in mapping.tensors}
    maps = {"output", "pre_normalization", "mask", "window", "error", "statistic"}
    parameters = {"weight", "weight_gradient", "master_weight", "momentum", "parameter", "parameter_gradient", "parameter_momentum"}
    assert roles == maps | parameters | {"label"}


def test_transposing_a_block_is_free(network):
    layers = [f"name: {name}, op: conv, out_channels: 8, kernel: 3, padding: 1" for name in ("a", "b")]
    mapping = mapped(network([*layers, *POOLED]))
    assert multiply_cycles(mapping, "b", "bp") == multiply_cycles(mapping, "b", "ff")


CHAIN = ["name: a, op: conv, out_channels: 8, kernel: 3, padding: 1", "name: b, op: conv, out_channels: 8, kernel: 3, padding: 1"]


def test_a_map_that_fits_in_part_comes_from_dram(network):
    """Half of the buffer, the room for what lives there, has place for two of six samples, or for all; sums pass DRAM in any case."""
    for size, lives in (("8 KiB", True), ("1 KiB", False)):
        mapping = mapped(network([*CHAIN, *POOLED]), "eta_small", 6, mapping__forwarding=True, buffers__activation__size=size)
        source, rows = tensor(mapping, "a.output"), mapping.program.transfers
        read = rows[rows["operation"] == operation(mapping, "b", "ff")]["dram_address"]
        assert ((read >= source.address) & (read < source.address + source.n_bytes)).any() == (not lives)
    assert not load_architecture("eta_vc709").mapping.forwarding


def test_a_tensor_that_is_never_stored_is_not_compared(network):
    given = network([*CHAIN, *POOLED])
    compared = [etasim.simulate(architecture(mapping__forwarding=on), given, batch=2, functional=True).values for on in (True, False)]
    assert "a.ofmap" not in compared[0]
    assert "a.ofmap" in compared[1]


def test_the_unified_core_starts_a_command_when_the_one_before_is_finished():
    depth, groups = 8, 4
    spec = unified.UnifiedSpec(np.array([UNIFIED]), np.arange(MAX_READS + MAX_WRITES)[None], depth, 8, 0)
    state, vectors = unified.init(spec, 1), np.zeros(1, VECTOR)
    vectors["n_groups"] = groups
    commands, completions = channels(UNIFIED + 1, 4), channels(UNIFIED + 1, 4)
    requests, responses = channels(MAX_READS + MAX_WRITES, 4), channels(MAX_READS + MAX_WRITES, 4)
    for i in range(2):
        assert can_push(commands, UNIFIED, 0)
        push(commands, UNIFIED, 0, i, 0, 0, 0)
    links = fields(commands=commands, completions=completions, buffer_requests=requests, buffer_responses=responses)
    finished = []
    for now in range(200):
        unified.step(spec, state, fields(vectors=vectors), links, event_log(0, 0), 0, now)
        if can_pop(completions, UNIFIED, now):
            pop(completions, UNIFIED, now + 1)
            finished.append(now)
    assert finished[1] - finished[0] >= groups + depth


def test_sums_and_work_of_planes_are_free(network):
    """In a machine without units of lanes no pass adds up the sums of a normalization that follows a convolution, nor takes longer for two
    planes than for their elements."""
    layers = ["name: conv, op: conv, out_channels: 8, kernel: 1", "name: norm, op: norm", *POOLED]
    kinds = [{all_passes()[kind].name for kind in mapped(network(layers), "eta_small", **keys).program.vectors["kind"]}
             for keys in ({}, {"unified_core__lane__drained_sums": False})]  # fmt: skip
    assert kinds[1] - kinds[0] == {"norm_sum"}
    charged = [{}, {"unified_core__lane__plane_work": True}]
    groups = [mapped(network(layers), "eta_small", **keys).program.vectors["n_groups"].sum() for keys in charged]
    assert groups[0] < groups[1]


def test_the_table_explains_part_of_a_measured_neighbour():
    architecture = etasim.load_architecture(NEIGHBOUR_ARCHITECTURE)
    figures = summary(etasim.simulate(architecture, etasim.load_network("resnet20_cifar"), fidelity="analytical"))
    shares = [100 * watt / NEIGHBOUR_WATT for watt in (sourced_watt(figures), figures["power_w"])]
    assert [round(share) for share in shares] == [46, 65]


@pytest.mark.parametrize("key", ["numerics.statistics", "numerics.rounding", "numerics.exponent_granularity"])
def test_the_machine_has_one_normalization_one_rounding_and_exponents_of_tensors(key):
    assert len(NORMALIZATIONS) == 4
    assert len(ROUNDINGS) == 2
    assert len(GRANULARITIES) == 3
    with pytest.raises(InputError, match="unknown key"):
        etasim.load_architecture("eta_small", {key: "batch"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((f"data.{name}", "32 bit") for name in ("activation", "weight", "error")),
        *((f"data.{name}", "32 bit") for name in ("pre_normalization", "weight_gradient", "master_weight", "momentum", "statistic")),
        ("numerics.normalization_group", 3),
        ("numerics.normalization", "batch"),
        ("array.zero_insertion", True),
    ],
)
def test_widths_for_which_values_are_refused(key, value):
    with pytest.raises(InfeasibleError, match=f"values: {key}"):
        scheme_of(etasim.load_architecture("eta_small", {key: value}))


@pytest.mark.parametrize("name", ["mxint8", "mxfp8_e4m3", "int8", "dfx8"])
def test_scales_of_blocks_and_real_scales_are_timed_only(name):
    machine = etasim.load_architecture("eta_small", {"numerics.weight_format": name})
    assert etasim.simulate(machine, etasim.load_network("digits_cnn"), batch=1, fidelity="analytical").total_cycles > 0
    with pytest.raises(InfeasibleError, match=f"values: numerics.weight_format must have an exponent for each.*{name} is timed only"):
        scheme_of(machine)


def test_aligning_products_is_free():
    assert {f"pipeline.{name}" for name in Pipeline.model_fields} == {"pipeline.operand_read", "pipeline.multiply", "pipeline.accumulate"}
    plain, shared = (array_of(etasim.load_architecture("eta_small", {"numerics.weight_format": name})) for name in ("bfp8", "mxint8"))
    assert plain.pipeline_cycles == shared.pipeline_cycles


def test_running_scales_need_filters_and_for_values_one_core(network):
    net = network(["name: c, op: conv, out_channels: 8, kernel: 3, padding: 1", "name: r, op: relu", "name: n, op: norm", *POOLED])
    with pytest.raises(InfeasibleError, match="n: follows no convolution or linear layer"):
        mapped(net, numerics__normalization="running")
    cores = architecture(numerics__normalization="running", unified_core__count=2)
    with pytest.raises(InfeasibleError, match=r"values: numerics\.normalization"):
        scheme_of(cores)


def test_values_of_more_than_63_clusters_are_refused():
    settings = {"array.clusters": 64, "noc.placement": "auto", "noc.columns": "auto", "noc.rows": "auto"}
    with pytest.raises(InfeasibleError, match=r"values: array.clusters must be at most 63"):
        scheme_of(etasim.load_architecture("eta_small", settings))


def test_the_planner_takes_a_slower_plan_for_a_quicker_machine():
    machines = [architecture(dram__ideal=is_ideal) for is_ideal in (False, True)]
    small = small_network((16, 6, 6), conv("c", 16, kernel=1), classes=3)
    cycles = [etasim.simulate(machine, small, batch=1).total_cycles for machine in machines]
    assert cycles[1] > cycles[0]


def test_the_estimate_of_one_dma_slot_is_too_slow():
    network, factors = etasim.load_network("digits_cnn"), []
    for fidelity in ("cycle", "analytical"):
        machines = [etasim.load_architecture("eta_small", {"dma.outstanding_bursts": slots}) for slots in (16, 1)]
        whole, one = (etasim.simulate(machine, network, batch=4, fidelity=fidelity).total_cycles for machine in machines)
        factors.append(one / whole)
    assert factors[1] > 1.2 * factors[0]


def test_the_estimate_lets_loads_and_stores_share_a_channel():
    array = {"array.pes_per_cluster": 8, "array.columns": 16, "array.stream_scratchpad": "32 KiB", "array.stationary_scratchpad": "16 KiB"}
    memory = {"buffers.weight.size": "512 KiB", "dram.channels": 1, "dma.commands_in_flight": 8}
    network, shares = etasim.load_network("vgg16_cifar"), []
    for clock in ("240 MHz", "150 MHz"):
        machine = etasim.load_architecture("eta_vc709", {**array, **memory, "core.clock": clock})
        machine_takes, estimated = (
            next(
                row["cycles"]
                for row in etasim.simulate(machine, network, batch=1, phases=("bp", "wg"), fidelity=fidelity).layers
                if (row["layer"], row["phase"]) == ("conv5_2", "bp")
            )
            for fidelity in ("cycle", "analytical")
        )
        shares.append(estimated / machine_takes)
    assert shares[0] < 0.85
    assert shares[1] > 0.95


def test_the_estimate_of_feeds_of_few_words_is_too_slow():
    pointwise = small_network((16, 6, 6), conv("a", 32, kernel=1), conv("b", 16, kernel=1), classes=3)
    takes, estimated = (
        etasim.simulate(architecture(), pointwise, batch=4, phases=("ff",), fidelity=fidelity).total_cycles
        for fidelity in ("cycle", "analytical")
    )
    assert estimated > 1.2 * takes


def test_there_is_no_bus():
    assert sorted(TOPOLOGIES) == ["crossbar", "mesh", "torus", "tree"]


def test_a_bias_before_a_normalization_is_dropped(network):
    layers = ["name: c, op: conv, out_channels: 8, kernel: 3, padding: 1, bias: true", "name: n, op: norm", *POOLED]
    assert "c.bias" not in state_names(network(layers))
    assert "c.bias" in state_names(network([layers[0], *POOLED]))
