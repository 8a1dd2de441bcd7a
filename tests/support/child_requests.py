"""Drivers that request child runs, and the answers that the operator writes."""

from __future__ import annotations

from typing import Any

from flowcluster_api import child_runs
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import PatchObject
from flowcluster_operator.policies.child_runs import requested
from flowcluster_operator.resources import LEASE
from flowcluster_operator.settings import Settings
from tests.support.fake_api.patches import merged, stepped
from tests.support.makers import SETTINGS, deployment, lease, observed, spec
from tests.support.plans import CHILDREN, READY_PODS, started

PART: dict[str, Any] = {
    "cluster": {"kind": "Dask", "workers": {"minimum": 1, "maximum": 1}},
    "leaseDurationSeconds": 60,
}
#: Two workers, as the spec asks for.
SETTLED = {**CHILDREN, "deployments": (deployment(), *(deployment("worker", number=number) for number in (1, 2)))}


def asking(*patches: dict[str, Any], **more: Any) -> Observed:
    """A running run whose driver has patched its Lease."""
    held = lease("driver/1")
    for patch in patches:
        held = merged(held, patch)
    status = started(readyTime="2026-01-01T00:00:00Z")
    return observed(more.pop("body", spec()), status=status, pods=READY_PODS, **{**SETTLED, "lease": held, **more})


def answered(held: dict[str, Any], action: PatchObject) -> dict[str, Any]:
    """The Lease after the operator has answered in it."""
    assert isinstance(action.patch, list)
    return stepped(held, action.patch)


def refusal_in(seen: Observed, settings: Settings = SETTINGS) -> str:
    """Why the request in the Lease is refused."""
    (action,) = requested(seen, settings)
    assert isinstance(action, PatchObject)
    assert action.resource is LEASE
    assert seen.lease is not None
    (request,) = child_runs.read(answered(seen.lease, action)).values()
    assert request.refused is not None
    return request.refused
