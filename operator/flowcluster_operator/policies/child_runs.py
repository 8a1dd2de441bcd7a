"""Child runs that a run's driver requests: created, changed and ended within the bounds of the run."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from flowcluster_api import child_runs, names
from flowcluster_api import conditions as c
from flowcluster_api.child_runs import Request
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.metadata import owner_reference
from flowcluster_operator.model import Action, Amend, Create, Observed
from flowcluster_operator.policies.parent_bounds import beyond, most_workers
from flowcluster_operator.resources import FLOW_RUN, LEASE, Object
from flowcluster_operator.settings import Settings

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def requested(observed: Observed, settings: Settings) -> tuple[Action, ...]:
    """Return what to do next about the requests of the run's driver: one step for each of them.

    A request that is fulfilled is removed in the pass after its step, so a pass that was interrupted is repeated.
    """
    assert observed.spec is not None
    if observed.lease is None or observed.spec.flow is None:
        return ()
    children = {obj["metadata"]["name"]: obj for obj in observed.child_runs}
    # Created in the same pass: they count together.
    live = sum(not is_finished(obj) for obj in children.values())
    actions: list[Action] = []
    for name, request in child_runs.read(observed.lease).items():
        action = _step(name, request, children.get(name), observed, settings, live)
        live += isinstance(action, Create)
        if action is not None:
            actions.append(action)
    return tuple(actions)


def is_finished(flow_run: Object) -> bool:
    """Return whether a FlowRun is over."""
    conditions = (flow_run.get("status") or {}).get("conditions") or []
    return any(item["type"] == c.FINISHED and item["status"] == "True" for item in conditions)


def _step(
    name: str, request: Request, child: Object | None, observed: Observed, settings: Settings, live: int
) -> Action | None:
    if request.refused is not None:
        return None  # the driver reads and removes it
    if request.cancel:
        done = child is None or child["spec"].get("cancel") is True
        return _answer(name, request, observed) if done else _patch(child, {"cancel": True})
    if request.bounds is not None:
        return _resize(name, request, child, observed, settings)
    if request.spec is None:
        return _answer(name, request, observed, "the request cannot be read")
    if child is not None:
        return _answer(name, request, observed)
    return _create(name, request, request.spec, observed, settings, live)


def _create(
    name: str, request: Request, request_spec: Object, observed: Observed, settings: Settings, live: int
) -> Action | None:
    assert observed.spec is not None
    refusals = [item.message for item in observed.rejections if (item.kind, item.name) == (FLOW_RUN.kind, name)]
    if refusals:
        return _answer(name, request, observed, refusals[0])
    if not _NAME.fullmatch(name):
        return _answer(name, request, observed, "a FlowRun cannot have that name")
    if live >= settings.child_runs:
        message = f"the run has {live} child runs already, the most that the administrator allows (childRuns.maximum)"
        return _answer(name, request, observed, message)
    spec = _of_class(_bounded(request_spec, observed.spec, settings), observed.spec.operator_class)
    try:
        parsed = FlowRunSpec.model_validate(spec)
        exceeds = (
            "spec.flow: a child run has none" if parsed.flow is not None else beyond(parsed, observed.spec, settings)
        )
    except (ValidationError, ValueError) as error:
        return _answer(name, request, observed, f"invalid spec: {error}")
    if exceeds is not None:
        return _answer(name, request, observed, exceeds)
    metadata = {
        "name": name,
        "namespace": observed.key.namespace,
        "ownerReferences": [owner_reference(observed.key)],
    }
    body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": spec}
    return Create(FLOW_RUN, body)


def _bounded(request_spec: Object, parent: FlowRunSpec, settings: Settings) -> Object:
    """Lower an upper bound to the parent's, and take the parent's resources, priority and share where it names none."""
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
    """A child run is handled by the operator that handles its parent."""
    rest = {field: value for field, value in spec.items() if field != "operatorClass"}
    return rest if operator_class is None else rest | {"operatorClass": operator_class}


def _resize(name: str, request: Request, child: Object | None, observed: Observed, settings: Settings) -> Action | None:
    assert observed.spec is not None
    assert request.bounds is not None
    if child is None:
        return _answer(name, request, observed, "the run has no such child run")
    minimum, maximum = request.bounds
    limit = most_workers(observed.spec, settings)
    if minimum > limit:
        return _answer(name, request, observed, f"more than {limit} workers, the most that its parent allows")
    wanted = {"minimum": minimum, "maximum": limit if maximum is None else min(maximum, limit)}
    workers = (child["spec"].get("cluster") or {}).get("workers") or {}
    if all(workers.get(field) == value for field, value in wanted.items()):
        return _answer(name, request, observed)
    refusals = [item for item in observed.rejections if (item.kind, item.name) == (FLOW_RUN.kind, name)]
    if refusals or wanted["minimum"] > wanted["maximum"]:
        return _answer(name, request, observed, "the least number of workers is greater than the most")
    return _patch(child, {"cluster": {"workers": wanted}})


def _patch(child: Object | None, spec: dict[str, Any]) -> Action:
    assert child is not None
    meta = child["metadata"]
    return Amend(FLOW_RUN, meta["name"], meta["uid"], {"spec": spec})


def _answer(name: str, request: Request, observed: Observed, refused: str | None = None) -> Action:
    assert observed.lease is not None
    meta = observed.lease["metadata"]
    message = refused if refused is None else refused[:_MESSAGE_LIMIT]
    return Amend(LEASE, meta["name"], meta["uid"], child_runs.answer(name, request, message))


#: Characters of a refusal.
_MESSAGE_LIMIT = 1024
