"""Properties of traces: dumping loses nothing, counts follow their definition, no input ends in a traceback."""

from hypothesis import given, settings
from hypothesis import strategies as st

from etasim.config import InputError, shipped
from etasim.workload import Layer, Network, NetworkError, Shape, dump_network, load_network

TEXT = shipped("traces", "resnet20_cifar_a").read_bytes()


@st.composite
def networks(draw):
    """A chain of random layers, some of them read by a later join, closed by a linear layer."""
    shape = Shape(draw(st.integers(1, 6)), draw(st.integers(4, 12)), draw(st.integers(4, 12)))
    layers: list[Layer] = []
    current, before = shape, "input"
    for index in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["conv", "norm", "relu", "maxpool", "avgpool", "add", "concat", "shortcut"]))
        try:
            layer = _layer(draw, f"{kind}{index}", kind, before, current)
        except NetworkError:
            continue
        layers.append(layer)
        current, before = layer.out_shape, layer.name
    classes = draw(st.integers(1, 9))
    features = current.channels * current.height * current.width
    layers.append(Layer("fc", "linear", (before,), features, classes, bias=draw(st.booleans())))
    return Network("random", shape, classes, tuple(draw(st.permutations(layers))))


def _layer(draw, name, kind, before, shape):
    small = st.integers(1, 3)
    joins = kind in ("add", "concat")
    fields = {"in_channels": shape.channels * (2 if kind == "concat" else 1), "in_height": shape.height, "in_width": shape.width}
    fields["out_channels"] = fields["in_channels"]
    if kind in ("conv", "maxpool", "avgpool", "shortcut"):
        fields |= {"stride_height": draw(small), "stride_width": draw(small)}
    if kind in ("conv", "maxpool", "avgpool"):
        fields |= {"kernel_height": draw(small), "kernel_width": draw(small), "pad_height": draw(st.integers(0, 2)), "pad_width": 1}
        fields |= {f"pad_end_{axis}": draw(st.integers(0, 2)) for axis in ("height", "width") if draw(st.booleans())}
    if kind == "conv":
        groups = draw(st.sampled_from([n for n in range(1, shape.channels + 1) if shape.channels % n == 0]))
        fields |= {"dilation_height": draw(small), "groups": groups, "out_channels": groups * draw(small), "bias": draw(st.booleans())}
    if kind == "shortcut":
        fields["out_channels"] += draw(st.integers(0, 3))
    return Layer(name, kind, (before, before) if joins else (before,), **fields)


@given(network=networks())
def test_dump_reads_back_equal(tmp_path_factory, network):
    path = tmp_path_factory.mktemp("dump") / "network.yaml"
    path.write_text(dump_network(network))
    assert load_network(path) == network


@given(network=networks(), batch=st.integers(1, 9))
def test_counts_are_sums_over_phases(network, batch):
    assert network.useful_macs(batch) == sum(network.macs(batch, (phase,)) for phase in ("ff", "bp", "wg"))
    assert network.useful_macs(batch) == batch * network.useful_macs(1)
    assert network.zero_insertion_macs(batch) >= network.useful_macs(batch)
    assert network.macs(1, ("wg",)) == network.macs(1, ("ff",))


@given(network=networks())
def test_macs_count_window_positions(network):
    for layer in network.layers:
        if layer.kind not in ("conv", "linear"):
            assert layer.macs_per_sample == 0
            continue
        rows = _positions(layer.in_height, layer.kernel_height, layer.stride_height, _pads(layer, "height"), layer.dilation_height)
        columns = _positions(layer.in_width, layer.kernel_width, layer.stride_width, _pads(layer, "width"), layer.dilation_width)
        taps = layer.kernel_height * layer.kernel_width * layer.in_channels // layer.groups
        assert layer.macs_per_sample == rows * columns * taps * layer.out_channels


def _pads(layer, axis):
    return getattr(layer, f"pad_{axis}"), getattr(layer, f"pad_end_{axis}")


def _positions(size, kernel, stride, pads, dilation):
    """Windows that lie inside the padded input, counted one by one."""
    before, after = pads
    return sum(1 for start in range(-before, size + after, stride) if start + dilation * (kernel - 1) < size + after)


@settings(max_examples=60)
@given(cut=st.integers(0, len(TEXT)), junk=st.binary(max_size=8), rest=st.integers(0, len(TEXT)))
def test_damaged_trace_is_refused_in_words(tmp_path_factory, cut, junk, rest):
    path = tmp_path_factory.mktemp("damaged") / "t.yaml"
    path.write_bytes(TEXT[:cut] + junk + TEXT[max(cut, rest) :])
    try:
        outcome = load_network(path)
    except InputError as error:
        outcome = error
    if isinstance(outcome, InputError):
        assert len(str(outcome).splitlines()) == len(outcome.problems) > 0
    else:
        assert outcome.layers[-1].kind == "loss"
