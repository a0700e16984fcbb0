"""Seeded faults are noticed: by the laws and values of the run itself, or by a test that is named."""

import pytest
from mutants import MUTANTS
from mutate import ROOT, is_caught, is_killed, outcome_of, patched

LEAST_SHARE = 0.8


def test_the_machine_as_it_is_survives():
    with patched(None) as root:
        assert outcome_of(root) == "survived"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_mutant_is_noticed(mutant):
    with patched(mutant) as root:
        outcome = outcome_of(root)
        if mutant.test:
            assert not is_caught(outcome), "the laws notice it by now: the named test is not needed"
            assert is_killed(root, mutant.test)
        else:
            assert is_caught(outcome), outcome


def test_most_mutants_need_no_test():
    assert len(MUTANTS) >= 24
    assert sum(not mutant.test for mutant in MUTANTS) >= LEAST_SHARE * len(MUTANTS)


def test_the_line_of_each_mutant_is_there():
    for seeded in MUTANTS:
        assert (ROOT / "etasim" / seeded.file).read_text(encoding="utf-8").count(seeded.old) == 1, seeded.name
        assert seeded.new != seeded.old
        assert not seeded.test or (ROOT / seeded.test.partition("::")[0]).is_file()
