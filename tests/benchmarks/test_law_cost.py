"""What the laws cost: CPU time of the checks inside runs of ResNet20, and of what the machine keeps for them."""

from statistics import median
from time import process_time

from etasim.config import load_architecture
from etasim.machine import elaborate, simulate, simulation
from etasim.workload import load_network

ROUNDS = 9
MOST_PERCENT = 3.0


def test_laws_cost_little(benchmark, monkeypatch):
    """Share of the checks in each run, the median. Reported, and too little to hold it to a bar on a busy computer: runs that keep DRAM
    commands in turn with runs that do not, the quickest of each."""
    architecture, network = load_architecture("eta_vc709"), load_network("resnet20_cifar")
    kept, check = elaborate.CHECKED_COMMANDS, simulation.conservation.check
    inside: list[float] = []
    seconds: dict[int, list[float]] = {kept: [], 0: []}

    def timed(*arguments):
        begun = process_time()
        check(*arguments)
        inside.append(process_time() - begun)

    def run(n_commands):
        monkeypatch.setattr(elaborate, "CHECKED_COMMANDS", n_commands)
        begun = process_time()
        simulate(architecture, network)
        seconds[n_commands].append(process_time() - begun - inside[-1])

    monkeypatch.setattr(simulation.conservation, "check", timed)
    run(kept)  # compiles
    if benchmark.disabled:
        benchmark.pedantic(run, args=(kept,), rounds=1)
        return
    seconds[kept].clear()
    inside.clear()
    for _ in range(ROUNDS):
        run(kept)
        run(0)
    benchmark.pedantic(run, args=(kept,), rounds=1)
    laws_percent = 100 * median(share / run_seconds for share, run_seconds in zip(inside[0::2], seconds[kept], strict=False))
    kept_percent = 100 * (min(seconds[kept]) / min(seconds[0]) - 1)
    benchmark.extra_info |= {"laws_percent": round(laws_percent, 2), "kept_commands_percent": round(kept_percent, 2)}
    assert laws_percent < MOST_PERCENT
