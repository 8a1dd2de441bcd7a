"""Whether a child run stays within the bounds of its parent: flow code must not get more rights than its own pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcluster_api import quantities
from flowcluster_api.v1alpha1 import FlowRunSpec, Workers
from flowcluster_api.v1alpha1.spec import ClusterRef, Resources
from flowcluster_operator.desired.pods import cluster_image, flow_image
from flowcluster_operator.policies.scale_target import upper_bound
from flowcluster_operator.settings import Settings

Template = dict[str, Any]


def beyond(child: FlowRunSpec, parent: FlowRunSpec, settings: Settings) -> str | None:
    """Return how `child` exceeds `parent`, with the first such field; None if it stays within the bounds."""
    if child.operator_class != parent.operator_class:
        return "spec.operatorClass is not that of the parent"
    return (
        _flow_beyond(child, parent, settings)
        or _image_beyond(child, parent, settings)
        or _templates_beyond(child, parent)
        or _workers_beyond(child, parent, settings)
        or _resources_beyond(child, parent)
    )


def most_workers(parent: FlowRunSpec, settings: Settings) -> int:
    """Return how many workers a child run can have at most."""
    cluster = parent.cluster
    if cluster is None or cluster.ref is not None:
        return min(settings.child_max_workers, settings.max_workers)
    return min(upper_bound(cluster.workers or Workers()), settings.max_workers)


def _flow_beyond(child: FlowRunSpec, parent: FlowRunSpec, settings: Settings) -> str | None:
    if child.flow is None:
        return None
    if parent.flow is None or flow_image(child, settings) != flow_image(parent, settings):
        return "spec.flow.image is not that of the parent's flow"
    return None


def _image_beyond(child: FlowRunSpec, parent: FlowRunSpec, settings: Settings) -> str | None:
    if child.cluster is None:
        return None
    if child.cluster.ref is not None and (beyond_ref := _ref_beyond(child.cluster.ref, parent)) is not None:
        return beyond_ref
    known = {settings.default_image, flow_image(parent, settings), cluster_image(parent, settings)}
    if cluster_image(child, settings) not in known:
        return f"spec.cluster.image {cluster_image(child, settings)} is not an image of the parent"
    return None


def _ref_beyond(ref: ClusterRef, parent: FlowRunSpec) -> str | None:
    """Return how a reference exceeds the parent's: the driver has credentials of no other shared cluster."""
    theirs = parent.cluster.ref if parent.cluster is not None else None
    if theirs is None or (ref.kind, ref.name, ref.namespace) != (theirs.kind, theirs.name, theirs.namespace):
        return "spec.cluster.ref names a cluster that the parent does not use"
    if (ref.priority or 0) > (theirs.priority or 0):
        return "spec.cluster.ref.priority is larger than that of the parent"
    if theirs.share is not None and (ref.share is None or ref.share.threads > theirs.share.threads):
        return "spec.cluster.ref.share is larger than that of the parent"
    return None


def _templates_beyond(child: FlowRunSpec, parent: FlowRunSpec) -> str | None:
    known = [_without_env(template) for template in _templates(parent).values()]
    for field, template in _templates(child).items():
        rest = _without_env(template)
        if rest and rest not in known:
            return f"{field} has more than plain environment variables, and is not a template of the parent"
    return None


def _templates(spec: FlowRunSpec) -> dict[str, Template]:
    cluster = spec.cluster
    parts = {
        "spec.flow.template": spec.flow.template if spec.flow else {},
        "spec.cluster.workers.template": cluster.workers.template if cluster and cluster.workers else {},
        "spec.cluster.scheduler.template": cluster.scheduler.template if cluster and cluster.scheduler else {},
    }
    return {field: template for field, template in parts.items() if template}


def _without_env(template: Template) -> Template:
    """Return a template without environment variables that have a plain value, and without what is empty then.

    A variable that refers to a Secret, or to a field of the pod, stays.
    """
    pod = template.get("spec")
    containers = pod.get("containers") if isinstance(pod, dict) else None
    if not isinstance(pod, dict) or not isinstance(containers, list):
        return template
    stripped = [_container_without_env(item) for item in containers]
    left = [item for item in stripped if not isinstance(item, dict) or set(item) - {"name"}]
    rest = {name: value for name, value in pod.items() if name != "containers"} | ({"containers": left} if left else {})
    return {name: value for name, value in template.items() if name != "spec"} | ({"spec": rest} if rest else {})


def _container_without_env(container: Any) -> Any:
    env = container.get("env") if isinstance(container, dict) else None
    if not isinstance(env, list):
        return container
    left = [item for item in env if not isinstance(item, dict) or set(item) - {"name", "value"}]
    rest = {name: value for name, value in container.items() if name != "env"}
    return rest | ({"env": left} if left else {})


def _workers_beyond(child: FlowRunSpec, parent: FlowRunSpec, settings: Settings) -> str | None:
    if child.cluster is None or child.cluster.ref is not None:
        return None
    workers, limit = child.cluster.workers or Workers(), most_workers(parent, settings)
    # The operator lowers a maximum above the administrator's limit for every run, so that does not exceed the parent.
    if min(max(upper_bound(workers), workers.minimum), settings.max_workers) > limit:
        return f"spec.cluster.workers: more than {limit}, the most that its parent allows"
    return None


def _resources_beyond(child: FlowRunSpec, parent: FlowRunSpec) -> str | None:
    if child.cluster is None or parent.cluster is None:
        return None
    for part in ("workers", "scheduler"):
        own, theirs = getattr(child.cluster, part), getattr(parent.cluster, part)
        if theirs is not None and theirs.resources is not None:
            field = f"spec.cluster.{part}.resources"
            if problem := _exceeds(own.resources if own else None, theirs.resources):
                return f"{field}: {problem}"
    return None


def _exceeds(own: Resources | None, theirs: Resources) -> str | None:
    limits, requests = _amounts(own.limits if own else None), _amounts(own.requests if own else None)
    most = _amounts(theirs.requests) | _amounts(theirs.limits)
    for name, limit in _amounts(theirs.limits).items():
        if name not in limits:
            return f"no limit of {name}, and the parent has one of {limit}"
    for name, amount in [*limits.items(), *requests.items()]:
        if name in most and quantities.exact(amount) > quantities.exact(most[name]):
            return f"{amount} of {name} is more than the parent's {most[name]}"
    return None


def _amounts(given: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(given or {})
