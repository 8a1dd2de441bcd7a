"""A driver's requests for child runs, against a Lease that an operator answers."""

from __future__ import annotations

from typing import Any

import pytest

from flowcluster.clusters.child_requests import ChildRequests
from flowcluster.errors import KubernetesError
from flowcluster_api import child_runs, driver, names
from tests.support.fake_api.patches import merged, stepped

ENVIRONMENT = {driver.ENV_RUN_NAME: "whole", driver.ENV_RUN_UID: "uid-whole"}
MANIFEST = {"metadata": {"generateName": "part-"}, "spec": {"cluster": {"kind": "Dask"}}}


class AnsweredLease:
    """FlowRuns of a namespace with an operator that answers each request at the second read.

    Attributes:
        lease: the Lease as it is.
        requests: all requests, by name.
    """

    def __init__(self, refused: str | None = None, owner: str = "uid-whole") -> None:
        self.lease: dict[str, Any] = {"metadata": {"name": "lease"}}
        self.requests: dict[str, child_runs.Request] = {}
        self._refused, self._owner, self._looks = refused, owner, 0

    def patch_lease(self, name: str, patch: dict[str, Any]) -> None:
        assert name == names.child_name("whole", "uid-whole")
        self.lease = merged(self.lease, patch)
        self.requests |= child_runs.read(self.lease)

    def get_lease(self, name: str) -> dict[str, Any]:
        self._looks += 1
        if self._looks == 2:
            for each, request in child_runs.read(self.lease).items():
                self.lease = stepped(self.lease, child_runs.answer(each, request, self._refused))
        return self.lease

    def find_readable(self, name: str) -> dict[str, Any] | None:
        self._looks += 1
        is_readable = self._looks > 3
        return {"metadata": {"name": name, "ownerReferences": [{"uid": self._owner}]}} if is_readable else None


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowcluster.clusters.child_requests.LOOK_SECONDS", 0.001)


def test_child_run_is_requested_and_returned_when_it_can_be_read() -> None:
    api = AnsweredLease()
    created = ChildRequests(api, ENVIRONMENT).create(MANIFEST)  # type: ignore[arg-type]

    name = created["metadata"]["name"]
    assert name.startswith("part-")
    assert api.requests[name].spec == MANIFEST["spec"]
    assert child_runs.read(api.lease) == {}


def test_refusal_is_raised_and_removed() -> None:
    api = AnsweredLease(refused="more than 2 workers")
    with pytest.raises(KubernetesError, match="more than 2 workers"):
        ChildRequests(api, ENVIRONMENT).create(MANIFEST)  # type: ignore[arg-type]

    assert child_runs.read(api.lease) == {}


def test_flow_run_of_another_run_is_not_used() -> None:
    with pytest.raises(KubernetesError, match="not a child run"):
        ChildRequests(AnsweredLease(owner="other"), ENVIRONMENT).create(MANIFEST)  # type: ignore[arg-type]


def test_other_bounds_are_requested() -> None:
    api = AnsweredLease()
    ChildRequests(api, ENVIRONMENT).resize("part", 1, None)  # type: ignore[arg-type]

    assert api.requests["part"].bounds == (1, None)
