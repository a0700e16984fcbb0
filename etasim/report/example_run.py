"""The run that `etasim explain` takes its examples from: figures of one simulation that everybody can repeat.

``python -m etasim.report.example_run`` prints FIGURES as they are now; a test compares them with the simulation.
"""

import re
from pprint import pformat
from typing import Any

COMMAND = "etasim run eta_small digits_cnn --batch 2"
LAYER, PHASE = "conv2", "ff"
"""The row of layers.csv whose figures are shown."""
FIGURES: dict[str, Any] = {'of_row': ('layer', 'phase', 'kind', 'macs', 'zero_insertion_macs', 'cycles', 'span_cycles', 'utilization',
            'cluster_busy_cycles', 'stationary_stall_cycles', 'stream_stall_cycles', 'psum_stall_cycles',
            'gather_conflict_cycles', 'fill_drain_cycles', 'idle_cycles', 'unified_core_busy_cycles',
            'dram_read_activation_bytes', 'dram_read_weight_bytes', 'dram_read_error_bytes',
            'dram_read_pre_normalization_bytes', 'dram_read_weight_gradient_bytes',
            'dram_read_master_weight_bytes', 'dram_read_momentum_bytes', 'dram_read_mask_bytes',
            'dram_read_statistic_bytes', 'dram_write_activation_bytes', 'dram_write_weight_bytes',
            'dram_write_error_bytes', 'dram_write_pre_normalization_bytes',
            'dram_write_weight_gradient_bytes', 'dram_write_master_weight_bytes', 'dram_write_momentum_bytes',
            'dram_write_mask_bytes', 'dram_write_statistic_bytes', 'stream_flits', 'stationary_flits',
            'psum_flits', 'flit_hops', 'activation_buffer_reads', 'activation_buffer_writes',
            'weight_buffer_reads', 'weight_buffer_writes', 'error_buffer_reads', 'error_buffer_writes',
            'stream_scratchpad_writes', 'stationary_scratchpad_writes', 'on_chip_energy_mj'),
 'layer': 'conv2',
 'phase': 'ff',
 'kind': 'conv',
 'macs': 18432,
 'zero_insertion_macs': 186240,
 'cycles': 400,
 'span_cycles': 1209,
 'utilization': 0.790665752,
 'cluster_busy_cycles': 1152,
 'stationary_stall_cycles': 0,
 'stream_stall_cycles': 305,
 'psum_stall_cycles': 0,
 'gather_conflict_cycles': 0,
 'fill_drain_cycles': 0,
 'idle_cycles': 0,
 'unified_core_busy_cycles': 0,
 'dram_read_activation_bytes': 1024,
 'dram_read_weight_bytes': 768,
 'dram_read_error_bytes': 0,
 'dram_read_pre_normalization_bytes': 0,
 'dram_read_weight_gradient_bytes': 0,
 'dram_read_master_weight_bytes': 0,
 'dram_read_momentum_bytes': 0,
 'dram_read_mask_bytes': 0,
 'dram_read_statistic_bytes': 0,
 'dram_write_activation_bytes': 0,
 'dram_write_weight_bytes': 0,
 'dram_write_error_bytes': 0,
 'dram_write_pre_normalization_bytes': 512,
 'dram_write_weight_gradient_bytes': 0,
 'dram_write_master_weight_bytes': 0,
 'dram_write_momentum_bytes': 0,
 'dram_write_mask_bytes': 0,
 'dram_write_statistic_bytes': 0,
 'stream_flits': 256,
 'stationary_flits': 192,
 'psum_flits': 64,
 'flit_hops': 928,
 'activation_buffer_reads': 128,
 'activation_buffer_writes': 64,
 'weight_buffer_reads': 96,
 'weight_buffer_writes': 36,
 'error_buffer_reads': 32,
 'error_buffer_writes': 32,
 'stream_scratchpad_writes': 256,
 'stationary_scratchpad_writes': 96,
 'on_chip_energy_mj': None,
 'throughput_gops': 6.13652403,
 'images_per_s': 81119.4484,
 'total_cycles': 4931,
 'time_ms': 0.024655,
 'mac_utilization': 0.47941594,
 'useful_macs': 75648,
 'mac_units': 32,
 'peak_gops': 12.8,
 'dram_read_bytes': 28608,
 'dram_write_bytes': 22400,
 'dram_bandwidth_gb_per_s': 2.06887041,
 'dram_peak_gb_per_s': 12.8,
 'energy_mj': None,
 'power_w': None,
 'gops_per_w': None,
 'j_per_image': None,
 'energy_assumed_percent': None,
 'energy_excluded': 'chip all blocks (no board); static all resources (no figure)',
 'batch': 2,
 'phases': 'ff,bp,wg,wu',
 'core_clock_hz': 200000000,
 'time': '2.4655e-05 s',
 'clusters': 2}


def example(name: str, formula: str) -> str:
    """How a metric comes about in the example: its formula with the figures in it; empty where the run has none of them."""
    value = FIGURES.get(name)
    if value is None:
        return ""
    worked = re.sub(r"[a-z_]+", lambda word: _text(FIGURES.get(word[0], word[0])), formula)
    where = f"`{COMMAND}`" + (f", row {LAYER} {PHASE}" if name in FIGURES["of_row"] else "")
    return f"{_text(value)} in {where}" if worked == formula else f"{worked} = {_text(value)} in {where}"


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def figures() -> dict[str, Any]:
    """The figures of the example run, simulated."""
    from etasim.config import load_architecture
    from etasim.machine import simulate
    from etasim.report.metrics import layer_rows, summary
    from etasim.workload import load_network

    result = simulate(load_architecture("eta_small"), load_network("digits_cnn"), batch=2)
    (row,) = [row for row in layer_rows(result) if (row.layer, row.phase) == (LAYER, PHASE)]
    seconds = float(result.total_cycles / result.architecture.core.clock_hz)
    terms = {"time": f"{seconds:.9g} s", "clusters": result.architecture.array.clusters}
    return {"of_row": tuple(row)} | dict(row) | dict(summary(result)) | terms


if __name__ == "__main__":
    print("FIGURES: dict[str, Any] =", pformat(figures(), compact=True, width=110, sort_dicts=False))
