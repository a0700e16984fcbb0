"""What is known of the tensors of an ONNX graph: their shapes, node after node, and the values of the small ones that are numbers."""

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from etasim.training.arguments import Refused

_LARGEST_KNOWN = 4096
"""Elements of a tensor up to which its values are computed: enough for shapes, too few for a bomb."""

_NUMBER_OPS = (
    "Abs", "Add", "And", "Cast", "Ceil", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Expand", "Flatten", "Floor", "Gather",
    "Greater", "Identity", "Less", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Range", "ReduceMax", "ReduceMin", "ReduceProd",
    "ReduceSum", "Reshape", "Slice", "Split", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
)  # fmt: skip
"""Operations that models compute shapes with."""

_SAME_SHAPE = ("GroupNormalization",)
"""Operations of which ONNX does not say that their result has the shape of what they read."""

_SAME_WEIGHT = ("Transpose", "Cast", "Reshape", "Squeeze", "Unsqueeze", "QuantizeLinear", "DequantizeLinear")
"""Operations whose result is the same trained tensor; an Identity is not among them: PyTorch writes it where two weights are equal."""


class Constant(NamedTuple):
    """A tensor that does not depend on the network's input: the ``name`` of the tensor in the file that it is (None: it is computed from
    others), its dimensions, its values if they are known."""

    name: str | None
    shape: tuple[int, ...]
    values: np.ndarray | None
    is_real: bool


class OnnxTensors:
    """Shapes and numbers of all tensors of a graph, from its inputs on."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._opsets, self._ir_version = list(model.opset_import), model.ir_version
        self._versions = {opset.domain: opset.version for opset in self._opsets}
        self._types: dict[str, onnx.TypeProto] = {value.name: value.type for value in model.graph.input}
        self._values: dict[str, np.ndarray] = {}
        self._roots: dict[str, str | None] = {}
        self.stored: dict[str, tuple[int, ...]] = {}
        for tensor in model.graph.initializer:
            self._store(tensor, tensor.name)

    def _store(self, tensor: onnx.TensorProto, name: str) -> None:
        shape = tuple(tensor.dims)
        self._types[name] = onnx.helper.make_tensor_type_proto(tensor.data_type, shape)
        if tensor.data_type in _REAL:
            self.stored[name] = shape
        if prod(shape) <= _LARGEST_KNOWN and tensor.data_location != onnx.TensorProto.EXTERNAL:
            try:
                self._values[name] = onnx.numpy_helper.to_array(tensor)
            except (ValueError, TypeError):  # no data, or not as much as the dimensions say: shapes are enough
                return

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Dimensions of a tensor; None if they are not known."""
        kind = self._types.get(name)
        if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
            return None
        dimensions = kind.tensor_type.shape.dim
        return tuple(d.dim_value for d in dimensions) if all(d.HasField("dim_value") and d.dim_value >= 0 for d in dimensions) else None

    def constant(self, name: str) -> Constant | None:
        """What is known of a tensor that does not depend on the input; None if that is not even its shape."""
        shape = self.shape(name)
        if shape is None:
            return None
        is_real = self._types[name].tensor_type.elem_type in _REAL
        return Constant(self._roots.get(name, name), shape, self._values.get(name), is_real)

    def follow(self, node: onnx.NodeProto, depends: bool) -> None:
        """Shapes of what ``node`` writes, and the values if they are numbers; ``depends``: on the values of the network's input. Refused if
        the shapes of what it reads do not fit it."""
        if node.op_type == "Constant" and any(a.name == "value" for a in node.attribute):
            self._store(next(a.t for a in node.attribute if a.name == "value"), node.output[0])
            return
        self._infer(node)
        if not depends and node.op_type == "Identity":
            self._copy(node.input[0], node.output[0])
        elif not depends:
            root = self._roots.get(node.input[0], node.input[0]) if node.op_type in _SAME_WEIGHT else None
            self._roots |= dict.fromkeys(node.output, root)
        self._evaluate(node, depends)

    def _copy(self, source: str, result: str) -> None:
        """An Identity of a weight is a weight of its own."""
        root = self._roots.get(source, source)
        self._roots[result] = root and result
        if root in self.stored:
            self.stored[result] = self.stored[root]

    def _infer(self, node: onnx.NodeProto) -> None:
        inputs = [name for name in node.input if name]
        if any(name not in self._types for name in inputs):
            return
        known = {name: onnx.numpy_helper.from_array(self._values[name], name) for name in inputs if name in self._values}
        try:
            schema = onnx.defs.get_schema(node.op_type, self._versions.get(node.domain, 1), node.domain)
            found = onnx.shape_inference.infer_node_outputs(
                schema, node, {name: self._types[name] for name in inputs}, known, opset_imports=self._opsets, ir_version=self._ir_version
            )
        except onnx.defs.SchemaError:
            return
        except Exception as error:  # onnx raises errors of several kinds, some without a common class
            raise Refused(f"its inputs or shapes do not fit: {' '.join(str(error).split())[:200]}") from None
        self._types |= {name: kind for name, kind in found.items() if name}
        if node.op_type in _SAME_SHAPE:
            self._types[node.output[0]] = self._types[inputs[0]]

    def _evaluate(self, node: onnx.NodeProto, depends: bool) -> None:
        """Values of a small tensor of numbers."""
        if node.op_type in ("Shape", "Size") and (shape := self.shape(node.input[0])) is not None:
            self._values[node.output[0]] = _sizes(node, shape)
            return
        if depends or node.op_type not in _NUMBER_OPS or any(name not in self._values for name in node.input if name):
            return
        shapes = [self.shape(name) for name in node.output]
        if any(shape is None or prod(shape) > _LARGEST_KNOWN for shape in shapes):
            return
        feeds = {name: self._values[name] for name in node.input if name}
        inputs = [onnx.helper.make_value_info(name, self._types[name]) for name in feeds]
        graph = onnx.helper.make_graph([node], "one", inputs, [onnx.helper.make_value_info(n, self._types[n]) for n in node.output])
        try:
            with np.errstate(all="ignore"):
                results = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=self._opsets)).run(None, feeds)
        except Exception:  # numbers that do not fit an operation stay unknown; whoever needs them says so
            return
        self._values |= {name: np.asarray(result) for name, result in zip(node.output, results, strict=True)}


_REAL = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)


def _sizes(node: onnx.NodeProto, shape: tuple[int, ...]) -> np.ndarray:
    """Result of Shape or Size."""
    if node.op_type == "Size":
        return np.array(prod(shape), np.int64)
    attributes: Mapping[str, Any] = {a.name: a.i for a in node.attribute}
    return np.array(shape[attributes.get("start", 0) : attributes.get("end", len(shape))], np.int64)
