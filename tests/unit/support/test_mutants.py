"""A bug is planted into a copy of the operator, at exactly one place."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.integration.test_chaos import TRIALS
from tests.support.chaos.life import Result
from tests.support.chaos.mutants import Bug, bugs, is_found, planted
from tests.support.chaos.plan import named
from tests.support.chaos.report import Judged
from tests.support.rig.faults import UNDISTURBED
from tests.support.world import ROOT

FILE = "operator/flowcluster_operator/__init__.py"
FIRST, _, _ = (ROOT / FILE).read_text().partition("\n")
BUG = Bug("bug", FILE, FIRST, "# planted", "success/Dask/undisturbed", "left: Job")


def test_bug_is_planted_into_a_copy(tmp_path: Path) -> None:
    before = (ROOT / FILE).read_text()
    planted(BUG, tmp_path)

    assert (tmp_path / FILE).read_text().startswith("# planted\n")
    assert (ROOT / FILE).read_text() == before


def test_bug_is_refused_when_its_text_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="occurs 0 times"):
        planted(dataclasses.replace(BUG, old="no such text"), tmp_path)


@pytest.mark.parametrize("bug", bugs(), ids=lambda bug: bug.name)
def test_bug_of_the_file_can_be_planted_and_is_python(bug: Bug, tmp_path: Path) -> None:
    text = (planted(bug, tmp_path) / bug.file).read_text()

    assert compile(text, bug.file, "exec")
    assert text != (ROOT / bug.file).read_text()


@pytest.mark.parametrize("bug", bugs(), ids=lambda bug: bug.name)
def test_trial_of_a_bug_is_one_of_the_sample(bug: Bug) -> None:
    trial = named(bug.trial)

    assert trial in TRIALS or (trial.fault == UNDISTURBED and trial.life in {one.life for one in TRIALS})


def test_bug_is_found_by_the_problem_that_it_causes() -> None:
    result = Result("success", "Dask", UNDISTURBED)

    assert is_found(BUG, [Judged(result, ("output: a traceback", "left: Job subject-1"))])
    assert not is_found(BUG, [Judged(result, ("left: Pod subject-1",))])
    assert not is_found(BUG, [])
