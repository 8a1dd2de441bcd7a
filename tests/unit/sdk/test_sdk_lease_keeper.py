"""How the agent releases a run whose Lease it cannot write."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kubernetes import client

from flowcluster.agent.driver_process import DriverProcess
from flowcluster.agent.lease_renewal import LeaseRenewer
from flowcluster.agent.pending_report import PendingReport
from flowcluster.agent.protocol import AgentJob
from flowcluster.errors import KubernetesError
from flowcluster.kube.choice import Choice
from flowcluster_api import child_runs
from flowcluster_api.driver import Outcome

RUN = {"metadata": {"name": "run", "uid": "uid"}, "status": {"phase": "Starting"}}
OUTCOME = Outcome(state="Completed", reason="Done", message="done", exit_code=0).to_json()


class Refusing:
    """FlowRuns of a namespace in which the run's Lease cannot be written.

    Attributes:
        written: writes to other objects.
    """

    def __init__(self, status: int) -> None:
        self.written: list[tuple[str, Any]] = []
        self._status = status

    def patch_lease(self, name: str, patch: dict[str, Any]) -> None:
        if name == "lease":
            raise KubernetesError("refused") from client.ApiException(status=self._status)
        self.written.append((name, patch))

    def patch(self, name: str, spec: dict[str, Any]) -> None:
        self.written.append((name, spec))

    def find(self, name: str, uid: str) -> dict[str, Any]:
        return RUN


def keeper(api: Refusing, parent_lease: str | None = None) -> LeaseRenewer:
    job = AgentJob(Choice(None, None, "team"), "run", "uid", "lease", 60, "me", 1, parent_lease=parent_lease)
    return LeaseRenewer(job, api, DriverProcess(1), PendingReport())  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [403, 404])
def test_run_is_cancelled_when_its_lease_cannot_be_written(status: int) -> None:
    api = Refusing(status)
    asyncio.run(keeper(api).release(OUTCOME))

    assert api.written == [("run", {"cancel": True})]


@pytest.mark.parametrize("status", [403, 404, 500])
def test_child_run_is_cancelled_by_a_request_when_its_lease_cannot_be_written(status: int) -> None:
    api = Refusing(status)
    asyncio.run(keeper(api, "parent").release(OUTCOME))

    assert api.written == [("parent", child_runs.cancel("run"))]


def test_other_errors_of_a_release_are_raised() -> None:
    with pytest.raises(KubernetesError):
        asyncio.run(keeper(Refusing(500)).release(OUTCOME))
