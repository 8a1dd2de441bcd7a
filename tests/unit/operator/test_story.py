"""The story of a run has each cause once, and the end of each attempt."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from flowcluster_api import conditions as c
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.model.failures import RepeatedFailure, WarningEvent
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.policies.backoff_limit import EVICTIONS
from flowcluster_operator.policies.driver_end import driver_end
from flowcluster_operator.reconcile.decide_failing import decide_failing
from flowcluster_operator.status.draft import Draft
from tests.support.makers import NOW, ended, job, observed, outcome, pod, run, spec
from tests.support.plans import CHILDREN, READY_PODS, plan_for, settled, started
from tests.support.pod_statuses import CASES, blocked_pod

FAILED = outcome("Failed", "FlowFailed", "ValueError: no", 1)


def draft(status: dict[str, Any] | None = None) -> Draft:
    return Draft(run(status=status or started()), NOW)


def texts(made: Draft) -> list[str]:
    return [entry["message"] for entry in made.status["story"]]


class TestCauses:
    @pytest.mark.parametrize("kind", sorted(set(c.CAUSE_CLASSES.values())))
    def test_reasons_of_one_class_are_one_entry_and_one_event(self, kind: str) -> None:
        reasons = [reason for reason, found in c.CAUSE_CLASSES.items() if found == kind]
        made = draft()
        for number, reason in enumerate(itertools.islice(itertools.cycle(reasons), 20)):
            made.add_to_story(reason, f"text {number}", warning=True, part="worker")

        assert texts(made) == ["text 19"]
        assert len(made.events) == 1

    def test_causes_of_two_parts_that_alternate_are_two_entries(self) -> None:
        made = draft()
        for number in range(10):
            made.add_to_story("ErrImagePull", f"driver {number}", part="driver")
            made.add_to_story("ImagePullBackOff", f"worker {number}", part="worker")

        assert texts(made) == ["driver 9", "worker 9"]
        assert len(made.events) == 2

    def test_cause_that_comes_back_after_the_run_got_on_is_another_entry(self) -> None:
        made = draft()
        made.add_to_story("Unschedulable", "no node", part="worker")
        made.add_to_story(c.CLUSTER_USABLE, "ready")
        made.add_to_story("Unschedulable", "no node for two", part="worker")

        assert texts(made) == ["no node", "ready", "no node for two"]

    def test_cause_with_the_same_text_is_not_added_after_the_run_got_on(self) -> None:
        """A container that was killed shows so for as long as it lives."""
        made = draft()
        made.add_to_story(c.OUT_OF_MEMORY, "killed", part="worker")
        made.add_to_story(c.CLUSTER_USABLE, "ready")
        made.add_to_story(c.OUT_OF_MEMORY, "killed", part="worker")

        assert texts(made) == ["killed", "ready"]

    def test_pull_that_alternates_is_one_entry_of_the_run(self) -> None:
        status, events = started(), 0
        for name in ["image not found", "pull backs off"] * 5:
            seen = observed(status=status, pods=[blocked_pod("driver", CASES[name])], **CHILDREN)
            plan = plan_for(seen)
            status, events = plan.status or status, events + len(plan.events)
        pulls = [entry for entry in status["story"] if entry.get("part") == "driver"]

        assert len(pulls) == 1
        assert events == len(status["story"])


def attempt(number: int, state: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    made = pod("driver", state, uid=f"a{number}", name=f"driver-{number}", age=100 - number, **more)
    if state is not None and "terminated" in state:
        made["status"]["phase"] = "Failed"
    return made


def retried(status: dict[str, Any], *pods: dict[str, Any], limit: int = 5, **more: Any) -> Observed:
    flow = {"entrypoint": "a.py:b", "backoffLimit": limit}
    return observed(spec(flow=False) | {"flow": flow}, status=status, pods=[*READY_PODS, *pods], **CHILDREN | more)


class TestAttempts:
    @pytest.mark.parametrize("keeps_pods", [True, False])
    def test_attempts_are_counted_although_their_pods_go(self, keeps_pods: bool) -> None:
        status: dict[str, Any] = started()
        pods: list[dict[str, Any]] = []
        for number in range(1, 5):
            running = [*pods, attempt(number)]
            status = settled(retried(status, *running))
            failed = attempt(number, ended(1, FAILED))
            status = plan_for(retried(status, *pods, failed)).status or status
            pods = [*pods, failed] if keeps_pods else []
        ends = [entry["message"] for entry in status["story"] if entry["reason"] == c.ATTEMPT_ENDED]

        assert status["flow"]["attempts"] == 4
        assert ends == [f"attempt {n} in pod driver-{n} ended: FlowFailed: ValueError: no" for n in range(1, 5)]

    def test_end_that_was_not_seen_is_in_the_story(self) -> None:
        first = settled(retried(started(), attempt(1)))
        second = settled(retried(first, attempt(2)))
        ends = [entry["message"] for entry in second["story"] if entry["reason"] == c.ATTEMPT_ENDED]

        assert ends == ["attempt 1 ended: its pod is gone"]
        assert second["flow"]["attempts"] == 2

    @pytest.mark.parametrize("name", ["evicted for memory", "out of memory"])
    def test_end_of_an_attempt_is_one_entry_of_the_story(self, name: str) -> None:
        first = attempt(1, ended(137, "", "OOMKilled"))
        if name != "out of memory":
            first["status"] |= {"reason": "Evicted", "message": "The node was low on resource: memory."}
        status = settled(retried(started(), first, attempt(2)))

        assert [entry["reason"] for entry in status["story"]].count(c.ATTEMPT_ENDED) == 1
        assert [entry for entry in status["story"] if "part" in entry] == []

    @pytest.mark.parametrize("refused", [True, False])
    def test_status_has_what_the_next_attempt_waits_for(self, refused: bool) -> None:
        """Its Job waits, too: some seconds longer after each attempt."""
        made = job()
        made["spec"]["backoffLimit"] = 5
        message = 'Error creating: pods "x-" is forbidden: exceeded quota: team'
        warnings = (WarningEvent("Job", "x", "FailedCreate", message),) if refused else ()
        before = settled(retried(started(), attempt(1), job=made))
        plan = plan_for(retried(before, attempt(1, ended(1, FAILED)), job=made, warnings=warnings))
        status = plan.status or {}

        assert (before["phase"], before["reason"], status["phase"]) == ("Running", "FlowRunning", "Running")
        assert status["reason"] == ("FailedCreate" if refused else c.WAITING)
        assert ("exceeded quota" if refused else "waiting for the next attempt") in status["message"]
        assert plan.requeue is not None

    def test_status_waits_for_no_attempt_while_one_runs(self) -> None:
        made = job()
        made["spec"]["backoffLimit"] = 5
        seen = retried(started(), attempt(1, ended(1, FAILED)), attempt(2), job=made)

        assert settled(seen)["reason"] == "FlowRunning"

    def test_last_end_is_the_runs_own(self) -> None:
        status = settled(retried(started(), attempt(1, ended(1, FAILED)), limit=0))

        assert [entry["reason"] for entry in status["story"]] == ["FlowFailed"]

    def test_attempts_do_not_shrink_when_the_run_is_suspended(self) -> None:
        running = settled(retried(started(), attempt(1, ended(1, FAILED)), attempt(2)))
        suspended = settled(observed(spec(suspend=True), status=running, pods=READY_PODS, **CHILDREN))
        resumed = settled(retried({**suspended, **started()}, attempt(3)))

        assert (running["flow"]["attempts"], suspended["flow"]["attempts"], resumed["flow"]["attempts"]) == (2, 2, 3)


class TestRetries:
    def disrupted(self, number: int, code: int = 3) -> dict[str, Any]:
        made = attempt(number, ended(code, outcome("Cancelled", "Cancelled", "by SIGTERM", 3)))
        condition = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "m"}
        made["status"]["conditions"].append(condition)
        return made

    @pytest.mark.parametrize("limit", [0, 1])
    def test_disrupted_attempts_do_not_count(self, limit: int) -> None:
        drained = [self.disrupted(number) for number in range(3)]
        failures = [attempt(number, ended(1, FAILED)) for number in range(3, 4 + limit)]

        assert driver_end(retried(started(), *drained, limit=limit)) is None
        found = driver_end(retried(started(), *drained, *failures, limit=limit))
        assert found is not None
        assert found.reason == "FlowFailed"

    def test_disrupted_attempt_is_the_end_when_the_job_has_failed(self) -> None:
        failed = job()
        failed["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
        found = driver_end(retried(started(), self.disrupted(1), job=failed))

        assert found is not None
        assert found.reason == "DriverLost"
        assert "EvictionByEvictionAPI" in found.message

    @pytest.mark.parametrize(("code", "is_retried"), [(1, True), (2, True), (3, True), (137, True), (222, False)])
    def test_flow_that_exits_is_tried_again_and_one_that_cannot_start_is_not(self, code: int, is_retried: bool) -> None:
        left = outcome("Crashed", "FlowExited", f"the flow called sys.exit({code})", code)

        assert (driver_end(retried(started(), attempt(1, ended(code, left)), limit=1)) is None) == is_retried

    def test_eviction_wins_over_the_exit_code(self) -> None:
        evicted = attempt(1, ended(137, ""))
        evicted["status"] |= {"reason": "Evicted", "message": "Pod ephemeral local storage usage exceeds the limit"}
        found = driver_end(retried(started(), evicted, limit=0))

        assert found is not None
        assert found.reason == "Evicted"
        assert "ephemeral-storage" in found.message

    @pytest.mark.parametrize("count", [1, EVICTIONS, EVICTIONS + 1])
    def test_driver_that_is_evicted_again_and_again_is_not_started_for_ever(self, count: int) -> None:
        pods = [self.disrupted(number, 137) for number in range(count)]
        for evicted in pods:
            evicted["status"] |= {"reason": "Evicted", "message": "The node was low on resource: memory."}
        found = driver_end(retried(started(), *pods, limit=0))

        assert (found is None) == (count <= EVICTIONS)
        assert found is None or "requests.memory" in found.message

    def test_flow_that_completed_before_its_pod_was_evicted_has_succeeded(self) -> None:
        evicted = attempt(1, ended(0, outcome()))
        evicted["status"] |= {"reason": "Evicted", "message": "The node was low on resource: memory."}
        found = driver_end(retried(started(), evicted, limit=0))

        assert found is not None
        assert found.phase == "Succeeded"


def test_story_has_passes_that_fail_once_while_their_words_differ() -> None:
    """Each attempt has other words, such as a time or the number of a request."""
    body = run(status=settled(observed(status=started(), **CHILDREN)))
    for number in range(3):
        trouble = RepeatedFailure("ApiError", f"request {number} timed out", 60)
        body["status"] = decide_failing(body, FlowRunSpec.model_validate(body["spec"]), trouble, NOW).status
        seen = dataclasses.replace(observed(status=body["status"], **CHILDREN), failure=trouble)
        body["status"] = plan_for(seen).status or body["status"]

    (entry,) = (entry for entry in body["status"]["story"] if entry["reason"] == "ApiError")
    assert entry["message"] == "request 2 timed out"
