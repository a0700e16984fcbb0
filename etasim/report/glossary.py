"""Glossary: every figure that etasim writes, with its unit, formula and meaning.

``etasim explain METRIC`` prints an entry, ``docs/metrics.md`` is generated from all of them
(``python -m etasim.report.glossary > docs/metrics.md``), and the order of the entries is the order of the keys of
results.json and of the columns of layers.csv.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from etasim.core.registry import ETASIM, METRICS
from etasim.machine.result import FLIT_CLASSES, SCRATCHPADS, RunResult
from etasim.pe.causes import CAUSES, STALL_CAUSES
from etasim.program.commands import BUFFERS, TENSOR_CLASSES

SUMMARY, LAYERS, TRAINING, RUN_INFO = "results.json", "layers.csv", "training.csv", "run_info.json"


Compute = Callable[[RunResult, Sequence[Mapping[str, Any]]], int | Fraction | float | str | None]

Better = Literal["higher", "lower"] | None


@dataclass(frozen=True)
class Metric:
    """Definition of one figure. ``unit`` "1" is a pure number, "" a text; ``better`` says which direction a designer wants.

    ``compute``: of a metric that a package adds, the figure of a result over some of its rows: all of them for results.json, one for a row
    of layers.csv; None where it is not known. ``optional``: a column of layers.csv only of a machine that has the part which it is about.
    """

    name: str
    unit: str
    formula: str
    meaning: str
    files: tuple[str, ...]
    better: Better = None
    compute: Compute | None = None
    optional: bool = False


def _summary(name: str, unit: str, formula: str, meaning: str, better: Better = None) -> Metric:
    return Metric(name, unit, formula, meaning, (SUMMARY,), better)


def _layer(name: str, unit: str, formula: str, meaning: str, better: Better = None) -> Metric:
    return Metric(name, unit, formula, meaning, (LAYERS,), better)


def _part(name: str, unit: str, meaning: str) -> Metric:
    """Counted in a part that not every machine has."""
    return Metric(name, unit, "counted", f"{meaning} Only of a machine with that part.", (LAYERS,), optional=True)


def _training(name: str, unit: str, formula: str, meaning: str) -> Metric:
    return Metric(name, unit, formula, meaning, (TRAINING,))


def _run_info(name: str, unit: str, formula: str, meaning: str) -> Metric:
    return Metric(name, unit, formula, meaning, (RUN_INFO,))


_TENSOR_MEANINGS = {
    "activation": "activations (8-bit codes)",
    "weight": "8-bit weights",
    "error": "errors (gradients of activations)",
    "pre_normalization": "convolution outputs before normalization",
    "weight_gradient": "weight gradients",
    "master_weight": "master weights of the update",
    "momentum": "momentum of the update",
    "mask": "masks of ReLU and pooling",
    "statistic": "normalization statistics",
}

_BUFFER_MEANINGS = {"activation": "activation", "weight": "weight", "error": "error and psum"}

_FLIT_MEANINGS = {
    "stream": "operands that stream to the columns",
    "stationary": "stationary operands",
    "psum": "results and partial sums",
}

_ZERO_INSERTION_MACS = Metric(
    "zero_insertion_macs",
    "MAC",
    "counted",
    "MACs of the same work in a design that inserts zeros for strides, the useful ones included; the machine computes the others only with "
    "array.zero_insertion.",
    (SUMMARY, LAYERS),
)

_SUMMARY_METRICS = (
    _summary(
        "throughput_gops",
        "GOPS",
        "2 * useful_macs / time",
        "Useful operations a second of the whole iteration, auxiliary layers and weight update included; 1 MAC = 2 operations.",
        "higher",
    ),
    _summary("images_per_s", "1/s", "batch / time", "Training samples processed a second.", "higher"),
    _summary("total_cycles", "core cycles", "counted", "Length of the iteration on the core clock.", "lower"),
    _summary("time_ms", "ms", "1000 * total_cycles / core_clock_hz", "Length of the iteration.", "lower"),
    _summary("mac_utilization", "1", "useful_macs / (mac_units * total_cycles)", "Share of the MAC slots that did useful work.", "higher"),
    _summary(
        "useful_macs",
        "MAC",
        "sum of macs over layers.csv",
        "N*P*Q*K*(C/groups)*R*S of each of ff, bp and wg; padded positions included, inserted zeros not; no bp of the first layer. In bp "
        "at most each input pixel with the kernel positions that meet it: padding gets no error.",
    ),
    _ZERO_INSERTION_MACS,
    _summary("mac_units", "1", "clusters * pes_per_cluster * columns * lanes", "MAC units of the PE array.", "lower"),
    _summary("peak_gops", "GOPS", "2 * mac_units * core_clock_hz / 1e9", "Throughput with every MAC unit busy in every cycle.", "higher"),
    _summary(
        "dram_read_bytes", "B", "sum of dram_read_<class>_bytes over layers.csv", "Bytes read on the DRAM bus, whole bursts.", "lower"
    ),
    _summary(
        "dram_write_bytes", "B", "sum of dram_write_<class>_bytes over layers.csv", "Bytes written on the DRAM bus, whole bursts.", "lower"
    ),
    _summary("dram_bandwidth_gb_per_s", "GB/s", "(dram_read_bytes + dram_write_bytes) / time / 1e9", "Mean DRAM bandwidth used.", "lower"),
    _summary(
        "dram_peak_gb_per_s",
        "GB/s",
        "data buses * data rate * bus width / 8 / 1e9",
        "Bandwidth of the DRAM pins: a data bus a channel, with HBM2 one a rank (its pseudo channels); null where the DRAM is ideal.",
    ),
    _summary(
        "energy_mj",
        "mJ",
        "sum of count * energy over the component energy",
        "Energy of the iteration as far as it is known (energy_excluded), with what is assumed (energy_assumed_percent); null if the "
        "architecture states none.",
        "lower",
    ),
    _summary("power_w", "W", "energy / time", "Mean power of what energy_mj counts, with what is assumed.", "lower"),
    _summary("gops_per_w", "GOPS/W", "throughput_gops / power_w", "Efficiency by what energy_mj counts, with what is assumed.", "higher"),
    _summary("j_per_image", "J", "energy / batch", "Energy to train on one sample once, with what is assumed.", "lower"),
    _summary(
        "energy_assumed_percent",
        "%",
        "energy of assumed actions / energy",
        "Share of energy_mj that has no source: figures or numbers of blocks that are assumed.",
        "lower",
    ),
    _summary("energy_excluded", "", "listed", "Actions that energy_mj leaves out, and why; nothing if none."),
    _summary("batch", "1", "input", "Samples of the iteration."),
    _summary("phases", "", "input", "Simulated phases: ff (forward), bp (input gradient), wg (weight gradient), wu (weight update)."),
    _summary("core_clock_hz", "Hz", "input", "Frequency of the core clock."),
)

_LAYER_METRICS = (
    _layer("layer", "", "input", "Name of the layer in the trace."),
    _layer("phase", "", "input", "ff, bp, wg or wu."),
    _layer("kind", "", "input", "What the layer computes (convolution, pooling, ...)."),
    _layer(
        "macs",
        "MAC",
        "N*P*Q*K*(C/groups)*R*S",
        "Useful MACs of this layer and phase, by convention (in bp at most those of useful_macs); 0 where the unified core does the work.",
    ),
    _ZERO_INSERTION_MACS,
    _layer(
        "cycles",
        "core cycles",
        "retirement of this row - retirement of the row before",
        "Share of the iteration: the column sums to total_cycles. Work hidden behind the row before does not count.",
        "lower",
    ),
    _layer(
        "span_cycles",
        "core cycles",
        "last command completed - first command issued + 1",
        "Time during which the row had commands in flight, long where an engine could fetch far ahead. Spans of rows overlap. In an "
        "estimate from the begin of its first job until its last has done its work and the DRAM has moved all bytes up to there.",
    ),
    _layer(
        "utilization",
        "1",
        "macs / (mac_units / clusters * (cluster_busy_cycles + every stall but idle))",
        "Useful share of the MAC slots in the cluster cycles that went to this row; empty where the array has no part in it. "
        "The time is the array's own: cycles would hide what overlaps the row before.",
        "higher",
    ),
    _layer(
        "cluster_busy_cycles",
        "cluster cycles",
        "counted",
        "Cycles in which a cluster multiplies, summed over clusters. Busy + every stall + idle = clusters * total_cycles over all rows.",
    ),
    *(
        _layer(f"{cause}_cycles", "cluster cycles", "counted", f"Cycles in which {CAUSES[cause]}, summed over clusters.", "lower")
        for cause in STALL_CAUSES
    ),
    _layer("unified_core_busy_cycles", "core cycles", "counted", "Cycles in which the unified core's vector lanes work."),
    *(
        _layer(
            f"dram_{access}_{name}_bytes",
            "B",
            "counted",
            f"Bytes {done} on the DRAM bus for {_TENSOR_MEANINGS[name]}, whole bursts.",
            "lower",
        )
        for access, done in (("read", "read"), ("write", "written"))
        for name in TENSOR_CLASSES
    ),
    *(
        _layer(f"{name}_flits", "flits", "counted", f"Flits injected into the NoC for {_FLIT_MEANINGS[name]}.", "lower")
        for name in FLIT_CLASSES
    ),
    *(
        _part(f"{name}_flit_hops", "hops", f"Of `flit_hops`, those of {_FLIT_MEANINGS[name]}, where networks carry message classes apart.")
        for name in FLIT_CLASSES
    ),
    _layer("flit_hops", "hops", "counted", "Link traversals of flits, a multicast copy counted on each link it takes.", "lower"),
    *(
        _layer(f"{name}_buffer_{access}", "words", "counted", f"Words {done} the {_BUFFER_MEANINGS[name]} buffer.", "lower")
        for name in BUFFERS
        for access, done in (("reads", "read from"), ("writes", "written to"))
    ),
    *(
        _part(f"second_buffer_{access}", "words", f"Words {done} the second-level buffer.")
        for access, done in (("reads", "read from"), ("writes", "written to"))
    ),
    _part("second_served_bytes", "B", "Bytes that came out of the second-level buffer where they would have been read from DRAM."),
    _part("forwarded_bytes", "B", "Bytes that were read where a tensor lives on chip (mapping.forwarding), and not from DRAM."),
    *(
        _layer(
            f"{name}_scratchpad_writes",
            "words",
            "counted",
            f"Buffer words that arrive in the {name} scratchpads, a multicast word once for each cluster.",
        )
        for name in SCRATCHPADS
    ),
    _part("host_bytes", "B", "Bytes that the host's engine writes into DRAM, whole bursts, among the bytes written on the DRAM bus."),
    _layer(
        "on_chip_energy_mj",
        "mJ",
        "sum of count * energy over the actions of the row",
        "Energy of the array, the memories on chip, the unified core and the NoC, as far as known; without DRAM and static power.",
        "lower",
    ),
)

_TRAINING_METRICS = (
    _training("iteration", "1", "counted", "Number of the training iteration, from 1."),
    _training("loss", "nat", "mean of -log(softmax(logits)[label])", "Cross-entropy of the iteration's samples, from the logits in DRAM."),
    _training("accuracy", "1", "correct samples / batch", "Share of the iteration's samples whose greatest logit is the label's."),
    _training("reference_loss", "nat", "as loss", "The loss of the integer reference."),
    _training("reference_accuracy", "1", "as accuracy", "The accuracy of the integer reference."),
)

_RUN_INFO_METRICS = (
    _run_info("wall_seconds", "s", "measured", "Wall time of the simulation on the computer that ran it, compilation included."),
    _run_info("simulated_cycles_per_second", "1/s", "iterations * total_cycles / wall_seconds", "Speed of the simulator."),
    _run_info("simulated_macs_per_second", "1/s", "iterations * useful_macs / wall_seconds", "Speed of the simulator in useful MACs."),
    _run_info("peak_memory_bytes", "B", "measured", "Largest resident memory of the process; null where the system does not tell."),
)

_OWN = {SUMMARY: _SUMMARY_METRICS, LAYERS: _LAYER_METRICS, TRAINING: _TRAINING_METRICS, RUN_INFO: _RUN_INFO_METRICS}


def added(file: str) -> tuple[Metric, ...]:
    """The metrics of ``file`` that other packages add."""
    return tuple(metric for name, metric in METRICS.items() if file in metric.files and METRICS.origin(name) != ETASIM)


def columns(file: str) -> tuple[str, ...]:
    """Keys or columns of ``file``, in their order: those of etasim, then those that other packages add."""
    return tuple(metric.name for metric in (*_OWN[file], *added(file)))


def shown_columns(file: str, given: Collection[str]) -> tuple[str, ...]:
    """The columns of ``file``; of the optional ones those that are ``given``."""
    return tuple(name for name in columns(file) if not METRICS[name].optional or name in given)


def markdown() -> str:
    """The glossary as the text of docs/metrics.md."""
    lines = [
        "# Glossary of metrics",
        "",
        "Generated by `python -m etasim.report.glossary`; a test compares this page with the code. `etasim explain METRIC`",
        "prints an entry. Time is `total_cycles / core_clock_hz` in seconds. Unit 1 is a pure number. A figure that is not known",
        "is null (an empty cell in layers.csv), never 0. Floats carry nine significant digits, those of training.csv all of theirs.",
        "Cluster cycles are summed over the clusters of the array.",
    ]
    for file, metrics in _OWN.items():
        title = "`summary` of results.json" if file == SUMMARY else file
        lines += ["", f"## {title}", "", "| name | unit | formula | meaning |", "|---|---|---|---|"]
        lines += [_markdown_row(metric) for metric in metrics]
    return "\n".join(lines) + "\n"


PICTURED = (
    ("bandwidth", ("dram_read_bytes", "dram_write_bytes", "dram_bandwidth_gb_per_s", "dram_peak_gb_per_s", "host_bytes")),
    ("bandwidth_layers", tuple(f"dram_{access}_{name}_bytes" for access in ("read", "write") for name in TENSOR_CLASSES)),
    ("utilization", ("mac_utilization", "utilization", "mac_units", "zero_insertion_macs")),
    ("roofline", ("throughput_gops", "peak_gops", "useful_macs", "macs", "span_cycles")),
    ("stalls", ("cluster_busy_cycles", *(f"{cause}_cycles" for cause in STALL_CAUSES))),
    ("energy", ("energy_mj", "gops_per_w", "j_per_image", "energy_assumed_percent", "energy_excluded", "on_chip_energy_mj")),
    ("power", ("power_w",)),
    ("noc", ("flit_hops",)),
    ("noc_classes", tuple(f"{name}_flits" for name in FLIT_CLASSES)),
    ("peaks", ("unified_core_busy_cycles", *(f"{name}_buffer_{what}" for name in BUFFERS for what in ("reads", "writes")))),
)  # fmt: skip
"""Pictures (`etasim plot`), each with the metrics that it shows best."""


def picture_of(name: str) -> str | None:
    """The picture that shows a metric, if one does."""
    return next((picture for picture, shown in PICTURED if name in shown), None)


def _markdown_row(metric: Metric) -> str:
    picture = picture_of(metric.name)
    link = f" Picture: [`{picture}`](pictures.md#{picture})." if picture else ""
    formula = metric.formula if metric.formula in ("counted", "input", "listed", "measured") else f"`{metric.formula}`"
    return f"| `{metric.name}` | {metric.unit} | {formula} | {metric.meaning}{link} |"


if __name__ == "__main__":
    print(markdown(), end="")
else:
    for _metric in (metric for metrics in _OWN.values() for metric in metrics):
        METRICS.add(_metric.name, _metric)
