"""How long a Python program waits until an operator observes its FlowRun."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import client

from flowcluster.clusters import child_requests, readiness
from flowcluster.clusters.child_requests import ChildRequests
from flowcluster.errors import ClusterNotStarted, KubernetesError
from flowcluster_api import child_runs, driver
from tests.support.fake_api.patches import merged, stepped

#: Seconds for which an operator can be down without an effect on runs.
AWAY = 300.0


class Clock:
    """A clock that only waiting advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False

    sleep = wait


class Operator:
    """FlowRuns of a namespace, and a driver's Lease, whose operator is down until a given second."""

    def __init__(self, clock: Clock, back_at: float) -> None:
        self._clock, self._back_at = clock, back_at
        self.lease: dict[str, Any] = {"metadata": {"name": "lease"}}

    @property
    def is_back(self) -> bool:
        return self._clock.now >= self._back_at

    def get(self, name: str) -> dict[str, Any]:
        status = {"status": {"phase": "Running"}} if self.is_back else {}
        return {"metadata": {"name": name}, **status}

    def patch_lease(self, name: str, patch: dict[str, Any]) -> None:
        self.lease = merged(self.lease, patch)

    def get_lease(self, name: str) -> dict[str, Any]:
        for each, request in child_runs.read(self.lease).items() if self.is_back else ():
            self.lease = stepped(self.lease, child_runs.answer(each, request, None))
        return self.lease

    def find_readable(self, name: str) -> dict[str, Any] | None:
        return {"metadata": {"name": name, "ownerReferences": [{"uid": "parent"}]}} if self.is_back else None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (readiness, child_requests):
        monkeypatch.setattr(module, "time", made)
    return made


def wait(clock: Clock, operator: Operator, start_deadline: int = 600) -> tuple[dict[str, Any], list[str]]:
    created = {"metadata": {"name": "run"}, "spec": {"startDeadlineSeconds": start_deadline}}
    reports: list[str] = []
    given_up = SimpleNamespace(wait=clock.wait)
    return readiness.wait_until_usable(operator, created, given_up, reports.append), reports  # type: ignore[arg-type]


def test_program_gets_its_cluster_when_the_operator_was_down_for_five_minutes(clock: Clock) -> None:
    status, reports = wait(clock, Operator(clock, AWAY))

    assert status["phase"] == "Running"
    assert [report.partition(":")[0] for report in reports] == ["queued", "queued", "ready"]
    assert "no operator has observed it" in reports[1]


@pytest.mark.parametrize("start_deadline", [5, 30, 600, 86_400])
def test_program_without_an_operator_fails_within_the_start_deadline(clock: Clock, start_deadline: int) -> None:
    with pytest.raises(ClusterNotStarted, match="No operator has observed FlowRun run") as raised:
        wait(clock, Operator(clock, float("inf")), start_deadline)

    assert raised.value.reason == "Unnoticed"
    assert clock.now <= min(start_deadline, readiness.UNNOTICED_SECONDS) + readiness.LONGEST_WAIT


class Revoking(Operator):
    """A run that the program cannot read from a given second on: the permission for a child run ends with the run."""

    def get(self, name: str) -> dict[str, Any]:
        if self.is_back:
            raise KubernetesError("forbidden") from client.ApiException(status=403)
        return {"metadata": {"name": name}, "status": {"phase": "Starting", "reason": "Waiting", "message": "waiting"}}


def test_error_names_the_status_when_the_permission_to_read_the_run_ends(clock: Clock) -> None:
    with pytest.raises(ClusterNotStarted, match=r"FlowRun run can no longer be read.*kubectl describe flowrun run"):
        wait(clock, Revoking(clock, 20))

    assert 20 + readiness.REVOKED_SECONDS <= clock.now <= 20 + readiness.REVOKED_SECONDS + 2 * readiness.LONGEST_WAIT


def test_driver_gets_its_child_run_when_the_operator_was_down_for_five_minutes(clock: Clock) -> None:
    environment = {driver.ENV_RUN_NAME: "whole", driver.ENV_RUN_UID: "parent"}
    requests = ChildRequests(Operator(clock, AWAY), environment)  # type: ignore[arg-type]

    created = requests.create({"metadata": {"generateName": "part-"}, "spec": {"cluster": {"kind": "Dask"}}})

    assert created["metadata"]["name"].startswith("part-")
