"""A trial is judged by its differences to the same life undisturbed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest

from flowcluster_api import names
from tests.integration.test_chaos import TRIALS
from tests.support.chaos.judge import judge, judge_reference, spare
from tests.support.chaos.life import Result, order_problems
from tests.support.chaos.report import Judged, table
from tests.support.chaos.scenarios import KINDS, SCENARIOS
from tests.support.chaos.trial import SUBJECT
from tests.support.rig.faults import REASONS, Fault, FaultKind
from tests.support.rig.ledger import Entry
from tests.support.rig.writes import Write

CREATED = Counter({"Pod driver": 1, "Pod scheduler": 1, "Pod worker": 2, "Job driver": 1})
NAMESPACE = "/apis/x/v1/namespaces/n"


def written(*targets: str, first: int = 1) -> tuple[Write, ...]:
    """Return writes to these targets, such as ``POST-jobs``; of a status, ``PUT-status/OWNERS PHASE REASON``."""
    found = []
    for number, text in enumerate(targets, first):
        target, _, about = text.partition(" ")
        method, _, place = target.partition("-")
        place, _, owners = place.partition("-")[0].partition("/")
        path = f"{NAMESPACE}/{owners or 'flowruns'}/subject/status" if place == "status" else f"{NAMESPACE}/{place}"
        found.append(Write(number, method, path, 200, float(number), about))
    return tuple(found)


WRITES = written("POST-leases", "PUT-status Running Running", "DELETE-jobs")
END = {"phase": "Succeeded", "attempts": "1"}
REFERENCE = Result("success", "Dask", Fault(), end=END, created=CREATED, deleted=CREATED, writes=WRITES)
DISTURBED = dataclasses.replace(REFERENCE, fault=Fault(FaultKind.KILL_AFTER, 2), hit=WRITES[1])


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


@pytest.mark.parametrize("label", ["RoleBinding driver", "NetworkPolicy cluster", "Lease cluster"])
@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("kind", [FaultKind.KILL_AFTER, FaultKind.DROP_ANSWER, FaultKind.REFUSE])
def test_missing_or_second_object_is_a_problem(label: str, number: int, kind: FaultKind) -> None:
    one = Counter({label: 1})
    reference = dataclasses.replace(REFERENCE, created=CREATED + one, deleted=CREATED + one)
    found = CREATED + Counter({label: number})
    tried = dataclasses.replace(DISTURBED, fault=Fault(kind, 2), created=found, deleted=found)

    assert judge(tried, reference) == [f"{verb}: {number} {label}, undisturbed 1" for verb in ("created", "deleted")]


def test_fewer_objects_are_no_problem_when_the_user_decides_when_to_delete() -> None:
    early = dataclasses.replace(DISTURBED, scenario="delete-starting", created=Counter({"Job driver": 1}))

    assert judge(early, dataclasses.replace(REFERENCE, scenario="delete-starting")) == []


def test_second_lease_of_a_run_that_is_deleted_early_is_a_problem() -> None:
    """The name of a Lease is fixed, at whatever moment the user deletes the run."""
    twice = Counter({"Lease cluster": 2, "Pod worker": 1})
    early = dataclasses.replace(DISTURBED, scenario="delete-starting", created=twice, deleted=twice)

    assert judge(early, dataclasses.replace(REFERENCE, scenario="delete-starting")) == [
        "created: 2 Lease cluster, the run has one at a time"
    ]


def start(kind: FaultKind, hit: int, *targets: str, restarted: int = 99) -> Result:
    """A trial with these writes, whose fault happens at one of them; a new operator makes those from `restarted` on."""
    writes = tuple(
        dataclasses.replace(write, process=2 if write.number >= restarted else 1) for write in written(*targets)
    )
    fault = Fault(kind, 1, 403 if kind is FaultKind.REFUSE else 0, target=writes[hit - 1].target)
    if kind is FaultKind.REFUSE:
        writes = tuple(dataclasses.replace(write, status=403) if write.number == hit else write for write in writes)
    return dataclasses.replace(DISTURBED, fault=fault, hit=writes[hit - 1], writes=writes)


LEASE, KEYS, PARAMETERS, CLUSTER, JOB = (
    "POST-leases",
    "POST-secrets",
    "POST-configmaps",
    "POST-rayclusters",
    "POST-jobs",
)


@pytest.mark.parametrize(
    ("result", "spared"),
    [
        # The answer to the creation is lost.
        (start(FaultKind.DROP_ANSWER, 2, LEASE, KEYS, PARAMETERS, KEYS, CLUSTER, JOB), {"Secret": 1}),
        (start(FaultKind.DROP_ANSWER, 3, LEASE, KEYS, PARAMETERS, PARAMETERS, CLUSTER, JOB), {"ConfigMap": 1}),
        # The operator is killed before an object names what it created.
        (start(FaultKind.KILL_AFTER, 2, LEASE, KEYS, KEYS, CLUSTER, JOB, restarted=3), {"Secret": 1}),
        (start(FaultKind.AWAY, 2, LEASE, KEYS, KEYS, CLUSTER, JOB, restarted=3), {"Secret": 1}),
        (
            start(FaultKind.KILL_BEFORE, 4, LEASE, KEYS, PARAMETERS, CLUSTER, KEYS, PARAMETERS, JOB, restarted=5),
            {"Secret": 1, "ConfigMap": 1},
        ),
        # The Job names the ConfigMap, and does not exist yet.
        (
            start(FaultKind.KILL_AFTER, 4, LEASE, KEYS, PARAMETERS, CLUSTER, PARAMETERS, JOB, restarted=5),
            {"ConfigMap": 1},
        ),
        # The next start creates its own.
        (start(FaultKind.KILL_AFTER, 4, LEASE, KEYS, CLUSTER, JOB, LEASE, KEYS, CLUSTER, restarted=5), {}),
    ],
)  # fmt: skip
def test_second_secret_is_spared_when_the_operator_cannot_know_the_first(result: Result, spared: object) -> None:
    """The API server chooses its name, and the operator cannot read it."""
    assert spare(result) == spared


@pytest.mark.parametrize(
    "result",
    [
        # The answer to another write is lost.
        start(FaultKind.DROP_ANSWER, 1, LEASE, KEYS, KEYS, CLUSTER, JOB),
        start(FaultKind.DROP_ANSWER, 3, LEASE, KEYS, CLUSTER, KEYS, JOB),
        # No answer is lost.
        start(FaultKind.REFUSE, 3, LEASE, KEYS, CLUSTER, KEYS, CLUSTER, JOB),
        start(FaultKind.CUT_WATCHES, 2, LEASE, KEYS, KEYS, CLUSTER, JOB),
        start(FaultKind.FREEZE_WATCHES, 3, LEASE, KEYS, CLUSTER, KEYS, JOB),
        # The cluster names the Secret already.
        start(FaultKind.KILL_AFTER, 3, LEASE, KEYS, CLUSTER, KEYS, JOB, restarted=4),
        start(FaultKind.STALE_LISTS, 4, LEASE, KEYS, CLUSTER, JOB, KEYS, restarted=5),
        # One operator creates both.
        start(FaultKind.KILL_AFTER, 1, LEASE, KEYS, KEYS, CLUSTER, JOB, restarted=2),
        # The creation was refused, so there is no first one.
        start(FaultKind.REFUSE, 2, LEASE, KEYS, KEYS, CLUSTER, JOB),
    ],
)
def test_second_secret_is_not_spared_when_the_operator_can_know_the_first(result: Result) -> None:
    assert spare(result) == {}


def test_secret_beyond_those_that_are_spared_is_a_problem() -> None:
    secret = Counter({"Secret cluster": 1})
    reference = dataclasses.replace(REFERENCE, created=CREATED + secret, deleted=CREATED + secret)
    lost = start(FaultKind.KILL_AFTER, 2, LEASE, KEYS, KEYS, CLUSTER, JOB, restarted=3)

    def with_secrets(number: int) -> Result:
        found = CREATED + Counter({"Secret cluster": number})
        return dataclasses.replace(lost, created=found, deleted=found)

    assert judge(with_secrets(2), reference) == []
    assert judge(with_secrets(3), reference) == [
        "created: 3 Secret cluster, undisturbed 1", "deleted: 3 Secret cluster, undisturbed 1",
    ]  # fmt: skip


def test_pods_that_late_controllers_make_again_and_again_are_a_problem() -> None:
    late, hot = (dataclasses.replace(DISTURBED, late=Counter({"Pod worker": number})) for number in (2, 3))

    assert judge(late, REFERENCE) == []
    assert judge(hot, REFERENCE) == ["late: 3 Pod worker for owners that were being deleted, the run needs 2"]


@pytest.mark.parametrize(("name", "word"), [("phase", "Failed"), ("attempts", "2")])
def test_reference_that_ends_otherwise_than_its_life_is_a_problem(name: str, word: str) -> None:
    wrong = dataclasses.replace(REFERENCE, end={**END, name: word})

    assert judge_reference(wrong) == [f"end: {name} is {word}, not {END[name]}"]


def test_reference_with_more_pods_than_it_needs_is_a_problem() -> None:
    wasteful = dataclasses.replace(REFERENCE, created=CREATED + Counter({"Pod worker": 3}))

    assert judge_reference(wasteful) == ["created: 5 Pod worker, the run needs 2"]


def of_run(kind: str, version: int, **versions: int) -> Entry:
    """A run or shared cluster under test, or an object of it, that has been deleted at a resource version."""
    if kind in names.OWNER_LABELS:
        meta: dict[str, Any] = {"name": SUBJECT, "uid": "1"}
    else:
        meta = {"name": f"{SUBJECT}-1", "uid": "2", "labels": {names.LABEL_RUN_UID: "1"}}
    meta["resourceVersion"] = str(version)
    return Entry(kind, {"metadata": meta}, is_gone=True, **versions)


@pytest.mark.parametrize("kind", names.OWNER_LABELS)
@pytest.mark.parametrize(
    ("since", "deleted", "problem"),
    [
        (6, 9, []),
        (4, 9, ["order: Pod was created before the status had a phase"]),
        (6, 11, ["order: Pod was there when the status reported that nothing is left"]),
    ],
)
def test_child_that_exists_too_early_or_too_late_is_a_problem(
    kind: str, since: int, deleted: int, problem: list[str]
) -> None:
    run = of_run(kind, 12, since=1, started=5, emptied=10)

    assert order_problems(["1"], [run, of_run("Pod", deleted, since=since)]) == problem
    assert order_problems(["9"], [run, of_run("Pod", deleted, since=since)]) == []  # of an earlier trial


def test_table_groups_failures_and_counts_trials_that_were_not_run() -> None:
    failed = Judged(DISTURBED, ("left: Job subject-0123456789abcdef",))
    text = table([failed, Judged(DISTURBED, (), is_reached=False)], planned=5)

    assert "success/Dask" in text
    assert "3 of 5 planned trials were not run" in text
    assert "left: Job subject-…\n" in text


@pytest.mark.parametrize("kind", KINDS)
def test_sample_has_each_fault_on_each_kind_of_cluster(kind: str) -> None:
    refusals = {(FaultKind.REFUSE, status) for status in REASONS}
    others = {(one, 0) for one in FaultKind if one not in (FaultKind.NONE, FaultKind.REFUSE)}

    assert {(one.fault.kind, one.fault.status) for one in TRIALS if one.life.kind == kind} == refusals | others


def test_sample_has_each_life() -> None:
    assert {one.life.scenario for one in TRIALS} == set(SCENARIOS)
