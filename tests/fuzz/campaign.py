"""Many cases: how many of which kind, what they ended with, and each distinct fault with the command that repeats it."""

import argparse
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from .case import Fault
from .pool import Job, Outcome, outcomes
from .worker import perform

SHARES = {"machines": 5, "leaves": 3, "files": 2}
"""Of ten cases, those of each kind."""
CASES_FOR_CI = {"machines": 50, "leaves": 56, "files": 28}
LIMIT_S, LIMIT_FOR_CI_S = 60.0, 30.0
EXAMPLES = 3
WARM_UP = Job("sound", 0, 0)


class Tally:
    """What came of the cases so far."""

    def __init__(self):
        self.counts: dict[str, Counter] = {}
        self.slowest: dict[str, float] = {}
        self.faults: dict[tuple[str, str], list[tuple[Job, Fault, tuple[str, ...]]]] = {}

    def add(self, outcome: Outcome) -> None:
        """Count a case."""
        kind, statuses = outcome.job.kind, " then ".join(outcome.statuses[:2]) or "none"
        self.counts.setdefault(kind, Counter())[statuses] += 1
        self.slowest[kind] = max(self.slowest.get(kind, 0.0), outcome.seconds)
        for fault in outcome.faults:
            self.faults.setdefault((fault.sort, _general(fault.key)), []).append((outcome.job, fault, outcome.said))

    @property
    def n_cases(self) -> int:
        """Cases counted."""
        return sum(sum(counts.values()) for counts in self.counts.values())

    def lines(self) -> Iterator[str]:
        """The counts by kind and exit status, then each distinct fault with commands that repeat it."""
        for kind, counts in sorted(self.counts.items()):
            ended = ", ".join(f"{n} x {status}" for status, n in counts.most_common())
            yield f"{kind}: {sum(counts.values())} cases, exit status {ended}; slowest {self.slowest[kind]:.1f} s"
        sorts = Counter(sort for sort, _ in self.faults)
        yield f"{len(self.faults)} distinct faults in {self.n_cases} cases" + "".join(f", {n} x {sort}" for sort, n in sorts.items())
        for (sort, key), found in sorted(self.faults.items(), key=lambda item: -len(item[1])):
            yield f"{sort}: {key} ({len(found)} times)"
            for job, _, said in found[:EXAMPLES]:
                yield f"    {repeat(job)}"
                yield f"        {'; '.join(said)[-500:]}"
            detail = " | ".join(line.strip() for line in found[0][1].detail.splitlines() if line.strip())
            if detail:
                yield f"    {detail[:300]}"


def _general(key: str) -> str:
    """A key without the numbers and paths of its case; lines of sources stay."""
    return re.sub(r"(?<![:\w])\d[\d.,]*", "N", re.sub(r"(?<![^\s'\"])/\S*/", "", key))


def repeat(job: Job) -> str:
    """The command that runs one case again."""
    return f"python -m tests.fuzz --seed {job.seed} --case {job.kind}:{job.number}"


def jobs_of(kinds: Iterable[str], seed: int, cases: dict[str, int] | None, until: float | None) -> Iterator[Job]:
    """Cases of all ``kinds`` in turn, by their shares: ``cases`` of each, or until the clock shows ``until``."""
    following = dict.fromkeys(kinds, 0)
    while following and (until is None or time.monotonic() < until):
        for kind in list(following):
            for _ in range(SHARES.get(kind, 1)):
                if cases is not None and following[kind] >= cases[kind]:
                    following.pop(kind)
                    break
                if until is not None and time.monotonic() >= until:
                    return
                yield Job(kind, seed, following[kind])
                following[kind] += 1


def campaign(
    seed: int = 1, workers: int = 2, kinds: Iterable[str] = tuple(SHARES), minutes: float | None = None, first: int = 0,
    cases: dict[str, int] | None = None, limit_s: float = LIMIT_S,
) -> Tally:  # fmt: skip
    """Run ``cases`` of each kind, or for ``minutes``."""
    tally = Tally()
    until = None if minutes is None else time.monotonic() + 60 * minutes
    for outcome in outcomes(jobs_of(kinds, seed, cases, until), workers, limit_s, WARM_UP):
        tally.add(outcome)
    return tally


def one(job: Job) -> int:
    """Run one case in this process and show everything; its folder is kept."""
    folder = Path(tempfile.mkdtemp(prefix="etasim-fuzz-case-"))
    case = perform(*job, folder, print)
    for status, message in zip(case.statuses, case.messages, strict=False):
        print(f"exit status {status}\n{message}".rstrip())
    for fault in case.faults:
        print(f"{fault.sort}: {fault.key}\n{fault.detail}".rstrip())
    print(f"{len(case.faults)} faults; files in {folder}")
    return 1 if case.faults else 0


def main(arguments: list[str] | None = None) -> int:
    """`python -m tests.fuzz`: exit status 1 if there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, help="how long; default: the cases that CI runs")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(SHARES), help=f"of {', '.join(SHARES)}")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds of a case that count as a hang")
    parser.add_argument("--case", metavar="KIND:NUMBER", help="run one case here and show it")
    given = parser.parse_args(arguments)
    if given.case:
        kind, _, number = given.case.partition(":")
        return one(Job(kind, given.seed, int(number)))
    kinds = [kind for kind in given.kinds.split(",") if kind]
    tally = campaign(given.seed, given.workers, kinds, given.minutes, cases=None if given.minutes else CASES_FOR_CI, limit_s=given.limit)
    print("\n".join(tally.lines()))
    sys.stdout.flush()
    return 1 if tally.faults else 0
