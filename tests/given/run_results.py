"""Counters for tests of reports: consistent integers made from real networks, no simulation."""

from etasim.config import load_architecture
from etasim.machine.result import FLIT_CLASSES, LayerRow, RunResult
from etasim.pe.causes import STALL_CAUSES
from etasim.program.commands import BUFFERS, TENSOR_CLASSES
from etasim.workload import load_network

PHASES = ("ff", "bp", "wg", "wu")
TRAFFIC = {
    "ff": {"read": ("activation", "weight"), "write": ("activation", "pre_normalization", "mask")},
    "bp": {"read": ("error", "weight", "mask"), "write": ("error",)},
    "wg": {"read": ("activation", "error"), "write": ("weight_gradient",)},
    "wu": {"read": ("weight_gradient", "master_weight", "momentum"), "write": ("weight", "master_weight", "momentum")},
}


def make_result(network="resnet20_cifar", architecture="eta_vc709", batch=2, phases=PHASES, overrides=(), **changes):
    """A RunResult whose rows obey the invariants of the machine: causes + busy = clusters * cycles, cycles sum to the total."""
    architecture = load_architecture(architecture, overrides) if isinstance(architecture, str) else architecture
    network = load_network(network) if isinstance(network, str) else network
    rows = [row for phase in phases for row in phase_rows(architecture, network, batch, phase)]
    values = {
        "architecture": architecture,
        "network": network,
        "batch": batch,
        "phases": tuple(phases),
        "total_cycles": sum(row["cycles"] for row in rows),
        "layers": tuple(rows),
        "components": {"dram": [{"reads": 12, "row_hits": 7}, {"reads": 11, "row_hits": 9}], "dma": [{"busy_cycles": 5}]} | network_parts(),
    }
    return RunResult(**(values | changes))


def network_parts():
    """Two routers, a link each way, and an endpoint at each."""
    links = [(0, "router 1", 700), (1, "router 0", 20), (0, "cluster 0", 300), (1, "weight buffer", 0)]
    return {
        "noc_router": [{"network": 0, "x": 0, "y": 0}, {"network": 0, "x": 1, "y": 0}],
        "noc_link": [{"router": router, "to": name, "flits": flits} for router, name, flits in links],
    }


def phase_rows(architecture, network, batch, phase):
    layers = [layer for layer in network.layers if layer.kind in ("conv", "linear")]
    if phase == "wu":
        return [make_row(architecture, layer, batch, phase, 0, 40 + layer.parameters // 64) for layer in layers]
    chosen = [layer for layer in layers if phase in network.phases_of(layer)]
    chosen = chosen if phase == "ff" else chosen[::-1]
    rows = []
    for index, layer in enumerate(chosen):
        macs = batch * layer.macs_per_sample
        cycles = 100 + (130 + 7 * (index % 9)) * macs // (100 * architecture.array.macs_per_cycle)
        rows.append(make_row(architecture, layer, batch, phase, macs, cycles))
    return rows


def make_row(architecture, layer, batch, phase, macs, cycles):
    clusters = architecture.array.clusters
    busy = clusters * macs // architecture.array.macs_per_cycle
    lost = clusters * cycles - busy
    shares = [lost * weight // 20 for weight in (2, 6, 3, 0, 1)]
    stalls = dict(zip(STALL_CAUSES, [*shares, lost - sum(shares)], strict=True))
    sizes = {"weight": layer.parameters, "weight_gradient": 2 * layer.parameters, "master_weight": 2 * layer.parameters}
    maps = batch * layer.out_channels * layer.out_height * layer.out_width

    def moved(access, name):
        return -(-sizes.get(name, maps) // 64) * 64 if name in TRAFFIC[phase][access] else 0

    row = {"layer": layer.name, "phase": phase, "kind": layer.kind, "macs": macs, "zero_insertion_macs": macs * layer.stride_height**2}
    row |= {"cycles": cycles, "span_cycles": cycles + 50, "cluster_busy_cycles": busy, "unified_core_busy_cycles": cycles // 3}
    row |= {f"{cause}_cycles": count for cause, count in stalls.items()}
    row |= {f"dram_{access}_{name}_bytes": moved(access, name) for access in ("read", "write") for name in TENSOR_CLASSES}
    row |= {f"{name}_flits": macs // 512 for name in FLIT_CLASSES} | {"flit_hops": macs // 100}
    return LayerRow(row | {f"{name}_buffer_{access}": macs // 1024 for name in BUFFERS for access in ("reads", "writes")})


def simulate(inputs, watching):
    """Stands in for `etasim.machine.simulate_inputs` where a test is about what happens around it."""
    for name in ("listing", "timeline"):
        if (path := getattr(watching, name)) is not None:
            path.write_text(f"{name}\n")
    if watching.progress is not None:
        watching.progress(0.5, 100_000)
    return make_result(inputs.network, inputs.architecture, inputs.batch, inputs.phases, analytical=inputs.fidelity == "analytical")
