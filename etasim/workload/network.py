"""A network: layers in an order in which they can run, with shapes that chain."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from etasim.workload.graph import INPUT, LOSS, joined_shape, topological_order
from etasim.workload.layer import MAC_PHASES, Fault, Layer, NetworkError, Shape


@dataclass(frozen=True, repr=False)
class Network:
    """A directed acyclic graph of layers with one input and one output, the loss.

    ``layers`` may be given in any order and are kept in topological order; the loss is added if it is missing.
    Raises NetworkError, with all faults of the first check that fails: names, graph, shapes, output.
    """

    name: str
    input_shape: Shape
    classes: int
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        _check_names(self.layers)
        by_name = {layer.name: layer for layer in self.layers}
        order = topological_order({layer.name: layer.inputs for layer in self.layers})
        layers = tuple(by_name[name] for name in order)
        _check_shapes(layers, self.input_shape)
        object.__setattr__(self, "layers", _with_loss(layers, self.classes))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Computed once: networks are part of the keys of caches."""
        return hash((self.name, self.input_shape, self.classes, self.layers))

    def __repr__(self) -> str:
        channels, height, width = self.input_shape
        return (
            f"Network({self.name!r}: {channels} x {height} x {width} in, {self.classes} classes, {len(self.layers)} layers, "
            f"{self.parameters:,} parameters, {self.macs(1):,} MACs a training sample)"
        )

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def _trained(self) -> frozenset[str]:
        """Layers whose output depends on a trained value."""
        trained: set[str] = set()
        for layer in self.layers:
            if layer.parameters or trained.intersection(layer.inputs):
                trained.add(layer.name)
        return frozenset(trained)

    def __getitem__(self, name: str) -> Layer:
        return self._by_name[name]

    def consumers(self, name: str) -> tuple[Layer, ...]:
        """Layers that read the output of layer ``name``, or the network's input if it is ``input``."""
        return tuple(layer for layer in self.layers if name in layer.inputs)

    def has_input_gradient(self, name: str) -> bool:
        """Whether training needs the gradient at the inputs of layer ``name``.

        Not where it reads the network's input, or only what untrained layers made of it.
        """
        return not self._trained.isdisjoint(self._by_name[name].inputs)

    @property
    def parameters(self) -> int:
        """Trained values of all layers."""
        return sum(layer.parameters for layer in self.layers)

    def phases_of(self, layer: Layer) -> tuple[str, ...]:
        """Phases in which the PE array computes ``layer``: none, ``ff`` and ``wg``, or all three."""
        if not layer.schema.on_array:
            return ()
        return tuple(phase for phase in MAC_PHASES if phase != "bp" or self.has_input_gradient(layer.name))

    def macs(self, batch: int, phases: Iterable[str] = MAC_PHASES) -> int:
        """Multiply-accumulates of one iteration in ``phases``, none of them with an inserted zero."""
        return batch * sum(layer.macs_per_sample_in(phase) for layer, phase in self._work(phases))

    def useful_macs(self, batch: int) -> int:
        """Multiply-accumulates of one training iteration: FF, BP and WG."""
        return self.macs(batch)

    def zero_insertion_macs(self, batch: int, phases: Iterable[str] = MAC_PHASES) -> int:
        """Multiply-accumulates of the same iteration in a design that inserts zeros for strides."""
        return batch * sum(layer.zero_insertion_macs_per_sample(phase) for layer, phase in self._work(phases))

    def _work(self, phases: Iterable[str]) -> Iterable[tuple[Layer, str]]:
        wanted = set(phases)
        return ((layer, phase) for layer in self.layers for phase in self.phases_of(layer) if phase in wanted)


def _check_names(layers: tuple[Layer, ...]) -> None:
    seen: set[str] = {INPUT}
    faults = []
    for layer in layers:
        if layer.name in seen:
            reason = "is reserved for the network's input" if layer.name == INPUT else "is used twice"
            faults.append(Fault(layer.name, "name", f"the name {layer.name!r} {reason}"))
        seen.add(layer.name)
    if faults:
        raise NetworkError(faults)
    if not layers:
        raise NetworkError([Fault("", "", "a network needs at least one layer")])


def _check_shapes(layers: tuple[Layer, ...], input_shape: Shape) -> None:
    """Compare what each layer reads with what its inputs give."""
    shapes = {INPUT: input_shape}
    faults: list[Fault] = []
    for layer in layers:
        try:
            given = joined_shape(layer.name, layer.kind, [shapes[name] for name in layer.inputs])
            if given != layer.in_shape:
                faults.append(Fault(layer.name, "inputs", f"reads {layer.in_shape}, its inputs give {given}"))
        except NetworkError as error:
            faults += error.faults
        shapes[layer.name] = layer.out_shape
    if faults:
        raise NetworkError(faults)


def _with_loss(layers: tuple[Layer, ...], classes: int) -> tuple[Layer, ...]:
    """``layers`` ending in a loss that reads one value for each class."""
    read = {name for layer in layers for name in layer.inputs}
    outputs = [layer for layer in layers if layer.name not in read]
    if len(outputs) > 1:
        names = ", ".join(layer.name for layer in outputs)
        raise NetworkError(Fault(layer.name, "", f"a network has one output, but nothing reads {names}") for layer in outputs[:-1])
    early = [layer for layer in layers if layer.schema.is_loss and layer is not outputs[0]]
    if early:
        raise NetworkError(Fault(layer.name, "kind", "the loss must be the last layer") for layer in early)
    output = outputs[0]
    features = output.in_channels if output.schema.is_loss else output.out_channels * output.out_height * output.out_width
    if features != classes:
        raise NetworkError([Fault(output.name, "out_channels", f"the output has {features} features, classes is {classes}")])
    if output.schema.is_loss:
        return layers
    if any(layer.name == LOSS for layer in layers):
        raise NetworkError([Fault(LOSS, "name", f"the name {LOSS!r} is reserved for the loss, which is added at the end")])
    loss = Layer(LOSS, "loss", (output.name,), in_channels=classes, out_channels=classes)
    return (*layers, loss)
