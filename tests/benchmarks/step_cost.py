"""Processor time of a training step of ResNet20, batch 32, in each scheme beside PyTorch's own: steps in turns, one core, medians.

    python tests/benchmarks/step_cost.py --rounds 9 [--peers]

``--peers`` adds two emulators of others, which are not of our requirements: QPyTorch (``pip install qtorch ninja``, and a C++ compiler) and
microxcaling (its repository on ``PYTHONPATH``), as their documentation has a model of convolutions trained with them.
"""

import argparse
import copy
import os
import time
from collections.abc import Callable
from statistics import median

import torch
from torch.nn import functional

from etasim.training import SGD, build_model, load_scheme, parameter_groups, quantize_model

STOCHASTIC = [f"{name}.rounding=stochastic" for name in ("activation", "weight", "error")]
BATCH = "normalization.kind=batch"
KINDS = {
    "fp32": ("fp32", [BATCH]),
    "pint8": ("pint8", [BATCH]),
    "pint8, stochastic errors": ("pint8", [BATCH, STOCHASTIC[2]]),
    "pint8, stochastic codes": ("pint8", [BATCH, *STOCHASTIC]),
    "mxint8, two copies": ("mxint8", [BATCH]),
    "mxint8, squares": ("mxint8", [BATCH, "second_direction=square"]),
    "pint8 with l1_group": ("pint8", []),
    "pint8 with running_l1": ("pint8", ["normalization.kind=running_l1"]),
}


def stepper(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], float]:
    """What takes a step and says its processor seconds."""
    images, labels = torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))

    def step() -> float:
        begin = time.process_time()
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        return time.process_time() - begin

    return step


def steppers() -> dict[str, Callable[[], float]]:
    """One for each kind, from the same weights."""
    plain = build_model("resnet20_cifar")
    found = {}
    for name, (scheme, overrides) in KINDS.items():
        model = quantize_model(plain, load_scheme(scheme, overrides))
        optimizer = SGD(parameter_groups(model, 1e-4), model.scheme, lr=0.1, momentum=0.9)
        if model.scheme.normalization.kind == "running_l1":
            model.learn_before_steps(optimizer)
        found[name] = stepper(model, optimizer)
    return {"PyTorch": stepper(plain, torch.optim.SGD(plain.parameters(), 0.1, 0.9, weight_decay=1e-4))} | found


def replaced(model: torch.nn.Module, by: Callable[[torch.nn.Module], torch.nn.Module]) -> torch.nn.Module:
    """A copy of ``model`` whose modules without modules are what ``by`` makes of them."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if not list(child.children()):
                setattr(parent, name, by(child))
    return model


def qpytorch(plain: torch.nn.Module) -> Callable[[], float]:
    """Block floating point of 8 bits, a block a tensor, to nearest: outputs and errors of all layers, weights, gradients; momentum and
    sums of weights of 16 bits."""
    from qtorch import BlockFloatingPoint
    from qtorch.optim import OptimLP
    from qtorch.quant import Quantizer, quantizer

    eight, sixteen = (BlockFloatingPoint(wl=bits, dim=-1) for bits in (8, 16))
    rounds = Quantizer(eight, eight, "nearest", "nearest")
    rounded = torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.ReLU, torch.nn.Linear
    model = replaced(plain, lambda layer: torch.nn.Sequential(layer, copy.deepcopy(rounds)) if isinstance(layer, rounded) else layer)
    to_eight, to_sixteen = (quantizer(forward_number=number, forward_rounding="nearest") for number in (eight, sixteen))
    inner = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=1e-4)
    return stepper(model, OptimLP(inner, to_eight, grad_quant=to_eight, momentum_quant=to_sixteen, acc_quant=to_sixteen))


def microxcaling(plain: torch.nn.Module) -> Callable[[], float]:
    """MXINT8 in blocks of 32 along what each product adds up, in convolutions and the linear layer, forward and backward."""
    import mx

    specs = mx.finalize_mx_specs({"w_elem_format": "int8", "a_elem_format": "int8", "scale_bits": 8, "block_size": 32})

    def by(layer: torch.nn.Module) -> torch.nn.Module:
        has_bias = getattr(layer, "bias", None) is not None
        if isinstance(layer, torch.nn.Conv2d):
            sizes = layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups
            own = mx.Conv2d(*sizes, bias=has_bias, mx_specs=specs)
        elif isinstance(layer, torch.nn.Linear):
            own = mx.Linear(layer.in_features, layer.out_features, bias=has_bias, mx_specs=specs)
        else:
            return layer
        own.load_state_dict(layer.state_dict())
        return own

    model = replaced(plain, by)
    return stepper(model, torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=1e-4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    rounds = options.rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    every = steppers()
    if options.peers:
        plain = build_model("resnet20_cifar")
        every |= {"QPyTorch, block floating point": qpytorch(plain), "microxcaling, MXINT8": microxcaling(plain)}
    for step in every.values():
        step()
    load = os.getloadavg()[0]
    times = [{name: step() for name, step in every.items()} for _ in range(rounds)]
    print(f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} processors; medians of {rounds} steps, ms")
    for name in every:
        ratio, of_pint8 = (median(of[name] / of[base] for of in times) for base in ("PyTorch", "pint8"))
        print(f"{name:31} {1000 * median(of[name] for of in times):7.0f} {ratio:6.2f} {of_pint8:6.2f}")


if __name__ == "__main__":
    main()
