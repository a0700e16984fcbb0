"""Whether one PyTorch model is another, bit for bit."""

import torch
from torch.nn import functional


def outcome(model: torch.nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor | None]:
    """Logits in training and in evaluation, all gradients, and what a step leaves in the buffers. Modules keep their modes relative to
    the model's: those in evaluation while the model trains stay so."""
    frozen = [module for module in model.modules() if not module.training] if model.training else []
    torch.manual_seed(1)
    logits = model(x)
    functional.cross_entropy(logits, torch.arange(len(x))).backward()
    gradients = {f"{name}: gradient": parameter.grad for name, parameter in model.named_parameters()}
    with torch.no_grad():
        evaluated = model.eval()(x)
        model.train()
        for module in frozen:
            module.training = False
    found = {"training": logits.detach(), "evaluation": evaluated, **gradients, **dict(model.named_buffers())}
    return {name.removeprefix("body."): values for name, values in found.items()}


def differing(model: torch.nn.Module, quantized: torch.nn.Module, x: torch.Tensor) -> list[str]:
    """Names of what is not the same of a model in training and its quantized version, among all that `outcome` has. One thread: sums over
    threads are not repeatable."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        expected, got = outcome(model, x), outcome(quantized, x)
    finally:
        torch.set_num_threads(threads)
    return sorted(expected.keys() ^ got.keys()) + [name for name in got if name in expected and not _same(expected[name], got[name])]


def _same(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    return a is b if a is None or b is None else a.dtype == b.dtype and torch.equal(a, b)
