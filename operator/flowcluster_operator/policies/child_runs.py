"""Child runs that a run's driver requests: the operator creates, changes and cancels them within the run's bounds."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from pydantic import ValidationError

from flowcluster_api import child_runs, names
from flowcluster_api import conditions as c
from flowcluster_api.child_runs import Request
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.metadata import owner_reference
from flowcluster_operator.model.conditions import true_condition
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Action, Create, PatchObject
from flowcluster_operator.policies.parent_bounds import beyond, most_workers
from flowcluster_operator.resources import FLOW_RUN, LEASE, Object
from flowcluster_operator.settings import Settings

#: Maximum characters of a refusal.
_MESSAGE_LIMIT = 1024
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class _Pending(NamedTuple):
    """A request for a child run.

    Attributes:
        name: of the child run.
        request: as the driver wrote it.
        lease: of the run, which has the request.
    """

    name: str
    request: Request
    lease: Object

    def answer(self, refused: str | None = None) -> Action:
        """Return the patch that removes the request, or refuses it with this message."""
        meta = self.lease["metadata"]
        message = refused if refused is None else refused[:_MESSAGE_LIMIT]
        return PatchObject(LEASE, meta["name"], meta["uid"], child_runs.answer(self.name, self.request, message))


def requested(observed: Observed, settings: Settings) -> tuple[Action, ...]:
    """Return the next step for each request of the run's driver.

    The operator removes a request only in the pass after it has fulfilled it: after an interrupted pass, the next one
    repeats the step.
    """
    if observed.lease is None or observed.spec.flow is None:
        return ()
    children = {obj["metadata"]["name"]: obj for obj in observed.child_runs}
    # Child runs that are created in the same pass count together.
    live = sum(not is_finished(obj) for obj in children.values())
    actions: list[Action] = []
    for name, request in child_runs.read(observed.lease).items():
        action = _step(_Pending(name, request, observed.lease), children.get(name), observed, settings, live)
        live += isinstance(action, Create)
        if action is not None:
            actions.append(action)
    return tuple(actions)


def is_finished(flow_run: Object) -> bool:
    """Return whether a FlowRun is over."""
    return true_condition(flow_run, c.FINISHED) is not None


def _step(pending: _Pending, child: Object | None, observed: Observed, settings: Settings, live: int) -> Action | None:
    request = pending.request
    if request.refused is not None:
        return None  # the driver reads and removes it
    if request.cancel:
        if child is None or child["spec"].get("cancel") is True:
            return pending.answer()
        return _patch(child, {"cancel": True})
    if request.bounds is not None:
        return _resize(pending, request.bounds, child, observed, settings)
    if request.spec is None:
        return pending.answer("the request cannot be read")
    if child is not None:
        return pending.answer()
    return _create(pending, request.spec, observed, settings, live)


def _create(
    pending: _Pending, request_spec: Object, observed: Observed, settings: Settings, live: int
) -> Action | None:
    name = pending.name
    refusals = [item.message for item in observed.rejections if (item.kind, item.name) == (FLOW_RUN.kind, name)]
    if refusals:
        return pending.answer(refusals[0])
    if not _NAME.fullmatch(name):
        return pending.answer("a FlowRun cannot have that name")
    if live >= settings.child_runs:
        message = f"the run has {live} child runs already, the most that the administrator allows (childRuns.maximum)"
        return pending.answer(message)
    spec = _of_class(_bounded(request_spec, observed.spec, settings), observed.spec.operator_class)
    try:
        parsed = FlowRunSpec.model_validate(spec)
        exceeds = (
            "spec.flow: a child run has none" if parsed.flow is not None else beyond(parsed, observed.spec, settings)
        )
    except (ValidationError, ValueError) as error:
        return pending.answer(f"invalid spec: {error}")
    if exceeds is not None:
        return pending.answer(exceeds)
    metadata = {
        "name": name,
        "namespace": observed.key.namespace,
        "ownerReferences": [owner_reference(observed.key)],
    }
    body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": spec}
    return Create(FLOW_RUN, body)


def _bounded(request_spec: Object, parent: FlowRunSpec, settings: Settings) -> Object:
    """Return a requested spec with the parent's maximum if its own is greater, and with the parent's defaults.

    The request gets the parent's resources, priority and share where it has none of its own.
    """
    cluster = request_spec.get("cluster")
    if not isinstance(cluster, dict):
        return request_spec
    if "ref" in cluster:
        return request_spec | {"cluster": cluster | {"ref": _like_parent(cluster["ref"], parent)}}
    parts: Object = {}
    for part in ("workers", "scheduler"):
        own = cluster.get(part, {})
        theirs = getattr(parent.cluster, part) if parent.cluster is not None else None
        if not isinstance(own, dict):
            return request_spec
        if theirs is not None and theirs.resources is not None and own.get("resources") is None:
            own = own | {"resources": theirs.resources.model_dump(by_alias=True, exclude_none=True)}
        if own:
            parts[part] = own
    workers = parts.get("workers", {})
    maximum, limit = workers.get("maximum"), most_workers(parent, settings)
    if isinstance(maximum, int) and maximum > limit:
        parts["workers"] = workers | {"maximum": limit}
    return request_spec | {"cluster": cluster | parts}


def _like_parent(ref: Any, parent: FlowRunSpec) -> Any:
    """Return a reference with the parent's priority and share where it has none."""
    theirs = parent.cluster.ref if parent.cluster is not None else None
    if theirs is None or not isinstance(ref, dict):
        return ref
    return theirs.model_dump(by_alias=True, exclude_none=True, include={"priority", "share"}) | ref


def _of_class(spec: Object, operator_class: str | None) -> Object:
    """Return the spec with the operator class of the parent, so that one operator handles both."""
    rest = {field: value for field, value in spec.items() if field != "operatorClass"}
    return rest if operator_class is None else rest | {"operatorClass": operator_class}


def _resize(
    pending: _Pending, bounds: tuple[int, int | None], child: Object | None, observed: Observed, settings: Settings
) -> Action | None:
    if child is None:
        return pending.answer("the run has no such child run")
    minimum, maximum = bounds
    limit = most_workers(observed.spec, settings)
    if minimum > limit:
        return pending.answer(f"more than {limit} workers, the most that its parent allows")
    new = {"minimum": minimum, "maximum": limit if maximum is None else min(maximum, limit)}
    workers = (child["spec"].get("cluster") or {}).get("workers") or {}
    if all(workers.get(field) == value for field, value in new.items()):
        return pending.answer()
    refusals = [item for item in observed.rejections if (item.kind, item.name) == (FLOW_RUN.kind, pending.name)]
    if refusals or new["minimum"] > new["maximum"]:
        return pending.answer("the least number of workers is greater than the most")
    return _patch(child, {"cluster": {"workers": new}})


def _patch(child: Object, spec: dict[str, Any]) -> Action:
    meta = child["metadata"]
    return PatchObject(FLOW_RUN, meta["name"], meta["uid"], {"spec": spec})
