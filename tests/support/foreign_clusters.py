"""Manifests of clusters that users make without flowcluster, for `cluster.ref`."""

from __future__ import annotations

from typing import Any

from flowcluster_operator.desired.pods import CONTAINER_SECURITY

Object = dict[str, Any]
_HEALTH = {"httpGet": {"path": "/api/healthz", "port": 52365}, "timeoutSeconds": 5, "failureThreshold": 24}


def foreign_cluster(kind: str, image: str) -> Object:
    """Return a DaskCluster or RayCluster named `foreign` with one worker."""
    return _dask_cluster(image) if kind == "Dask" else _ray_cluster(image)


def _dask_cluster(image: str) -> Object:
    ports = {"tcp-comm": 8786, "http-dashboard": 8787}
    scheduler = _container("scheduler", image, args=["dask", "scheduler", "--host", "0.0.0.0"])
    scheduler["ports"] = [{"name": name, "containerPort": port} for name, port in ports.items()]
    scheduler["readinessProbe"] = {"httpGet": {"path": "/health", "port": "http-dashboard"}, "periodSeconds": 1}
    worker = _container("worker", image, args=["dask", "worker", "--name", "$(DASK_WORKER_NAME)"])
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": "foreign"},
        "spec": {
            "idleTimeout": 0,
            "worker": {"replicas": 1, "spec": _pod(worker)},
            "scheduler": {
                "spec": _pod(scheduler),
                "service": {
                    "type": "ClusterIP",
                    "selector": {"dask.org/cluster-name": "foreign", "dask.org/component": "scheduler"},
                    "ports": [{"name": name, "port": port, "targetPort": name} for name, port in ports.items()],
                },
            },
        },
    }


def _ray_cluster(image: str) -> Object:
    def template(name: str) -> Object:
        # KubeRay's own probes need programs that the image does not have.
        probes = {"readinessProbe": {**_HEALTH, "periodSeconds": 1}, "livenessProbe": _HEALTH}
        return {"spec": _pod(_container(name, image, **probes))}

    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "foreign"},
        "spec": {
            "rayVersion": "2.54.0",
            "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": template("head")},
            "workerGroupSpecs": [
                {
                    "groupName": "workers",
                    "replicas": 1,
                    "minReplicas": 1,
                    "maxReplicas": 1,
                    "rayStartParams": {"num-cpus": "1"},
                    "template": template("worker"),
                }
            ],
        },
    }


def _container(name: str, image: str, **fields: Any) -> Object:
    return {"name": name, "image": image, "securityContext": CONTAINER_SECURITY, **fields}


def _pod(container: Object) -> Object:
    return {"terminationGracePeriodSeconds": 1, "containers": [container]}
