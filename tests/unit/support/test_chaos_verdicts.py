"""A trial is judged by its differences to the same life undisturbed, and trials are planned at every write."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest

from flowcluster_api import names
from tests.support.chaos.judge import judge, judge_reference
from tests.support.chaos.life import Result, order_problems
from tests.support.chaos.plan import Life, chosen_lives, chosen_trials, plan
from tests.support.chaos.report import Judged, table
from tests.support.chaos.trial import SUBJECT
from tests.support.rig.faults import REASONS, Fault, FaultKind
from tests.support.rig.ledger import Entry

CREATED = Counter({"Pod driver": 1, "Pod scheduler": 1, "Pod worker": 2, "Job driver": 1})
WRITES = (
    "POST /apis/coordination.k8s.io/v1/namespaces/n/leases",
    "PUT /apis/flowcluster.dev/v1alpha1/namespaces/n/flowruns/subject/status",
    "DELETE /apis/batch/v1/namespaces/n/jobs/subject",
)
END = {"phase": "Succeeded", "attempts": "1"}
REFERENCE = Result("success", "Dask", Fault(), end=END, created=CREATED, deleted=CREATED, writes=WRITES)
DISTURBED = dataclasses.replace(REFERENCE, fault=Fault(FaultKind.KILL_AFTER, 2), hit="write 2")


def test_trial_that_equals_its_reference_has_no_problem() -> None:
    assert judge(DISTURBED, REFERENCE) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"end": {**END, "phase": "Failed"}}, "end: phase is Failed, undisturbed Succeeded"),
        ({"end": {}}, "end: phase is absent, undisturbed Succeeded"),
        ({"left": ("Job subject-1",)}, "left: Job subject-1"),
        ({"problems": ("bystander: is Failed",)}, "bystander: is Failed"),
        ({"created": CREATED + Counter({"Job driver": 1})}, "created: 2 Job driver, undisturbed 1"),
        ({"writes": WRITES * 20}, "writes: 60, undisturbed 3"),
        ({"deleted": Counter()}, "deleted: 0 Job driver, undisturbed 1"),
    ],
)
def test_difference_is_a_problem(change: dict[str, object], expected: str) -> None:
    assert expected in judge(dataclasses.replace(DISTURBED, **change), REFERENCE)  # type: ignore[arg-type]


def test_missing_rights_are_no_problem_and_a_second_set_is() -> None:
    """A driver that needs no rights can end before a restarted operator creates them."""
    role = Counter({"RoleBinding driver": 1})
    reference = dataclasses.replace(REFERENCE, created=CREATED + role, deleted=CREATED + role)
    twice = dataclasses.replace(reference, created=CREATED + role + role)

    assert judge(DISTURBED, reference) == []
    assert judge(twice, reference) == ["created: 2 RoleBinding driver, undisturbed 1"]


def test_fewer_objects_are_no_problem_when_the_user_decides_when_to_delete() -> None:
    early = dataclasses.replace(DISTURBED, scenario="delete-starting", created=Counter({"Job driver": 1}))

    assert judge(early, dataclasses.replace(REFERENCE, scenario="delete-starting")) == []


@pytest.mark.parametrize("kind", [FaultKind.KILL_AFTER, FaultKind.DROP_ANSWER, FaultKind.AWAY])
def test_second_secret_is_no_problem_when_the_first_answer_was_lost(kind: FaultKind) -> None:
    """The API server chooses its name, and the operator cannot read it."""
    secret = Counter({"Secret cluster": 1})
    reference = dataclasses.replace(REFERENCE, created=CREATED + secret, deleted=CREATED + secret)
    twice = dataclasses.replace(DISTURBED, created=CREATED + secret + secret, deleted=CREATED + secret + secret)
    lost, refused = (dataclasses.replace(twice, fault=Fault(kind, 1)) for kind in (kind, FaultKind.REFUSE))

    assert judge(lost, reference) == []
    assert judge(refused, reference) != []


@pytest.mark.parametrize(("name", "word"), [("phase", "Failed"), ("attempts", "2")])
def test_reference_that_ends_otherwise_than_its_life_is_a_problem(name: str, word: str) -> None:
    wrong = dataclasses.replace(REFERENCE, end={**END, name: word})

    assert judge_reference(wrong) == [f"end: {name} is {word}, not {END[name]}"]


def test_reference_with_more_pods_than_it_needs_is_a_problem() -> None:
    wasteful = dataclasses.replace(REFERENCE, created=CREATED + Counter({"Pod worker": 3}))

    assert judge_reference(wasteful) == ["created: 5 Pod worker, the run needs 2"]


def of_run(kind: str, version: int, **versions: int) -> Entry:
    """An object of the run under test that has been deleted at a resource version."""
    if kind == names.KIND:
        meta: dict[str, Any] = {"name": SUBJECT, "uid": "1"}
    else:
        meta = {"name": f"{SUBJECT}-1", "uid": "2", "labels": {names.LABEL_RUN_UID: "1"}}
    meta["resourceVersion"] = str(version)
    return Entry(kind, {"metadata": meta}, is_gone=True, **versions)


@pytest.mark.parametrize(
    ("since", "deleted", "problem"),
    [
        (6, 9, []),
        (4, 9, ["order: Pod was created before the status had a phase"]),
        (6, 11, ["order: Pod was there when the status said that nothing is left"]),
    ],
)
def test_child_that_exists_too_early_or_too_late_is_a_problem(since: int, deleted: int, problem: list[str]) -> None:
    run = of_run(names.KIND, 12, since=1, started=5, emptied=10)

    assert order_problems([run, of_run("Pod", deleted, since=since)]) == problem


def test_plan_has_every_fault_at_every_write() -> None:
    planned = plan({Life("success", "Dask"): REFERENCE}, seed=1)
    kinds = Counter(one.fault.kind for one in planned)
    at_each_write = set(FaultKind) - {FaultKind.NONE, FaultKind.STALE_LISTS, FaultKind.REFUSE}

    assert all(kinds[kind] == len(WRITES) for kind in at_each_write)
    assert kinds[FaultKind.REFUSE] == len(WRITES) * len(REASONS)
    assert kinds[FaultKind.STALE_LISTS] == 1
    assert len(set(planned)) == len(planned)


def test_plan_begins_with_each_fault_at_each_write_that_no_earlier_life_has() -> None:
    more = dataclasses.replace(REFERENCE, writes=(*WRITES, "DELETE /apis/batch/v1/namespaces/n/jobs/other"))
    alone = plan({Life("success", "Dask"): REFERENCE}, seed=1)
    both = plan({Life("success", "Dask"): REFERENCE, Life("failure", "Dask"): more}, seed=1)
    new = [one for one in both if one.fault.target == "DELETE-jobs" and one.fault.write == 2]

    assert set(both[: len(alone) + len(new)]) == {*alone, *new}
    assert len(both) == 2 * len(alone) + len(new)


def test_plan_has_the_same_order_when_the_seed_is_the_same() -> None:
    references = {Life("success", "Dask"): REFERENCE}

    assert plan(references, seed=1) == plan(references, seed=1) != plan(references, seed=2)


def test_patterns_choose_lives_and_trials() -> None:
    planned = plan({Life("success", "Dask"): REFERENCE}, seed=1)
    pattern = "success/*/kill-after@POST-leases"

    assert chosen_lives([pattern]) == [Life("success", "Dask"), Life("success", "Ray")]
    assert [str(one) for one in chosen_trials([pattern], planned)] == ["success/Dask/kill-after@POST-leases"]
    assert chosen_trials(["success/Dask"], planned) == planned


def test_name_of_one_trial_chooses_it_when_the_plan_does_not_have_it() -> None:
    name = "success/Dask/refuse-409@PUT-status~9"

    assert [str(one) for one in chosen_trials([name], [])] == [name]


def test_unknown_life_is_refused() -> None:
    with pytest.raises(ValueError, match="no life is named so"):
        chosen_lives(["sucess/Dask"])


def test_table_groups_failures_and_counts_trials_that_were_not_run() -> None:
    failed = Judged(DISTURBED, ("left: Job subject-0123456789abcdef",))
    text = table([failed, Judged(DISTURBED, (), is_reached=False)], planned=5)

    assert "success/Dask" in text
    assert "3 of 5 planned trials were not run" in text
    assert "left: Job subject-…\n" in text
