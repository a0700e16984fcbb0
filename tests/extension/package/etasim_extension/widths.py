"""An importer of FILE.widths: a perceptron as a line of widths, its input first, such as `784 300 10`."""

from etasim.config.reading import Document, parse_yaml
from etasim.core.registry import IMPORTERS
from etasim.training.import_report import MODELLED, ImportedModel, Record, report_of
from etasim.workload.trace import build_network


def read(file, _shape):
    """Linear layers with ReLU between them."""
    inputs, *widths = map(int, file.read_text(encoding="utf-8").split())
    layers = [entry for i, width in enumerate(widths) for entry in (
        f"  - {{name: act{i}, op: relu}}", f"  - {{name: fc{i}, op: linear, out_channels: {width}}}"
    )][1:]  # fmt: skip
    head = f"name: {file.stem}\ninput: {{channels: {inputs}, height: 1, width: 1}}\nclasses: {widths[-1]}\nlayers:\n"
    network = build_network(Document(*parse_yaml(head + "\n".join(layers), str(file))))
    records = [Record(MODELLED, layer.kind, "", layer.name) for layer in network.layers]
    return ImportedModel(network, report_of(records, network), sum(layer.macs_per_sample for layer in network.layers))


IMPORTERS.add("widths", read)
