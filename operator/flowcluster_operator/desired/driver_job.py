"""The Job that runs a flow's driver."""

from __future__ import annotations

from typing import Any

from flowcluster_api import driver, lease, names, offers
from flowcluster_api.literals import literal
from flowcluster_api.v1alpha1 import Flow, FlowRunSpec, Workers
from flowcluster_operator.desired.credentials import DASK, with_credentials
from flowcluster_operator.desired.metadata import child_metadata
from flowcluster_operator.desired.overlay import merge_template
from flowcluster_operator.desired.parameters_config_map import with_parameters
from flowcluster_operator.desired.pods import container, flow_image
from flowcluster_operator.errors import SpecError
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import JOB, Object
from flowcluster_operator.settings import Settings

#: Path where a ConfigMap with code is mounted: the driver's working directory.
CODE_PATH = "/flow"
_OUTCOME_PATH = "/dev/termination-log"
#: Minimum seconds for which a driver waits for its cluster. The operator ends a run at its start deadline, which a user
#: can raise while the driver waits. The driver's own limit is for a cluster that is ready, but that it cannot reach.
_LEAST_WAIT_SECONDS = 3600
#: The first rule that fits a failed pod decides.
_FAILURE_RULES: list[dict[str, Any]] = [
    # There is no further attempt for a flow that cannot be started: it would read the same manifest.
    {
        "action": "FailJob",
        "onExitCodes": {
            "containerName": names.COMPONENT_DRIVER,
            "operator": "In",
            "values": [driver.EXIT_NOT_STARTED],
        },
    },
    # A drain of its node, a preemption or an eviction is not a failure of the flow: backoffLimit does not count it.
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
]


def driver_job(
    key: RunId,
    spec: FlowRunSpec,
    settings: Settings,
    credentials: str,
    address: str | None,
    adapts: bool | None = None,
    parameters: str | None = None,
    backoff_limit: int | None = None,
    uses: str | None = None,
    credentials_of: str | None = None,
    is_open: bool = False,
) -> Object:
    """Return the Job of a run that has a flow.

    Args:
        key: the run.
        spec: its spec.
        settings: of the operator.
        credentials: name of the Secret with the run's credentials.
        address: of its cluster; None where it has none.
        adapts: whether the number of workers follows the work from the start; None where the driver cannot change it.
        parameters: name of the ConfigMap with the flow's parameters; None where it has none.
        backoff_limit: of the Job: how many attempts can fail before the last one; None for that of the spec.
        uses: UID of the SharedCluster that it uses; None where it uses none.
        credentials_of: name of the SharedCluster's Secret that `credentials` is a copy of; None unless that is in
            another namespace.
        is_open: whether its cluster accepts clients without credentials.
    """
    if spec.flow is None:
        raise SpecError("spec.flow: a run without a flow has no driver")
    metadata = child_metadata(key, names.COMPONENT_DRIVER)
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": names.driver_name(key.name, key.uid),
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.driver_grace_seconds,
        "containers": [_container(key, spec, spec.flow, settings, address, adapts, is_open)],
    }
    volumes: list[dict[str, Any]] = []
    if spec.flow.source is not None:
        volumes.append({"name": "code", "configMap": {"name": spec.flow.source.config_map.name}})
    if _joins(spec):
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory"}})
    if volumes:
        pod["volumes"] = volumes
    if parameters is not None:
        pod = with_parameters(pod, parameters)
    labels = metadata["labels"] if uses is None else {**metadata["labels"], names.LABEL_USES: uses}
    template = {
        "metadata": {"labels": labels},
        "spec": with_credentials(pod, credentials, DASK),
    }
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": _with_copied_from(metadata, credentials_of),
        "spec": {
            "backoffLimit": spec.flow.backoff_limit if backoff_limit is None else backoff_limit,
            "podFailurePolicy": {"rules": _FAILURE_RULES},
            "template": merge_template(template, spec.flow.template, "spec.flow.template"),
        },
    }


def _with_copied_from(metadata: Object, credentials_of: str | None) -> Object:
    """Return the metadata of the Job, with a label that names the Secret which the run's own one is a copy of."""
    if credentials_of is None:
        return metadata
    return {**metadata, "labels": {**metadata["labels"], names.LABEL_CREDENTIALS_OF: credentials_of}}


def _container(
    key: RunId,
    spec: FlowRunSpec,
    flow: Flow,
    settings: Settings,
    address: str | None,
    adapts: bool | None,
    is_open: bool,
) -> dict[str, Any]:
    body = container(
        names.COMPONENT_DRIVER, flow_image(spec, settings), ["flowcluster", "run", literal(flow.entrypoint)], settings
    )
    environment = {
        driver.ENV_RUN_NAME: key.name,
        driver.ENV_RUN_UID: key.uid,
        driver.ENV_NAMESPACE: key.namespace,
        driver.ENV_IMAGE: literal(body["image"]),
        driver.ENV_LEASE_DURATION: str(spec.lease_duration_seconds or lease.DURATION),
        driver.ENV_OUTCOME_PATH: _OUTCOME_PATH,
        "PYTHONUNBUFFERED": "1",
    }
    if spec.cluster is not None and address is not None:
        environment[driver.ENV_CLUSTER_KIND] = spec.cluster.kind or ""
        environment[driver.ENV_CLUSTER_ADDRESS] = address
        environment[driver.ENV_CLUSTER_TIMEOUT] = str(max(spec.start_deadline_seconds, _LEAST_WAIT_SECONDS))
        if is_open and _joins(spec):
            environment[driver.ENV_CLUSTER_OPEN] = "true"
        if adapts is not None:
            environment[driver.ENV_CLUSTER_ADAPTS] = driver.ADAPTS_NOW if adapts else driver.ADAPTS_WHEN_EDITED
        if spec.idle_timeout_seconds is not None and spec.cluster.kind == "Dask" and spec.cluster.ref is None:
            environment[driver.ENV_CLUSTER_IDLE_TIMEOUT] = str(spec.idle_timeout_seconds)
        if _joins(spec) and spec.cluster.ref is None:
            environment[offers.ENV] = literal(
                offers.to_env((spec.cluster.workers or Workers()).model_dump(by_alias=True))
            )
    body["env"] = [{"name": name, "value": value} for name, value in environment.items()]
    pod_name = {"fieldRef": {"fieldPath": "metadata.name"}}
    body["env"].append({"name": driver.ENV_POD_NAME, "valueFrom": pod_name})
    body["terminationMessagePath"] = _OUTCOME_PATH
    # For a driver that ends without an outcome, the kubelet writes the end of its log there.
    body["terminationMessagePolicy"] = "FallbackToLogsOnError"
    mounts: list[dict[str, Any]] = []
    if flow.source is not None:
        body["workingDir"] = CODE_PATH
        mounts.append({"name": "code", "mountPath": CODE_PATH, "readOnly": True})
    if _joins(spec):
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
    if mounts:
        body["volumeMounts"] = mounts
    return body


def _joins(spec: FlowRunSpec) -> bool:
    """Return whether the driver becomes a node of its cluster. A Ray node keeps objects in shared memory."""
    return spec.cluster is not None and spec.cluster.kind == "Ray"
