"""Every kind of object that the operator creates, in each relevant variant, by the name of its golden file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.backends.ray import RayBackend
from flowcluster_operator.desired.credentials import credentials_secret
from flowcluster_operator.desired.dask_cluster import dask_cluster, scheduler_address
from flowcluster_operator.desired.driver_access import driver_access
from flowcluster_operator.desired.driver_job import driver_job
from flowcluster_operator.desired.network_policy import network_policies
from flowcluster_operator.desired.parameters_config_map import parameters
from flowcluster_operator.desired.ray_cluster import ray_cluster
from flowcluster_operator.desired.root_lease import root_lease
from flowcluster_operator.model.references import Parent
from flowcluster_operator.model.workers import Scale
from flowcluster_operator.resources import Object
from flowcluster_operator.settings import Settings
from tests.support.makers import KEY, KEYS, SETTINGS, of_lease, spec

#: Settings that an administrator changed, as far as they reach objects.
CHANGED = Settings(
    default_image="runtime:2",
    image_pull_policy="Always",
    cluster_domain="cluster.internal",
    driver_grace_seconds=20,
    cluster_grace_seconds=7,
)
#: A template as users write it: fields of the pod, and one of our containers by its name.
TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"team": "data"}, "annotations": {"cost": "42"}},
    "spec": {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "batch", "operator": "Exists"}]},
}
RESOURCES = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "1.5Gi"}}
#: All fields of a spec for a cluster.
FULL_CLUSTER: dict[str, Any] = {
    "image": "cluster:1",
    "workers": {
        "minimum": 1,
        "maximum": 5,
        "threads": 3,
        "taskResources": {"GPU": 1, "desk": 4},
        "resources": RESOURCES,
        "template": TEMPLATE,
    },
    "scheduler": {"resources": RESOURCES, "template": TEMPLATE},
}
FULL_FLOW: dict[str, Any] = {
    "image": "flows:1",
    "entrypoint": "greetings.py:greetings",
    "source": {"configMap": {"name": "greetings-code"}},
    "parameters": {"names": ["arthur", "trillian"], "count": 2, "greeting": "Grüß Gott"},
    "backoffLimit": 3,
    "template": {
        **TEMPLATE,
        "spec": {
            **TEMPLATE["spec"],
            "containers": [
                {"name": "driver", "env": [{"name": "LANG", "value": "C"}], "resources": RESOURCES},
                {"name": "sidecar", "image": "sidecar:1"},
            ],
        },
    },
}
#: A run whose driver keeps a child run.
PARENT = Parent("parent", "parent-1a2b3c-driver", "parent-4d5e6f", is_over=False)
DASK, RAY = {"kind": "Dask"}, {"kind": "Ray"}
DASK_ADDRESS, RAY_ADDRESS = (
    scheduler_address("greetings-9e6e3a1373", "team", SETTINGS),
    "greetings-9e6e3a1373-be437-head-svc.team.svc.cluster.local:6379",
)


def _parsed(flow: Any = True, **body: Any) -> FlowRunSpec:
    """Return a spec with the given flow, the usual one, or no flow, and no cluster unless `body` has one."""
    given = {"flow": flow} if isinstance(flow, dict) else {}
    return FlowRunSpec.model_validate(spec(flow=flow is True, workers=None, **body) | given)


def _dask(parsed: FlowRunSpec, settings: Settings = SETTINGS, replicas: int = 2) -> list[Object]:
    return [dask_cluster(KEY, parsed, settings, replicas, KEYS)]


def _ray(parsed: FlowRunSpec, scale: Scale, settings: Settings = SETTINGS) -> list[Object]:
    return [ray_cluster(KEY, parsed, settings, scale, KEYS)]


def _job(
    parsed: FlowRunSpec, address: str | None, settings: Settings = SETTINGS, adapts: bool | None = None
) -> list[Object]:
    given = KEYS if parsed.flow is not None and parsed.flow.parameters else None
    return [driver_job(KEY, parsed, settings, KEYS, address, adapts, given)]


def _parameters(parsed: FlowRunSpec) -> list[Object]:
    assert parsed.flow is not None
    return [parameters(KEY, parsed.flow)]


def _access(parsed: FlowRunSpec, parent: Parent | None = None) -> list[Object]:
    return [create.body for create in driver_access(KEY, parsed, parent)]


def _policies(**others: Any) -> list[Object]:
    return [create.body for create in network_policies(KEY, **others)]


_OF_LEASE: dict[str, Callable[[], list[Object]]] = {
    "dask-cluster": lambda: _dask(_parsed(cluster=DASK)),
    "dask-cluster-full": lambda: _dask(_parsed(FULL_FLOW, cluster=DASK | FULL_CLUSTER), CHANGED),
    "dask-cluster-driver-elsewhere": lambda: _dask(_parsed(flow=False, cluster=DASK)),
    "ray-cluster-fixed": lambda: _ray(_parsed(cluster=RAY), Scale(2, 2, 2)),
    "ray-cluster-adaptive": lambda: _ray(_parsed(cluster=RAY), Scale(0, 4, 0)),
    "ray-cluster-full": lambda: _ray(
        _parsed(FULL_FLOW, cluster=RAY | FULL_CLUSTER, startDeadlineSeconds=1200), Scale(1, 5, 3), CHANGED
    ),
    "ray-cluster-driver-elsewhere": lambda: _ray(_parsed(flow=False, cluster=RAY), Scale(2, 2, 2)),
    "driver-job": lambda: _job(_parsed(), None),
    "driver-job-dask": lambda: _job(_parsed(cluster=DASK), DASK_ADDRESS, adapts=False),
    "driver-job-dask-adaptive": lambda: _job(_parsed(cluster=DASK), DASK_ADDRESS, adapts=True),
    "driver-job-ray": lambda: _job(_parsed(cluster=RAY), RAY_ADDRESS),
    "driver-job-referenced-ray": lambda: _job(_parsed(cluster=RAY | {"ref": {"name": "shared"}}), "shared:6379"),
    "driver-job-full": lambda: _job(
        _parsed(FULL_FLOW, cluster=RAY | FULL_CLUSTER, startDeadlineSeconds=1200, leaseDurationSeconds=30),
        RAY_ADDRESS,
        CHANGED,
    ),
    "parameters": lambda: _parameters(_parsed(FULL_FLOW)),
    "keys": lambda: [credentials_secret(KEY)],
    "driver-access": lambda: _access(_parsed()),
    "driver-access-own-account": lambda: _access(
        _parsed({"entrypoint": "a.py:b", "template": {"spec": {"serviceAccountName": "reporter"}}})
    ),
    "driver-access-child-run": lambda: _access(_parsed(flow=False, cluster=DASK), PARENT),
    "network-policies": lambda: _policies(),
    "network-policies-child-run": lambda: _policies(parent="uid-parent"),
    "network-policies-referenced": lambda: _policies(host="uid-host"),
    "network-policies-referenced-ray-of-no-run": lambda: _policies(members=RayBackend().members("shared")),
}


def _controlled(build: Callable[[], list[Object]]) -> Callable[[], list[Object]]:
    return lambda: [of_lease(body) for body in build()]


BUILT: dict[str, Callable[[], list[Object]]] = {
    "lease": lambda: [root_lease(KEY)],
    **{name: _controlled(build) for name, build in _OF_LEASE.items()},
}
