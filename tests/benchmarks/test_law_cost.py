"""What the laws cost: CPU time of ResNet20 with and without them, in turn, so that both meet the same machine."""

from statistics import median
from time import process_time

from etasim.config import load_architecture
from etasim.machine import elaborate, simulate, simulation
from etasim.workload import load_network

ROUNDS = 7
MOST_PERCENT = 3.0


def test_laws_cost_little(benchmark, monkeypatch):
    """Without: nothing is checked, and no DRAM command is kept for the checker."""
    architecture, network = load_architecture("eta_vc709"), load_network("resnet20_cifar")
    seconds: dict[bool, list[float]] = {True: [], False: []}
    kept, check = elaborate.CHECKED_COMMANDS, simulation.conservation.check

    def run(with_laws):
        monkeypatch.setattr(elaborate, "CHECKED_COMMANDS", kept if with_laws else 0)
        monkeypatch.setattr(simulation.conservation, "check", check if with_laws else lambda *_: None)
        begun = process_time()
        simulate(architecture, network)
        seconds[with_laws].append(process_time() - begun)

    run(True)  # compiles
    seconds[True].clear()
    if benchmark.disabled:
        return
    for _ in range(ROUNDS):
        run(True)
        run(False)
    benchmark.pedantic(run, args=(True,), rounds=1)
    cost_percent = 100 * median(a / b - 1 for a, b in zip(seconds[True], seconds[False], strict=False))
    benchmark.extra_info["laws_percent"] = round(cost_percent, 2)
    assert cost_percent < MOST_PERCENT
