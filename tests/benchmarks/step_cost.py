"""Processor time of a training step of ResNet20, batch 32, in each scheme beside PyTorch's own: steps in turns, one core, medians.

    python tests/benchmarks/step_cost.py --rounds 9
"""

import argparse
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    every = steppers()
    for step in every.values():
        step()
    load = os.getloadavg()[0]
    times = [{name: step() for name, step in every.items()} for _ in range(rounds)]
    print(f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} processors; medians of {rounds} steps, ms")
    for name in every:
        ratio, of_pint8 = (median(of[name] / of[base] for of in times) for base in ("PyTorch", "pint8"))
        print(f"{name:26} {1000 * median(of[name] for of in times):7.0f} {ratio:6.2f} {of_pint8:6.2f}")


if __name__ == "__main__":
    main()
