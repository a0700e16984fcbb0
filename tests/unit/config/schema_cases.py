"""For each key of an architecture: a case in which it moves a figure. `to`: values of the key, the first against the second; `given`: other
keys of the case; `figure`: what moves (`figures` of the test), ``cycles`` unless stated."""

from typing import Any, NamedTuple

from small_networks import TINY, conv, network

from etasim.config import load_architecture
from etasim.workload import Network, load_network

AUTO = {"noc.columns": "auto", "noc.rows": "auto", "noc.placement": "auto"}
DDR4 = {"dram.part": "ddr4_2400r_8gb_x8", "dram.mapping": "ro:16,ba:2,bg:2,co:7"}
LPDDR4 = {"dram.part": "lpddr4_2400_x16", "dram.mapping": "ro:16,ba:3,co:6", "dram.channel_interleave": "32 B"}
RANKS = {"dram.ranks": 2, "dram.mapping": "ro:16,co:6,ra:1,ba:3,co:1"}
SCATTERED = {"dram.mapping": "co:3,ba:3,ro:16,co:4"}
"""A column's upper bits above the bank and the row: almost every burst opens a row."""
BOARD = {"board.extends": "vc709"}
TABLE = {"energy.extends": "fpga_28nm"} | BOARD
FIGURE = {"source": "here", "technology": "x"}
FAST_DRAM = {"core.clock": "50 MHz", "dram.channels": 4, "dram.channel_interleave": "64 B"}
PART = load_architecture("eta_small", {"dram.timing_clocks": {"CCDL": 4, "RRDL": 5, "WTRL": 6}}).resolved()["dram"]["part"]
SECOND = {"buffers.second.size": "16 KiB", "buffers.second.banks": 4, "buffers.second.ports": "1R1W", "buffers.second.read_latency": 2}
ONE_ROW_A_BURST = {"dram.mapping": "co:7,ba:3,ro:16"}
NEIGHBOURING_ROWS = {"dram.mapping": "ro:13,ba:3,co:7,ro:3"}
SLOW = {"core.clock": "800 MHz", "dram.write_queue": 4, "dram.read_queue": 4}
SHAPES = {}, {"array.weight_gradient.columns": 8, "array.weight_gradient.lanes": 1}
"""The array of WG: as in the other phases, and a sum for each multiplier."""
DIGITS = load_network("digits_cnn")
DEEP = network((8, 4, 4), conv("a", 16, kernel=3, padding=1), conv("b", 32, kernel=3, padding=1), classes=8)
"""So many weights that their buffer has work."""
POINTWISE = network((2, 12, 12), conv("a", 2), conv("b", 2), classes=4)
"""So few weights that the planner deals out the samples of WG where each cluster is sent its own operands."""


def narrow(**pins):
    """Pins with which several rounds of results meet several bands."""
    return {"conv2.ff": {"clusters_k": 1, "result_slices": 1, "band_samples": 1, **pins}}


class Case(NamedTuple):
    """``to`` are two values of the key; the figure of ``network`` differs between them."""

    to: tuple[Any, Any]
    given: dict[str, Any] = {}  # noqa: RUF012 (a named tuple)
    figure: str = "cycles"
    network: Network = TINY


CASES: dict[str, Case] = {
    "name": Case(("one", "two"), figure="name"),
    "core.clock": Case(("200 MHz", "100 MHz")),
    "array.clusters": Case((2, 1), AUTO),
    "array.pes_per_cluster": Case((2, 4)),
    "array.columns": Case((4, 8)),
    "array.lanes": Case((2, 1)),
    "array.accumulator_width": Case(("48 bit", "40 bit"), BOARD, "board"),
    "array.psum_depth": Case((8, 2)),
    "array.stream_scratchpad": Case(("1 KiB", "72 B")),
    "array.stationary_scratchpad": Case(("512 B", "16 B")),
    "array.deinterleave_stride": Case((True, False)),
    "array.zero_insertion": Case((False, True)),
    "array.weight_gradient.columns": Case(SHAPES),
    "array.weight_gradient.lanes": Case(SHAPES),
    "array.prefetch": Case((None, "within_pass")),
    "array.fill.sweep": Case((0, 5)),
    "array.fill.pass": Case((0, 50)),
    "array.fill.phase": Case((0, 50)),
    "array.pipeline.operand_read": Case((1, 9)),
    "array.pipeline.multiply": Case((1, 9)),
    "array.pipeline.accumulate": Case((1, 9)),
    "noc.topology": Case(("mesh", "tree"), {"noc.routing": "shortest"}),
    "noc.columns": Case((3, 6)),
    "noc.rows": Case((2, 3), BOARD, "board"),
    "noc.concentration": Case((1, 2), {"noc.rows": 1, "noc.columns": 6}),
    "noc.link_width": Case(("64 bit", "32 bit")),
    "noc.link_latency": Case((1, 5)),
    "noc.virtual_channels": Case((1, 3)),
    "noc.buffer_depth": Case((2, 8)),
    "noc.routing": Case(("xy", "yx")),
    "noc.multicast": Case((True, False)),
    "noc.router.routing_delay": Case((0, 4)),
    "noc.router.vc_allocation_delay": Case((1, 4)),
    "noc.router.switch_allocation_delay": Case((1, 4)),
    "noc.router.speculative": Case((True, False)),
    "noc.placement.clusters": Case(([0, 1], [1, 0]), network=DEEP),
    "noc.placement.activation": Case((2, 6), {"noc.rows": 3}),
    "noc.placement.weight": Case((3, 6), {"noc.rows": 3}),
    "noc.placement.error": Case(([4, 5], [7, 8]), {"noc.rows": 3}, "hops"),
    "noc.ideal": Case((False, True)),
    "noc.networks[].classes": Case((
        [{"classes": ["stream", "stationary"], "link_width": "64 bit"}, {"classes": ["psum"], "link_width": "32 bit"}],
        [{"classes": ["stream"], "link_width": "64 bit"}, {"classes": ["stationary", "psum"], "link_width": "32 bit"}],
    )),
    "noc.networks[].link_width": Case((
        [{"classes": ["stream", "stationary", "psum"], "link_width": "64 bit"}],
        [{"classes": ["stream", "stationary", "psum"], "link_width": "32 bit"}],
    )),
    "noc.energy_per_flit_hop.energy": Case(({"energy": "1 pJ", **FIGURE}, {"energy": "2 pJ", **FIGURE}), TABLE, "energy"),
    "buffers.word_size": Case(("16 B", "32 B")),
    "buffers.activation.size": Case(("16 KiB", "256 B")),
    "buffers.activation.banks": Case((4, 1), {**FAST_DRAM, "buffers.activation.ports": "1RW"}),
    "buffers.activation.ports": Case(("1R1W", "1RW"), {**FAST_DRAM, "buffers.activation.banks": 1}, network=DEEP),
    "buffers.activation.read_latency": Case((2, 9)),
    "buffers.weight.size": Case(("16 KiB", "64 B")),
    "buffers.weight.banks": Case((4, 1), {**FAST_DRAM, "buffers.weight.ports": "1RW"}, network=DEEP),
    "buffers.weight.ports": Case(("1R1W", "1RW"), {**FAST_DRAM, "buffers.weight.banks": 1, "buffers.weight.size": "1 KiB"}, network=DEEP),
    "buffers.weight.read_latency": Case((2, 9)),
    "buffers.error.size": Case(("32 KiB", "640 B")),
    "buffers.error.banks": Case((8, 1)),
    "buffers.error.ports": Case(("1R1W", "1RW"), {"buffers.error.banks": 1}),
    "buffers.error.read_latency": Case((2, 9)),
    "buffers.second.size": Case(("16 KiB", "256 B"), SECOND),
    "buffers.second.banks": Case((4, 1), {**SECOND, "buffers.second.ports": "1RW"}),
    "buffers.second.ports": Case(("1R1W", "1RW"), {**SECOND, "buffers.second.banks": 1}),
    "buffers.second.read_latency": Case((2, 40), SECOND),
    "buffers.bypass": Case((None, "stream")),
    "buffers.ideal": Case((False, True)),
    "dma.outstanding_bursts": Case((16, 1)),
    "dma.commands_in_flight": Case((2, 1)),
    "dram.part.name": Case(({"dram.part": PART}, {"dram.part": PART | {"name": "other"}}), {}, "architecture"),
    "dram.part.standard": Case(({"dram.part": PART}, {"dram.part": PART | {"standard": "HBM2"}}), SCATTERED, "dram"),
    "dram.part.clock": Case(("800 MHz", "400 MHz")),
    "dram.part.timing_clocks.BL": Case((
        {"dram.timing_clocks.BL": 4},
        {"dram.timing_clocks.BL": 8, "dram.timing_clocks.CCDS": 8, "dram.organisation.burst_length": 16, "dram.mapping": "ro:16,ba:3,co:6",
         "dram.channel_interleave": "128 B"},
    )),
    "dram.part.timing_clocks.CL": Case((11, 30)),
    "dram.part.timing_clocks.RCD": Case((11, 28)),
    "dram.part.timing_clocks.RCDWR": Case((1, 28), {"dram.page_policy": "closed", "core.clock": "800 MHz"}, network=DEEP),
    "dram.part.timing_clocks.RP": Case((1, 11), SCATTERED),
    "dram.part.timing_clocks.RAS": Case((12, 28), SCATTERED, "dram"),
    "dram.part.timing_clocks.RC": Case((39, 300), SCATTERED),
    "dram.part.timing_clocks.WR": Case((12, 200), SCATTERED),
    "dram.part.timing_clocks.RTP": Case((6, 100), SCATTERED),
    "dram.part.timing_clocks.CWL": Case((8, 100)),
    "dram.part.timing_clocks.CCDS": Case((4, 40)),
    "dram.part.timing_clocks.CCDL": Case((6, 60), DDR4),
    "dram.part.timing_clocks.RRDS": Case((5, 24), {"dram.mapping": "ro:16,co:7,ba:3", "core.clock": "800 MHz"}),
    "dram.part.timing_clocks.RRDL": Case((6, 60), {**DDR4, "dram.mapping": "co:3,ba:2,ro:16,co:4,bg:2", "core.clock": "800 MHz"}),
    "dram.part.timing_clocks.WTRS": Case((6, 200)),
    "dram.part.timing_clocks.WTRL": Case((9, 200), DDR4),
    "dram.part.timing_clocks.FAW": Case((24, 400), {**SCATTERED, "core.clock": "800 MHz"}),
    "dram.part.timing_clocks.RFC": Case((208, 5000)),
    "dram.part.timing_clocks.REFI": Case((6240, 300)),
    "dram.part.timing_clocks.CS": Case((2, 40), RANKS),
    "dram.part.timing_clocks.PPD": Case((0, 200), {**LPDDR4, "dram.mapping": "co:2,ro:16,co:4,ba:3", "core.clock": "800 MHz"}),
    "dram.part.organisation.bank_groups": Case((
        {**DDR4, "dram.organisation.bank_groups": 4, "dram.mapping": "ro:16,ba:2,co:7,bg:2"},
        {**DDR4, "dram.organisation.bank_groups": 1, "dram.mapping": "ro:16,ba:2,co:7"},
    ), {"dram.timing_clocks.CCDL": 60}),
    "dram.part.organisation.banks": Case((
        {"dram.organisation.banks": 8, "dram.mapping": "co:3,ro:16,co:4,ba:3"},
        {"dram.organisation.banks": 1, "dram.mapping": "co:3,ro:16,co:4"},
    )),
    "dram.part.organisation.rows": Case((
        {"dram.organisation.rows": 65536}, {"dram.organisation.rows": 1, "dram.mapping": "ba:3,co:7"},
    ), figure="architecture"),
    "dram.part.organisation.columns": Case((
        {"dram.organisation.columns": 1024, "dram.mapping": "ro:16,ba:3,co:7"},
        {"dram.organisation.columns": 8, "dram.mapping": "ro:16,ba:3"},
    )),
    "dram.part.organisation.device_width": Case(("8 bit", "16 bit"), {}, "dram"),
    "dram.part.organisation.bus_width": Case((
        {"dram.organisation.bus_width": "64 bit"}, {"dram.organisation.bus_width": "32 bit"},
    )),
    "dram.part.organisation.burst_length": Case((
        {"dram.organisation.burst_length": 8},
        {"dram.organisation.burst_length": 4, "dram.timing_clocks.BL": 2, "dram.mapping": "ro:16,ba:3,co:8"},
    )),
    "dram.part.currents_ma.VDD": Case(("1.35 V", "1.5 V"), {}, "dram"),
    **{f"dram.part.currents_ma.{name}": Case((100, 200), {}, "dram") for name in ("IDD0", "IDD4W", "IDD4R")},
    **{f"dram.part.currents_ma.{name}": Case((1, 2), {}, "dram") for name in ("IDD2N", "IDD3N")},
    "dram.part.currents_ma.IDD5AB": Case((235, 300), {"dram.timing_clocks.REFI": 300}, "dram"),
    "dram.channels": Case((1, 2)),
    "dram.ranks": Case(({}, RANKS), {"dram.timing_clocks.CS": 40}),
    "dram.mapping": Case(("ro:16,ba:3,co:7", "co:7,ba:3,ro:16")),
    "dram.channel_interleave": Case(("64 B", "4 KiB"), {"dram.channels": 2}),
    "dram.refresh": Case((True, False), {"dram.timing_clocks.REFI": 300}),
    "dram.page_policy": Case(("open", "closed")),
    "dram.page_timeout": Case((1, 200), {"dram.page_policy": "timeout"}),
    "dram.scheduler": Case(("fr_fcfs", "fcfs"), SCATTERED),
    "dram.read_queue": Case((16, 1), SCATTERED),
    "dram.write_queue": Case((16, 1), SCATTERED),
    "dram.write_high_watermark": Case((0.3, 1.0), {**SLOW, **SCATTERED, "dram.write_queue": 16}),
    "dram.write_low_watermark": Case((0.1, 0.7), {**SLOW, **SCATTERED, "dram.write_queue": 16}),
    "dram.controller_latency": Case((20, 200)),
    "dram.ideal": Case((False, True)),
    "host.link_rate": Case(("100 MB/s", "200 MB/s"), {"host.latency": "1 us", "host.commands_in_flight": 2}),
    "host.latency": Case(("1 us", "9 us"), {"host.link_rate": "1 GB/s", "host.commands_in_flight": 2}),
    "host.commands_in_flight": Case((1, 2), {"host.link_rate": "1 GB/s", "host.latency": "5 us"}),
    "host.energy_per_byte.energy": Case(({"energy": "1 pJ", **FIGURE}, {"energy": "2 pJ", **FIGURE}), {
        **TABLE, "host.link_rate": "1 GB/s", "host.latency": "1 us", "host.commands_in_flight": 1}, "energy"),
    "unified_core.count": Case((1, 2), given={"unified_core.lanes": 1}),
    "unified_core.lanes": Case((4, 1)),
    "unified_core.pipeline_depth": Case((4, 20)),
    "unified_core.lane.multipliers": Case((5, 1)),
    "unified_core.lane.adders": Case((11, 1)),
    "unified_core.lane.divider_cycles": Case((4, 64)),
    "unified_core.lane.drained_sums": Case((True, False)),
    "unified_core.lane.plane_work": Case((False, True), {"unified_core.lanes": 1}, network=DIGITS),
    "unified_core.ideal": Case((False, True)),
    "controller.queue_depth": Case((2, 1), {"dma.commands_in_flight": 8, "dma.outstanding_bursts": 64}, network=POINTWISE),
    **{f"data.{name}": Case(("8 bit", "16 bit"), {"buffers.word_size": "32 B"}) for name in ("activation", "weight", "error")},
    **{f"data.{name}": Case(("16 bit", "32 bit"), network=DIGITS) for name in (
        "pre_normalization", "weight_gradient", "master_weight", "momentum", "statistic")},
    "data.input_layout": Case(("columns", "channels"), network=DIGITS),
    "data.channel_block": Case((2, 1)),
    "numerics.activation_segments": Case((2, 1), {}, "loss"),
    "numerics.weight_segments": Case((2, 1), {}, "loss"),
    "numerics.error_segments": Case((2, 1), {}, "state"),
    "numerics.activation_format": Case(("pint8", "bfp8"), {}, "loss"),
    "numerics.weight_format": Case(("pint8", "bfp8"), {}, "loss"),
    "numerics.error_format": Case(("pint8", "bfp8"), {}, "state"),
    "numerics.second_direction": Case(
        ("copy", "square"), {f"numerics.{name}_format": "mxint8" for name in ("activation", "weight", "error")}
    ),
    "numerics.normalization": Case(("sample", "batch")),
    "numerics.normalization_group": Case((2, 1), {}, "loss"),
    "numerics.reciprocal": Case(("table", "shift"), {}, "loss"),
    "training.batch": Case((2, 3)),
    "training.weight_update": Case(("end_of_iteration", "after_layer")),
    "training.learning_rate": Case((0.1, 0.01), {}, "state"),
    "training.momentum": Case((0.9, 0.1), {}, "state"),
    "training.weight_decay": Case((0.0, 0.5), {}, "state"),
    "training.exponent_margin": Case((0, 3), {}, "state"),
    "mapping.forwarding": Case(({"forwarding": False}, {"forwarding": True})),
    "mapping.*.clusters_k": Case(({"*.ff": {"clusters_k": 1}}, {"*.ff": {"clusters_k": 2}})),
    "mapping.*.clusters_c": Case(({"*.bp": {"clusters_c": 1}}, {"*.bp": {"clusters_c": 2}})),
    "mapping.*.clusters_pixel": Case(({"*.ff": {"clusters_pixel": 1}}, {"*.ff": {"clusters_pixel": 2}})),
    "mapping.*.clusters_sample": Case(({"*.wg": {"clusters_sample": 1}}, {"*.wg": {"clusters_sample": 2}}), {"noc.reduction": True}),
    "mapping.*.result_slices": Case(tuple({"conv2.ff": {"clusters_k": 1, "result_slices": n}} for n in (1, 2))),
    "mapping.*.slice_blocks": Case(
        tuple({"conv2.ff": {"clusters_k": 1, "result_slices": 1, "slice_blocks": n}} for n in (1, 2)), {"array.pes_per_cluster": 4},
    ),
    "mapping.*.stream_slices": Case(({"conv1.wg": {"stream_slices": 1}}, {"conv1.wg": {"stream_slices": 2}})),
    "mapping.*.band_samples": Case(({"conv1.ff": {"band_samples": 1}}, {"conv1.ff": {"band_samples": 2}})),
    "mapping.*.band_rows": Case(({"conv1.ff": {"band_rows": 1}}, {"conv1.ff": {"band_rows": 6}})),
    "mapping.*.outer": Case((narrow(outer="stream"), narrow(outer="stationary"))),
    "mapping.*.stream_resident": Case(tuple(narrow(outer="stationary", stream_resident=stays) for stays in (True, False)), figure="dram"),
    "mapping.*.stationary_resident": Case(
        tuple(narrow(outer="stream", stationary_resident=stays) for stays in (True, False)), figure="dram",
    ),
    "mapping.*.reduction_blocks": Case(tuple({"a.ff": {"clusters_k": 2, "reduction_blocks": n}} for n in (1, 2)), network=DEEP),
    "mapping.*.tiles[].samples": Case((
        {"conv2.ff": {"tiles": [{"samples": 1, "pixels": 9}]}}, {"conv2.ff": {"tiles": [{"samples": 0, "pixels": 3}]}},
    ), SLOW),
    "mapping.*.tiles[].pixels": Case((
        {"conv1.ff": {"tiles": [{"samples": 0, "pixels": 18}]}}, {"conv1.ff": {"tiles": [{"samples": 0, "pixels": 6}]}},
    )),
    "mapping.*.tiles[].by_row": Case((
        {"conv1.ff": {"tiles": [{"samples": 0, "pixels": 4, "by_row": True}]}}, {"conv1.ff": {"tiles": [{"samples": 0, "pixels": 6}]}},
    )),
    "mapping.*.tiles[].blocks": Case(tuple({"conv2.ff": {"tiles": [{"samples": 0, "pixels": 3, "blocks": n}]}} for n in (1, 2)), SLOW),
    "mapping.*.tiles[].taps": Case(tuple({"conv2.ff": {"tiles": [{"samples": 0, "pixels": 3, "taps": n}]}} for n in (3, 9))),
    "noc.reduction": Case((False, True), {"noc.multicast": False}, network=POINTWISE),
    **{f"energy.{name}.energy": Case(({"energy": "1 pJ", **FIGURE}, {"energy": "2 pJ", **FIGURE}), TABLE, "energy")
       for name in ("dsp_block", "memory_block", "lut", "nets", "flip_flop")},
    "energy.activity.factor": Case((1, 2), TABLE, "energy"),
    "energy.static_power.*.power": Case((
        {"device": {"power": "1 W", **FIGURE}}, {"device": {"power": "2 W", **FIGURE}}), TABLE, "energy"),
    "board.dsp.name": Case(("a", "b"), BOARD, "board"),
    "board.dsp.count": Case((10, 20), BOARD, "board"),
    "board.dsp.products[].width": Case((
        [{"width": "6 bit", "count": 2}, {"width": "16 bit", "count": 1}],
        [{"width": "5 bit", "count": 2}, {"width": "16 bit", "count": 1}],
    ), BOARD, "board"),
    "board.dsp.products[].count": Case(([{"width": "6 bit", "count": 2}], [{"width": "6 bit", "count": 1}]), BOARD, "board"),
    "board.dsp.accumulates": Case((False, True), BOARD, "board"),
    "board.memory.name": Case(("a", "b"), BOARD, "board"),
    "board.memory.count": Case((10, 20), BOARD, "board"),
    **{f"board.memory.shapes[].{name}": Case(tuple(
        [{"depth": 512, "width": "32 bit", "blocks": 1} | {name: value}] for value in values), BOARD, "board")
        for name, values in {"depth": (16, 512), "width": ("8 bit", "64 bit"), "blocks": (1, 2)}.items()},
    "board.logic.name": Case(("a", "b"), BOARD, "board"),
    "board.logic.count": Case((10, 20), BOARD, "board"),
    **{f"board.logic.{name}": Case((1, 2), BOARD, "board") for name in (
        "luts", "flip_flops", "flip_flops_per_lut", "costs.router_port_bit", "costs.lane",
        "costs.lane_adder", "costs.engine", "costs.dram_channel")},
    "board.dram_channels": Case((1, 2), BOARD, "board"),
}  # fmt: skip

SPREAD = {"clusters": [7, 5, 6, 10], "activation": 0, "weight": 4, "error": [9, 8]}
CROWDED = {"noc.rows": 3, "noc.placement": SPREAD, "noc.link_width": "64 bit"}
RESNET20 = load_network("resnet20_cifar")
ESTIMATED: dict[str, tuple[str, Case]] = {
    "noc.concentration": ("eta_vc709", Case((1, 2), AUTO, network=DIGITS)),
    "noc.routing": ("eta_vc709", Case(("xy", "yx"), CROWDED, network=RESNET20)),
    "noc.placement.clusters": ("eta_vc709", Case(([0, 1, 2, 3], [0, 2, 1, 3]), network=RESNET20)),
    "noc.placement.activation": ("eta_vc709", Case((4, 11), {"noc.rows": 3}, network=DIGITS)),
    "noc.placement.weight": ("eta_vc709", Case((5, 11), {"noc.rows": 3}, network=DIGITS)),
    "noc.placement.error": ("eta_vc709", Case(([6, 7], [8, 11]), {"noc.rows": 3}, "energy", DIGITS)),
    "buffers.activation.read_latency": ("eta_vc709", Case((2, 30), network=RESNET20)),
    "buffers.weight.read_latency": ("eta_vc709", Case((2, 30), network=RESNET20)),
    **{
        f"dram.{key}": ("eta_small", Case(values, ONE_ROW_A_BURST | others))
        for key, values, others in (
            ("scheduler", ("fr_fcfs", "fcfs"), {"dram.mapping": "co:7,ro:16,ba:3"}), ("read_queue", (32, 2), NEIGHBOURING_ROWS),
            ("write_queue", (32, 2), NEIGHBOURING_ROWS), ("part.timing_clocks.WR", (12, 30), {}), ("part.timing_clocks.RTP", (6, 60), {}),
            ("part.timing_clocks.CWL", (8, 40), {}), ("part.timing_clocks.RRDS", (5, 24), {"dram.mapping": "co:7,ro:16,ba:3"}),
            ("part.timing_clocks.FAW", (24, 400), {"dram.mapping": "co:7,ro:16,ba:3"}),
        )
    },
}
"""Machines and cases for keys that the estimate does not feel in those above, so small are these."""
