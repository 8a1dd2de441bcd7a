"""Make manifests of FlowRuns that request a cluster from arguments in Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from flowcluster.context import flow_of_task
from flowcluster_api import driver, lease, names
from flowcluster_api.literals import literal

Object = dict[str, Any]
Spec = Mapping[str, Any]


def flow_run(name: str, spec: Object, *, is_exact: bool) -> Object:
    """Return the manifest of a FlowRun. Unless `is_exact`, the API server appends a unique suffix to the name."""
    metadata = {"name": name} if is_exact else {"generateName": f"{slug(name)}-"}
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": spec}


def with_operator_class(spec: Object) -> Object:
    """Return the spec of a FlowRun with the operator class of the environment, unless the spec has one."""
    named = os.environ.get(driver.ENV_OPERATOR_CLASS)
    return {"operatorClass": named} | spec if named else spec


def default_image() -> str | None:
    """Return the image for a run without an image; None for the default image of the operator's administrator."""
    return os.environ.get(driver.ENV_IMAGE) or None


def with_lease_user(user: str | None, body: Object) -> Object:
    """Return the manifest of a FlowRun whose Lease this user renews.

    Args:
        user: name of the user at the API server; None if the API server does not report it. Then the user needs
            permissions for Leases.
        body: the manifest.
    """
    if user is None:
        return body
    annotations = (body["metadata"].get("annotations") or {}) | {lease.ANNOTATION_USER: user}
    return body | {"metadata": body["metadata"] | {"annotations": annotations}}


def cluster_run(
    name: str | None,
    cluster: Object,
    *,
    start_deadline_seconds: int | None,
    active_deadline_seconds: int | None,
    idle_timeout_seconds: int | None = None,
    lease_duration_seconds: int,
    ttl_seconds_after_finished: int | None = None,
) -> Object:
    """Return the manifest of a FlowRun without a flow, whose ``spec.cluster`` is `cluster`.

    Without `name`, the FlowRun gets the name of the flow run, which can be a flow run of Prefect. Without a flow run,
    it gets the cluster's kind or the name of the SharedCluster as its name.
    """
    spec = {
        "cluster": cluster,
        "leaseDurationSeconds": lease_duration_seconds,
        **({"startDeadlineSeconds": start_deadline_seconds} if start_deadline_seconds else {}),
        **({"activeDeadlineSeconds": active_deadline_seconds} if active_deadline_seconds else {}),
        **({"idleTimeoutSeconds": idle_timeout_seconds} if idle_timeout_seconds else {}),
        **({"ttlSecondsAfterFinished": ttl_seconds_after_finished} if ttl_seconds_after_finished is not None else {}),
    }
    otherwise = cluster["kind"].lower() if "kind" in cluster else cluster["ref"]["name"]
    return flow_run(name or _run_name(otherwise), with_operator_class(spec), is_exact=name is not None)


def _run_name(otherwise: str) -> str:
    if run := flow_of_task():
        return run.name
    if runtime := sys.modules.get("prefect.runtime"):
        return str(runtime.flow_run.name or "flow-run")
    return otherwise


def cluster_spec(
    kind: str,
    image: str | None,
    n_workers: int | None,
    resources: Spec | None,
    env: Mapping[str, str] | None,
    workers: Spec | None,
    scheduler: Spec | None,
) -> Object:
    """Return ``spec.cluster`` of a cluster that starts with `n_workers` workers, or with 0 if that is None.

    Raises:
        ValueError: an argument is invalid; the message names it.
    """
    number = 0 if n_workers is None else n_workers
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError(f"n_workers must be a whole number, 0 or more, not {n_workers!r}.")
    for field in ("minimum", "maximum"):
        if field in (workers or {}):
            raise ValueError(f"workers[{field!r}]: use n_workers, scale or adapt instead.")
    if resources is not None and "resources" in (workers or {}):
        raise ValueError("Give either resources or workers['resources'], not both.")
    worker = with_env(workers, names.COMPONENT_WORKER, env) | {"minimum": number, "maximum": number}
    if resources is not None:
        worker["resources"] = dict(resources)
    spec: Object = {"kind": kind, "workers": worker}
    if image is not None:
        spec["image"] = image
    if head := with_env(scheduler, names.HEAD_COMPONENTS[kind], env):
        spec["scheduler"] = head
    return spec


def with_env(part: Spec | None, component: str, env: Mapping[str, str] | None) -> Object:
    """Return workers, scheduler or flow with environment variables in the container with this name."""
    body = dict(part or {})
    if not env:
        return body
    template = dict(body.get("template") or {})
    pod = dict(template.get("spec") or {})
    containers = [dict(item) for item in pod.get("containers") or []]
    found = next((item for item in containers if item.get("name") == component), None)
    if found is None:
        found = {"name": component}
        containers.append(found)
    found["env"] = [*(found.get("env") or []), *_variables(env)]
    return body | {"template": template | {"spec": pod | {"containers": containers}}}


def _variables(env: Mapping[str, str]) -> list[Object]:
    return [{"name": name, "value": literal(str(value))} for name, value in env.items()]


def slug(name: str) -> str:
    """Return a valid name of a FlowRun that resembles `name`: at most 50 characters."""
    text = "".join(character if character.isalnum() and character.isascii() else "-" for character in name.lower())
    return text.strip("-")[:50].strip("-") or "flow-run"
