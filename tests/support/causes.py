"""Runs that start, with pods in a given state, for tests of the causes in their status."""

from __future__ import annotations

from typing import Any

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.ray_cluster import ray_cluster
from flowcluster_operator.model.workers import Scale
from tests.support.makers import (
    KEY,
    KEYS,
    SETTINGS,
    ended,
    observed,
    pod,
    spec,
    stored,
)  # fmt: skip
from tests.support.plans import CHILDREN, started

RAY: dict[str, Any] = {"cluster": {"kind": "Ray", "workers": {"minimum": 1, "maximum": 1}}}
RAY_CLUSTER = stored(
    ray_cluster(KEY, FlowRunSpec.model_validate(spec(**RAY)), SETTINGS, Scale(minimum=1, maximum=1, target=1), KEYS)
)
#: The kind of the cluster, and the pods of other parts, by part of the run.
PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "driver": ("Dask", ("scheduler", "worker")),
    "scheduler": ("Dask", ("driver",)),
    "head": ("Ray", ("driver",)),
    "worker": ("Dask", ("driver", "scheduler")),
}


def seen(component: str, *pods: dict[str, Any], **status: Any) -> Any:
    """Return a run that starts, with these pods of one part and running pods of the others."""
    kind, others = PARTS[component]
    body = spec(workers=1) if kind == "Dask" else spec(**RAY)
    children = CHILDREN if kind == "Dask" else CHILDREN | {"cluster": RAY_CLUSTER, "deployments": ()}
    return observed(body, status=started(**status), pods=[*pods, *map(pod, others)], **children)


def killed(component: str, **more: Any) -> dict[str, Any]:
    """Return a pod that is Ready again after its container was killed at its memory limit."""
    made = pod(component, restarts=1, **more)
    made["spec"] = {"containers": [{"name": component, "resources": {"limits": {"memory": "400Mi"}}}]}
    made["status"]["containerStatuses"][0]["lastState"] = ended(137, "", "OOMKilled")
    return made
