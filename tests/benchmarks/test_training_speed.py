"""Speed of a training step: 8-bit schemes beside fp32 with the same normalization."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from etasim.training import SGD, build_model, load_scheme, parameter_groups, quantize_model  # noqa: E402


@pytest.mark.parametrize("scheme", ["fp32", "pint8", "bfp8", "dfx8", "int8", "mxint8", "mxfp8", "fp8"])
def test_a_step_of_resnet20_at_batch_32(benchmark, scheme):
    torch.manual_seed(0)
    model = quantize_model(build_model("resnet20_cifar"), load_scheme(scheme))
    optimizer = SGD(parameter_groups(model, 1e-4), model.scheme)
    images, labels = torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))

    def step():
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    benchmark.pedantic(step, rounds=5, warmup_rounds=1)
