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

    It has no idleTimeout and no DaskAutoscaler. An idle check of dask-kubernetes can delay the start of all other
    clusters for minutes, and its autoscaler can remove a busy worker.

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
    scheduler_program, worker_program = _scheduler_program(), _worker_program(workers or Workers(), address)
    targets = [f"{TLS_MARK}{ports.DASK_SCHEDULER}", str(ports.DASK_DASHBOARD)]
    sidecars = [relay(image, targets, settings)] if spec.flow is None else []
    head = [_scheduler(scheduler, image, settings, scheduler_program), *sidecars]
    worker = [_worker(workers, image, settings, worker_program, address)]
    head_template = cluster_template(key, scheduler, "scheduler", head, settings, credentials, DASK_TLS_ONLY)
    worker_template = cluster_template(key, workers, "workers", worker, settings, credentials, DASK_TLS_ONLY)
    head_field, worker_field = "spec.cluster.scheduler.template", "spec.cluster.workers.template"
    return {
        "apiVersion": DASK_CLUSTER.api_version,
        "kind": DASK_CLUSTER.kind,
        "metadata": metadata,
        "spec": {
            "idleTimeout": 0,
            "scheduler": {
                **_completed(head_template, names.COMPONENT_SCHEDULER, scheduler_program, head_field),
                "service": _service(metadata["name"]),
            },
            "worker": {
                "replicas": replicas,
                **_completed(worker_template, names.COMPONENT_WORKER, worker_program, worker_field),
            },
        },
    }


def dask_worker_group(
    key: RunId, spec: FlowRunSpec, group: WorkerGroup, settings: Settings, replicas: int, credentials: str
) -> Object:
    """Return the DaskWorkerGroup of a further group, whose workers join the scheduler of the owner's DaskCluster."""
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
                **_completed(template, names.COMPONENT_WORKER, program, f"spec.cluster.{field}.template"),
            },
        },
    }


def _completed(template: dict[str, Any], component: str, program: Program, field: str) -> dict[str, Any]:
    """Return a merged pod template with the options that the cluster needs, and with sidecars as DaskCluster has them.

    Args:
        template: into which the user's template is merged.
        component: name of the main container.
        program: that the main container runs.
        field: the field of the user's template; messages begin with it.
    """
    where = f"{field}.spec.containers[{component}]"
    containers = [
        completed(item, program, where) if item.get("name") == component else item
        for item in template["spec"]["containers"]
    ]
    return with_plain_sidecars({**template, "spec": {**template["spec"], "containers": containers}}, field)


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
        # In bytes: only this form means the same to Dask and to Kubernetes.
        options.append((("--memory-limit",), ["--memory-limit", str(quantities.whole(memory))]))
    if workers.task_resources:
        check_names(workers, "=, \t\n")  # Dask splits the option's value at these characters
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
        # For command lines of users without a scheduler address. dask-kubernetes would set an address without TLS.
        "env": [{"name": "DASK_SCHEDULER_ADDRESS", "value": address}],
        "ports": [{"name": "http-worker", "containerPort": ports.DASK_WORKER_HTTP, "protocol": "TCP"}],
        "readinessProbe": _probe("http-worker"),
    }


def _probe(port: str) -> dict[str, Any]:
    # DaskCluster's schema takes only the name of a port here, and no number.
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
