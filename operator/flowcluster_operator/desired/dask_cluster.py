"""The DaskCluster of a run, for the stock dask-kubernetes operator."""

from __future__ import annotations

from typing import Any

from flowcluster_api import names, ports, quantities
from flowcluster_api.literals import literal
from flowcluster_api.v1alpha1 import FlowRunSpec, Scheduler, WorkerGroup, Workers
from flowcluster_operator.desired.cluster_pods import cluster_template
from flowcluster_operator.desired.credentials import DASK_TLS_ONLY
from flowcluster_operator.desired.dask_command_lines import Option, Program, completed
from flowcluster_operator.desired.metadata import child_metadata
from flowcluster_operator.desired.pods import cluster_image, container
from flowcluster_operator.desired.relay_container import TLS_MARK, relay
from flowcluster_operator.desired.sidecars import with_plain_sidecars
from flowcluster_operator.desired.worker_resources import check_names
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import DASK_CLUSTER, DASK_WORKER_GROUP, Object
from flowcluster_operator.settings import Settings

#: dask-kubernetes' own labels, by which its Service selects.
LABEL_CLUSTER_NAME, LABEL_DASK_COMPONENT = "dask.org/cluster-name", "dask.org/component"


def scheduler_service(name: str) -> str:
    """Return the name of the Service that dask-kubernetes creates for a DaskCluster's scheduler."""
    return f"{name}-scheduler"


def scheduler_host(name: str, namespace: str, settings: Settings) -> str:
    """Return the DNS name of that Service."""
    return f"{scheduler_service(name)}.{namespace}.svc.{settings.cluster_domain}"


def scheduler_address(name: str, namespace: str, settings: Settings) -> str:
    """Return the address of the scheduler of a DaskCluster that the operator created."""
    return f"tls://{scheduler_host(name, namespace, settings)}:{ports.DASK_SCHEDULER}"


def dask_cluster(key: RunId, spec: FlowRunSpec, settings: Settings, replicas: int, credentials: str) -> Object:
    """Return the DaskCluster.

    It has no idleTimeout and no DaskAutoscaler: an idle check of dask-kubernetes can hold up the start of every other
    cluster for minutes, and its autoscaler can remove a worker that is busy.

    Args:
        key: the owner.
        spec: of the run.
        settings: of the operator.
        replicas: number of workers.
        credentials: name of the Secret with the credentials, by which its parts trust each other.
    """
    assert spec.cluster is not None
    metadata = child_metadata(key, names.COMPONENT_CLUSTER)
    image = cluster_image(spec, settings)
    scheduler, workers = spec.cluster.scheduler, spec.cluster.workers
    address = scheduler_address(metadata["name"], key.namespace, settings)
    lead, work = _scheduler_program(), _worker_program(workers or Workers(), address)
    targets = [f"{TLS_MARK}{ports.DASK_SCHEDULER}", str(ports.DASK_DASHBOARD)]
    beside = [relay(image, targets, settings)] if spec.flow is None else []
    leading = [_scheduler(scheduler, image, settings, lead), *beside]
    working = [_worker(workers, image, settings, work, address)]
    lead_template = cluster_template(key, scheduler, "scheduler", leading, settings, credentials, DASK_TLS_ONLY)
    work_template = cluster_template(key, workers, "workers", working, settings, credentials, DASK_TLS_ONLY)
    return {
        "apiVersion": DASK_CLUSTER.api_version,
        "kind": DASK_CLUSTER.kind,
        "metadata": metadata,
        "spec": {
            "idleTimeout": 0,
            "scheduler": {
                **_fitted(lead_template, names.COMPONENT_SCHEDULER, lead, "spec.cluster.scheduler.template"),
                "service": _service(metadata["name"]),
            },
            "worker": {
                "replicas": replicas,
                **_fitted(work_template, names.COMPONENT_WORKER, work, "spec.cluster.workers.template"),
            },
        },
    }


def dask_worker_group(
    key: RunId, spec: FlowRunSpec, group: WorkerGroup, settings: Settings, replicas: int, credentials: str
) -> Object:
    """Return the DaskWorkerGroup of further workers, which join the scheduler of the owner's DaskCluster."""
    metadata = child_metadata(key, names.COMPONENT_CLUSTER)
    cluster, field = metadata["name"], f"workerGroups[{group.name}]"
    address = scheduler_address(cluster, key.namespace, settings)
    program = _worker_program(group, address)
    containers = [_worker(group, cluster_image(spec, settings), settings, program, address)]
    template = cluster_template(key, group, field, containers, settings, credentials, DASK_TLS_ONLY, group.name)
    labels = {**metadata["labels"], names.LABEL_WORKER_GROUP: group.name}
    return {
        "apiVersion": DASK_WORKER_GROUP.api_version,
        "kind": DASK_WORKER_GROUP.kind,
        "metadata": {**metadata, "name": names.group_name(cluster, group.name), "labels": labels},
        "spec": {
            "cluster": cluster,
            "worker": {
                "replicas": replicas,
                **_fitted(template, names.COMPONENT_WORKER, program, f"spec.cluster.{field}.template"),
            },
        },
    }


def _fitted(template: dict[str, Any], component: str, program: Program, field: str) -> dict[str, Any]:
    """Return a pod template, merged with the user's, as DaskCluster and the cluster need it."""
    where = f"{field}.spec.containers[{component}]"
    containers = [
        completed(item, program, where) if item.get("name") == component else item
        for item in template["spec"]["containers"]
    ]
    fitted = {**template, "spec": {**template["spec"], "containers": containers}}
    return with_plain_sidecars(fitted, field)


def _scheduler_program() -> Program:
    options: list[Option] = [
        (("--protocol",), ["--protocol", "tls"]),
        (("--port",), ["--port", str(ports.DASK_SCHEDULER)]),
        (("--dashboard-address",), ["--dashboard-address", f":{ports.DASK_DASHBOARD}"]),
    ]
    return Program("scheduler", [], options, frozenset({"--protocol", "--port", "--dashboard-address"}))


def _worker_program(workers: Workers, address: str) -> Program:
    options: list[Option] = [
        (("--protocol",), ["--protocol", "tls"]),
        (("--no-nanny", "--nanny", "--nworkers"), ["--no-nanny"]),
        (("--name",), ["--name", "$(DASK_WORKER_NAME)"]),
        (("--nthreads",), ["--nthreads", str(workers.threads)]),
        (("--dashboard-address",), ["--dashboard-address", f":{ports.DASK_WORKER_HTTP}"]),
    ]
    memory = ((workers.resources and workers.resources.limits) or {}).get("memory")
    if memory is not None:
        # In bytes: the only form that Dask and Kubernetes read in the same way.
        options.append((("--memory-limit",), ["--memory-limit", str(quantities.whole(memory))]))
    if workers.task_resources:
        check_names(workers, "=, \t\n")  # Dask splits the option's value at these
        amounts = ",".join(f"{name}={amount:g}" for name, amount in workers.task_resources.items())
        options.append((("--resources",), ["--resources", literal(amounts)]))
    return Program("worker", [address], options, frozenset({"--protocol", "--name", "--dashboard-address"}))


def _scheduler(part: Scheduler | None, image: str, settings: Settings, program: Program) -> dict[str, Any]:
    return {
        **container(names.COMPONENT_SCHEDULER, image, program.args(), settings, part.resources if part else None),
        "ports": [
            {"name": "tcp-comm", "containerPort": ports.DASK_SCHEDULER, "protocol": "TCP"},
            {"name": "http-dashboard", "containerPort": ports.DASK_DASHBOARD, "protocol": "TCP"},
        ],
        "readinessProbe": _probe("http-dashboard"),
    }


def _worker(part: Workers | None, image: str, settings: Settings, program: Program, address: str) -> dict[str, Any]:
    return {
        **container(names.COMPONENT_WORKER, image, program.args(), settings, part.resources if part else None),
        # For users' command lines without a scheduler address. dask-kubernetes would set it without TLS.
        "env": [{"name": "DASK_SCHEDULER_ADDRESS", "value": address}],
        "ports": [{"name": "http-worker", "containerPort": ports.DASK_WORKER_HTTP, "protocol": "TCP"}],
        "readinessProbe": _probe("http-worker"),
    }


def _probe(port: str) -> dict[str, Any]:
    # By name: DaskCluster's schema takes no number here, unlike that of a pod.
    return {"httpGet": {"path": "/health", "port": port}, "periodSeconds": 1, "timeoutSeconds": 5}


def _service(name: str) -> dict[str, Any]:
    return {
        "type": "ClusterIP",
        "selector": {LABEL_CLUSTER_NAME: name, LABEL_DASK_COMPONENT: "scheduler"},
        "ports": [
            {"name": "tcp-comm", "port": ports.DASK_SCHEDULER, "targetPort": "tcp-comm", "protocol": "TCP"},
            {"name": "http-dashboard", "port": ports.DASK_DASHBOARD, "targetPort": "http-dashboard", "protocol": "TCP"},
        ],
    }
