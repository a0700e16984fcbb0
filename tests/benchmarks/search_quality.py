"""How much of a true front searches find: hypervolume over that of all designs of a space that is small enough to be enumerated.

``python tests/benchmarks/search_quality.py [SPACE.yaml]`` estimates every design once, then has each method search with ``--budget``
evaluations from ``--seeds`` seeds, answered from these. Ends with status 1 if nsga2 reaches `SHARE` less often than in `OFTEN` of them.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from etasim.explore.assess import Assessment, assessors
from etasim.explore.methods import method
from etasim.explore.pareto import hypervolume
from etasim.explore.scores import directions, score
from etasim.explore.space_file import ANALYTICAL
from etasim.explore.space_reading import load_design_space
from etasim.machine.result import TypedRow

SHARE, OFTEN = 0.98, 0.9

SPACE = """
architecture: eta_vc709
networks: [resnet20_cifar]
batch: [2, 4, 8]
set: {noc.columns: auto, noc.rows: auto, noc.placement: auto}
axes:
  - {key: array.clusters, range: {from: 1, to: 8}}
  - {key: array.pes_per_cluster, values: [8, 16]}
  - {key: array.columns, values: [8, 16]}
  - {key: array.lanes, values: [4, 8]}
  - {key: unified_core.lanes, values: [16, 24, 32, 48]}
  - {key: noc.link_width, values: [128 bit, 256 bit, 512 bit]}
constraints: [fits_board]
objectives:
  - {metric: throughput_gops, direction: maximize}
  - {metric: dsp, direction: minimize}
fidelity: analytical
"""
"""2,304 designs: the PE array of the study, on one network."""


def true_scores(space, workers):
    """Scores of all designs [number]."""
    jobs = [Assessment(design, network.name, ANALYTICAL) for design in space.designs() for network in space.networks]
    rows = {}

    def finished(index, outcome):
        assert outcome.error is None, outcome.error
        job = jobs[index]
        own = {**job.design.settings, "point": job.design.number, "batch": job.design.batch, "network": job.network, "fidelity": ANALYTICAL}
        rows.setdefault(job.design.number, []).append(TypedRow({**own, **outcome.value}))
        if index % 200 == 0:
            print(f"{index} of {len(jobs)}", file=sys.stderr, flush=True)

    with assessors(space, workers) as pool:
        pool.run(jobs, finished)
    return [score(space, rows[number]) for number in range(space.size)]


def found_by(name, space, truth, budget, seed):
    """Designs that a search evaluates, none twice."""
    searching, found = method(name, space, budget, seed), []
    while numbers := searching.ask():
        searching.tell([truth[number] for number in numbers])
        found += numbers
    assert len(found) == len(set(found)) <= budget
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("space", nargs="?")
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "space.yaml"
        path.write_text(SPACE)
        space = load_design_space(options.space or path)
    truth, better = true_scores(space, options.workers), directions(space.objectives)
    feasible = [each.known for each in truth if each.is_feasible]
    worst = [max(values) if direction == "lower" else 0 for values, direction in zip(zip(*feasible, strict=True), better, strict=True)]
    whole, often = hypervolume(feasible, worst, better), {}
    print(f"{space.size} designs, {len(feasible)} of them feasible; {options.budget} evaluations, {options.seeds} seeds")
    for name in ("nsga2", "random"):
        found = [found_by(name, space, truth, options.budget, seed) for seed in range(options.seeds)]
        own = [[truth[number].known for number in numbers if truth[number].is_feasible] for numbers in found]
        shares = sorted(hypervolume(points, worst, better) / whole for points in own)
        often[name] = sum(share >= SHARE for share in shares)
        print(f"{name}: {' '.join(f'{share:.4f}' for share in shares)}; {SHARE:.0%} in {often[name]} of {options.seeds}", flush=True)
    return int(often["nsga2"] < OFTEN * options.seeds)


if __name__ == "__main__":
    sys.exit(main())
