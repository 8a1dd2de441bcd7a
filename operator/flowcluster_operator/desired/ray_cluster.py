"""The RayCluster of a run, for the stock KubeRay operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowcluster_api import names, offers, ports
from flowcluster_api.driver import TOKEN_FILE, TOKEN_PORT
from flowcluster_api.literals import literal
from flowcluster_api.v1alpha1 import FlowRunSpec, Scheduler, Workers
from flowcluster_operator.desired.autoscaler_token import TOKEN_MOUNT, with_autoscaler_token
from flowcluster_operator.desired.cluster_pods import cluster_template
from flowcluster_operator.desired.credentials import FOLDER
from flowcluster_operator.desired.metadata import child_metadata
from flowcluster_operator.desired.pods import CONTAINER_SECURITY, cluster_image, container
from flowcluster_operator.desired.relay_container import FILE_MARK, relay
from flowcluster_operator.desired.worker_resources import start_options
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.workers import Group, Scale
from flowcluster_operator.resources import RAY_CLUSTER, Object
from flowcluster_operator.settings import Settings

#: Name of the worker group of `spec.cluster.workers`.
GROUP = "workers"
#: The oldest Ray version that images can have. The image's own version is not known before it runs.
OLDEST = "2.54.0"
#: Seconds after which the autoscaler removes an idle worker.
IDLE_SECONDS = 10

#: With this annotation, KubeRay does not replace a lost head: another head would have no state of the run.
_ONE_HEAD = {"ray.io/disable-provisioned-head-restart": "true"}
_AUTOSCALER = {
    "version": "v2",
    "upscalingMode": "Default",
    "idleTimeoutSeconds": IDLE_SECONDS,
    # Its default is five seconds.
    "env": [{"name": "AUTOSCALER_UPDATE_INTERVAL_S", "value": "1"}],
    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
    "securityContext": CONTAINER_SECURITY,
    "volumeMounts": [TOKEN_MOUNT],
}


def head_service(name: str) -> str:
    """Return the name of the Service that KubeRay creates for a RayCluster's head."""
    return f"{name}-head-svc"


def head_host(name: str, namespace: str, settings: Settings) -> str:
    """Return the DNS name of that Service."""
    return f"{head_service(name)}.{namespace}.svc.{settings.cluster_domain}"


def ray_cluster(
    key: RunId, spec: FlowRunSpec, settings: Settings, scale: Scale, credentials: str, groups: Sequence[Group] = ()
) -> Object:
    """Return the RayCluster.

    Ray's own autoscaler sets the number of workers within the bounds. It is a container of the head's pod, and cannot
    be added later. A user can edit the bounds, so the autoscaler exists even where they are equal. Tasks run on workers
    only.

    Args:
        key: the owner.
        spec: of the run.
        settings: of the operator.
        scale: bounds and target of the workers of `spec.cluster.workers`.
        credentials: name of the Secret with the token that clients need.
        groups: further worker groups.
    """
    assert spec.cluster is not None
    metadata = child_metadata(key, names.COMPONENT_CLUSTER)
    image = cluster_image(spec, settings)
    scheduler, workers = spec.cluster.scheduler, spec.cluster.workers or Workers()
    targets = [str(ports.RAY_CLIENT), str(ports.RAY_DASHBOARD), f"{FILE_MARK}{TOKEN_PORT}:{FOLDER}/{TOKEN_FILE}"]
    leading = [_head(scheduler, image, settings), *([relay(image, targets, settings)] if spec.flow is None else [])]
    head = cluster_template(key, scheduler, "scheduler", leading, settings, credentials, {})
    return {
        "apiVersion": RAY_CLUSTER.api_version,
        "kind": RAY_CLUSTER.kind,
        "metadata": {**metadata, "annotations": _ONE_HEAD},
        "spec": {
            "rayVersion": OLDEST,
            "authOptions": {"mode": "token", "secretName": credentials},
            "enableInTreeAutoscaling": True,
            "autoscalerOptions": _autoscaler(settings),
            "headGroupSpec": {
                "rayStartParams": {"num-cpus": "0"},
                "template": _once(with_autoscaler_token(head)),
            },
            "workerGroupSpecs": [
                _group(key, spec, workers, scale, settings, credentials),
                *(_group(key, spec, group.workers, group.scale, settings, credentials, group.name) for group in groups),
            ],
        },
    }


def _group(
    key: RunId, spec: FlowRunSpec, workers: Workers, scale: Scale, settings: Settings, credentials: str, name: str = ""
) -> Object:
    """Return a group of workers; without a name, that of `spec.cluster.workers`."""
    containers = [_worker(spec, workers, cluster_image(spec, settings), settings)]
    field = f"workerGroups[{name}]" if name else "workers"
    return {
        "groupName": name or GROUP,
        "replicas": scale.target,
        "minReplicas": scale.minimum,
        "maxReplicas": scale.maximum,
        "rayStartParams": start_options(workers),
        "template": _once(cluster_template(key, workers, field, containers, settings, credentials, {}, name)),
    }


def _autoscaler(settings: Settings) -> Object:
    policy = {"imagePullPolicy": settings.image_pull_policy} if settings.image_pull_policy else {}
    return {**_AUTOSCALER, **policy}


def _once(template: dict[str, Any]) -> dict[str, Any]:
    """Return a template whose containers the kubelet does not restart: KubeRay replaces their pods."""
    return {**template, "spec": {**template["spec"], "restartPolicy": "Never"}}


def _head(part: Scheduler | None, image: str, settings: Settings) -> dict[str, Any]:
    body = container(names.COMPONENT_HEAD, image, None, settings, part.resources if part else None)
    return {**body, "env": [*_ENVIRONMENT, _NO_FORK_HANDLERS], **_PROBES}


def _worker(spec: FlowRunSpec, workers: Workers, image: str, settings: Settings) -> dict[str, Any]:
    body = container(names.COMPONENT_WORKER, image, None, settings, workers.resources)
    environment = {
        offers.ENV: literal(offers.to_env(workers.model_dump(by_alias=True))),
        # A worker queries its head every second or two. By default, `ray start` gives up after twenty attempts: the
        # worker would fail while the image of the head is still being pulled. KubeRay's init container never gives up.
        "RAY_NUM_REDIS_GET_RETRIES": str(spec.start_deadline_seconds),
    }
    more = [{"name": name, "value": value} for name, value in environment.items()]
    return {**body, "env": [*_ENVIRONMENT, *more], **_PROBES}


_HEALTH = {"httpGet": {"path": "/api/healthz", "port": ports.RAY_AGENT}}
#: KubeRay's own probes begin after ten seconds, with a period of five.
_PROBES = {
    "readinessProbe": {**_HEALTH, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 10},
    "livenessProbe": {
        **_HEALTH, "initialDelaySeconds": 30, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 24
    },
}  # fmt: skip
_ENVIRONMENT = [{"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}, {"name": "PYTHONUNBUFFERED", "value": "1"}]
#: The Ray Client proxy in the head forks a server for each client. gRPC's fork handlers crash about one child process
#: in eight before it becomes that server. Its client is refused ("Starting Ray client server failed"), or fails after
#: half a minute. Measured with Ray 2.60 and four concurrent clients: 3 of 24 with the handlers, 0 of 90 without them.
_NO_FORK_HANDLERS = {"name": "GRPC_ENABLE_FORK_SUPPORT", "value": "0"}
