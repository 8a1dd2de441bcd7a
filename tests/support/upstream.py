"""The actions of dask-kubernetes, KubeRay, Kubernetes' controllers and kubelets on the fake API server.

Every pod runs and is Ready as soon as it exists. As the real one, dask-kubernetes acts on changes of a number of
workers only, and loses those that come before kopf's mark is on the object. It removes none here: the operator never
requests that.
"""

from __future__ import annotations

from typing import Any

from flowcluster_operator.resources import (
    BY_KIND,
    DASK_CLUSTER,
    DASK_WORKER_GROUP,
    DEPLOYMENT,
    JOB,
    LAST_HANDLED,
    POD,
    RAY_CLUSTER,
    SERVICE,
    Object,
    Resource,
)  # fmt: skip
from flowcluster_operator.timestamps import timestamp
from tests.support.fake_api import Objects

_GROUP = "dask.org/workergroup-name"


class Upstream:
    """All controllers of one Kubernetes."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._made = 0
        #: The number of workers of each DaskCluster and DaskWorkerGroup that was seen last, by UID.
        self._seen: dict[str, int] = {}

    def act(self) -> None:
        """Create what is missing, and collect garbage."""
        for kind, serve in {
            DASK_CLUSTER: self._serve_dask,
            DASK_WORKER_GROUP: self._serve_group,
            RAY_CLUSTER: self._serve_ray,
            DEPLOYMENT: self._serve_pods,
            JOB: self._serve_pods,
        }.items():
            for obj in self._objects.all(kind):
                if "deletionTimestamp" not in obj["metadata"]:
                    serve(obj)
        self._objects.collect_garbage()

    def replace_pod(self, component_pod: Object) -> None:
        """Remove a pod as the loss of its node does. Its Deployment makes another one at the next act."""
        meta = component_pod["metadata"]
        self._objects.delete(POD, meta["namespace"], meta["name"])

    def _serve_dask(self, cluster: Object) -> None:
        meta, spec = cluster["metadata"], cluster["spec"]
        labels = {**meta["labels"], **spec["scheduler"]["metadata"]["labels"]}
        template = {"metadata": {"labels": labels}, "spec": spec["scheduler"]["spec"]}
        self._ensure(DEPLOYMENT, cluster, f"{meta['name']}-scheduler", labels, {"replicas": 1, "template": template})
        self._ensure(SERVICE, cluster, f"{meta['name']}-scheduler", labels, {})
        body = {"cluster": meta["name"], "worker": spec["worker"]}
        group = self._ensure(DASK_WORKER_GROUP, cluster, f"{meta['name']}-default", meta["labels"], body)
        if self._notices(cluster) and group["spec"]["worker"]["replicas"] != spec["worker"]["replicas"]:
            patch = {"spec": {"worker": {"replicas": spec["worker"]["replicas"]}}}
            self._objects.merge(DASK_WORKER_GROUP, meta["namespace"], group["metadata"]["name"], patch)

    def _serve_group(self, group: Object) -> None:
        meta, spec = group["metadata"], group["spec"]
        cluster = self._objects.find(DASK_CLUSTER, meta["namespace"], spec["cluster"])
        if cluster is None:
            return
        adopted = {"metadata": {"ownerReferences": [_reference(cluster)]}}
        group = self._objects.merge(DASK_WORKER_GROUP, meta["namespace"], meta["name"], adopted)
        if not self._notices(group):
            return
        replicas = spec["worker"]["replicas"]
        labels = {**meta["labels"], **spec["worker"]["metadata"]["labels"], _GROUP: meta["name"]}
        there = self._objects.select(DEPLOYMENT, meta["namespace"], f"{_GROUP}={meta['name']}")
        template = {"metadata": {"labels": labels}, "spec": spec["worker"]["spec"]}
        for _ in range(replicas - len(there)):
            self._made += 1
            name = f"{meta['name']}-worker-{self._made}"
            self._ensure(DEPLOYMENT, group, name, labels, {"replicas": 1, "template": template})

    def _notices(self, obj: Object) -> bool:
        """Return whether dask-kubernetes acts on the number of workers: once for a new object, then on changes.

        The second act marks the object as handled. A number that came since the first is lost.
        """
        meta, number = obj["metadata"], obj["spec"]["worker"]["replicas"]
        known = self._seen.get(meta["uid"])
        self._seen[meta["uid"]] = number
        if known is None or LAST_HANDLED in (meta.get("annotations") or {}):
            return bool(known != number)
        mark = {"metadata": {"annotations": {LAST_HANDLED: "{}"}}}
        self._objects.merge(BY_KIND[obj["kind"]], meta["namespace"], meta["name"], mark)
        return False

    def _serve_ray(self, cluster: Object) -> None:
        meta, spec = cluster["metadata"], cluster["spec"]
        self._ensure(SERVICE, cluster, f"{meta['name']}-head-svc", meta["labels"], {})
        self._pod(cluster, f"{meta['name']}-head", spec["headGroupSpec"]["template"])
        for group in spec["workerGroupSpecs"]:
            for number in range(group["replicas"]):
                self._pod(cluster, f"{meta['name']}-{group['groupName']}-{number}", group["template"])

    def _serve_pods(self, owner: Object) -> None:
        meta = owner["metadata"]
        mine = [pod for pod in self._objects.all(POD) if _controller(pod) == meta["uid"]]
        if not mine:
            self._made += 1
            self._pod(owner, f"{meta['name']}-{self._made}", owner["spec"]["template"])

    def _pod(self, owner: Object, name: str, template: Object) -> None:
        first = template["spec"]["containers"][0]["name"]
        now = timestamp(self._objects.clock())
        conditions = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in ("PodScheduled", "Ready")]
        status = {
            "phase": "Running",
            "conditions": conditions,
            "containerStatuses": [{"name": first, "ready": True, "restartCount": 0, "state": {"running": {}}}],
        }
        labels = template["metadata"]["labels"]
        self._ensure(POD, owner, name, labels, template["spec"], status)

    def _ensure(
        self, resource: Resource, owner: Object, name: str, labels: Object, spec: Any, status: Object | None = None
    ) -> Object:
        """Return the object of that name, after creating it where it is missing."""
        namespace = owner["metadata"]["namespace"]
        if (known := self._objects.find(resource, namespace, name)) is not None:
            return known
        meta = {"name": name, "labels": dict(labels), "ownerReferences": [_reference(owner)]}
        return self._objects.create(
            resource, namespace, {"metadata": meta, "spec": spec, **({"status": status} if status else {})}
        )


def _reference(owner: Object) -> Object:
    meta = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def _controller(obj: Object) -> str | None:
    owners = obj["metadata"].get("ownerReferences") or []
    return next((owner["uid"] for owner in owners if owner.get("controller")), None)
