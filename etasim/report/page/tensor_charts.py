"""The tensors in DRAM over the iteration, what the picture ``residency`` shows: a bar for each in the dataset ``tensors``."""

from typing import Any

import numpy as np

from etasim.report.page.document import Chart
from etasim.report.page.run_charts import ALIGNED, CLASS_TONES, frame, hidden, params, scale, tip, toggles, window
from etasim.report.residents import residents_of
from etasim.report.series import StoredSeries

LAYER_PIXELS = 14


def tensor_rows(series: StoredSeries) -> list[dict[str, Any]]:
    """The tensors that come or go, each in a lane of its layer; the others are there all the time."""
    found, classes = residents_of(series), series.arrays["tensor_classes"].tolist()
    moving, lanes, rows = np.flatnonzero(~found.stays).tolist(), dict[str, int](), []
    for i in moving:
        layer, (from_ms, until_ms) = found.layers[i], (found.cycles[i] * 1e3 / series.clock_hz).tolist()
        lanes[layer] = lanes.get(layer, -1) + 1
        rows.append({
            "layer": layer, "tensor": found.names[i], "tensor_class": classes[found.classes[i]], "bytes": int(found.n_bytes[i]),
            "lane": lanes[layer], "from_ms": from_ms, "until_ms": until_ms,
        })  # fmt: skip
    return rows


def tensor_chart(rows: list[dict[str, Any]], end_ms: float) -> Chart:
    """A line a layer, in it a bar for each of its tensors."""
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    shown = {name: colour for name, colour in CLASS_TONES.items() if any(row["tensor_class"] == name for row in rows)}
    spec = frame({
        "data": {"name": "tensors"},
        "mark": {"type": "bar", "clip": True},
        "transform": [hidden("tensor_class")],
        "encoding": {
            "x": {"field": "from_ms", **window("time [ms]")}, "x2": {"field": "until_ms"},
            "y": {"field": "layer", "type": "nominal", "sort": layers, "title": None, "axis": {**ALIGNED, "labelOverlap": True}},
            "yOffset": {"field": "lane", "type": "ordinal", "scale": {"paddingInner": 0}},
            "color": {"field": "tensor_class", "type": "nominal", "scale": scale(shown), "legend": None},
            "opacity": {"condition": {"test": "chosen === null || datum.layer === chosen", "value": 1}, "value": 0.3},
            "tooltip": tip("tensor", "tensor_class", "bytes", "from_ms", "until_ms", bytes=","),
        },
        "params": params(0, end_ms),
    }, max(120, LAYER_PIXELS * len(layers)))  # fmt: skip
    alt = "A bar is a tensor, from its first write to its last read, a line a layer; tensors that are in DRAM all the time have none."
    return Chart("tensors", "Tensors in DRAM", alt, spec, "time", {"tensor class": toggles(shown)})
