"""Whether a run can have what its spec requests. The operator decides that before it creates the run's children."""

from __future__ import annotations

from typing import Any, NamedTuple

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.policies.parent_bounds import beyond
from flowcluster_operator.policies.templates import broken_rule
from flowcluster_operator.settings import Settings


class Refusal(NamedTuple):
    """Why a run is refused."""

    reason: str
    message: str


def not_allowed(observed: Observed, settings: Settings) -> Refusal | None:
    """Return why the operator must not create the children that the run still lacks; None if it can.

    Children that exist are not checked again: a stricter policy applies only to runs that start later.
    """
    if observed.cluster is None and observed.job is None and (problem := _no_child_run(observed, settings)):
        return Refusal(c.CHILD_RUN_NOT_ALLOWED, problem)
    for part, template in _templates(observed.spec).items():
        built = observed.job if part == "flow" else observed.cluster
        if built is None and (broken := broken_rule(part, template, settings.template_policy)):
            return Refusal(c.TEMPLATE_NOT_ALLOWED, broken)
    return None


def _no_child_run(observed: Observed, settings: Settings) -> str | None:
    """Return why a run that names a FlowRun as its owner cannot be its child run; None if it can, or names none."""
    owners = observed.run["metadata"].get("ownerReferences") or []
    parents = [owner for owner in owners if owner.get("kind") == names.KIND]
    if not parents:
        return None
    if not all(owner.get("controller") is True for owner in parents):
        return f"FlowRun {parents[0].get('name')} owns it and is not its controller"
    if observed.parent is None:
        return f"FlowRun {parents[0].get('name')}, its owner, does not exist in this namespace with that UID"
    if observed.parent.spec is None:
        return f"the spec of FlowRun {observed.parent.name}, its owner, cannot be used"
    if exceeds := beyond(observed.spec, observed.parent.spec, settings):
        return f"{exceeds}; its parent is FlowRun {observed.parent.name}"
    return None


def _templates(spec: FlowRunSpec) -> dict[str, dict[str, Any]]:
    templates = {}
    if spec.flow is not None:
        templates["flow"] = spec.flow.template
    if spec.cluster is not None and spec.cluster.workers is not None:
        templates["workers"] = spec.cluster.workers.template
    if spec.cluster is not None and spec.cluster.scheduler is not None:
        templates["scheduler"] = spec.cluster.scheduler.template
    return templates
