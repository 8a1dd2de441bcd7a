"""Statuses of pods as Kubernetes 1.29 to 1.34 writes them, for each cause that blocks a pod.

The texts are those of kube-scheduler, the kubelet, containerd and the controllers.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tests.support.makers import ago, pod

Status = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """One cause.

    Attributes:
        changes: the fields of a pod's status with this cause; ``MAIN`` stands for the name of the main container.
        words: texts that the message must have; ``{image}``, ``{resources}`` and ``{template}`` stand for fields of the
            part.
        reason: the reason in the status of the run.
    """

    changes: Status
    words: tuple[str, ...]
    reason: str


def unscheduled(message: str) -> Status:
    """Return the status of a pod for which the scheduler found no node."""
    tail = " preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    return {
        "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message + tail},
        ],
        "containerStatuses": [],
    }


def waiting(reason: str, message: str = "", last: Status | None = None, name: str = "MAIN") -> Status:
    """Return the status of a container that waits, after its last end."""
    status = {"name": name, "state": {"waiting": {"reason": reason, "message": message}}, "ready": False}
    if last is not None:
        status |= {"lastState": {"terminated": last}, "restartCount": 2}
    return {"containerStatuses": [status]}


def end(code: int, reason: str = "Error", message: str = "") -> Status:
    """Return the end of a container."""
    return {"exitCode": code, "reason": reason, "message": message, "finishedAt": ago(5)}


def beside(status: Status, name: str, field: str = "containerStatuses") -> Status:
    """A container of that name with the state in `status`, beside a main container that runs or waits for it."""
    found = {**status["containerStatuses"][0], "name": name}
    if field == "initContainerStatuses":
        main = {"name": "MAIN", "state": {"waiting": {"reason": "PodInitializing"}}, "ready": False}
        return {"initContainerStatuses": [found], "containerStatuses": [main]}
    main = {"name": "MAIN", "state": {"running": {"startedAt": ago(9)}}, "ready": True}
    return {"containerStatuses": [main, found]}


def failed(reason: str, message: str, **more: Any) -> Status:
    """Return the status of a pod that the kubelet or a controller ended."""
    return {"phase": "Failed", "reason": reason, "message": message, **more}


_CRASHED = end(1, message="Traceback (most recent call last):\nModuleNotFoundError: No module named 'pandas'")
_KILLED = end(137, "OOMKilled")
_LOW = (
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 51Mi. Container MAIN was using 1Gi, "
    "request is 0, has larger consumption of memory. "
)
_DISK = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "
_NOT_FOUND = 'failed to pull and unpack image "x": failed to resolve reference "x": x: not found'
_DENIED = (
    'failed to resolve reference "x": pull access denied, repository does not exist or may require authorization: '
    "server message: insufficient_scope: authorization failed"
)
_NO_PROGRAM = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
    'unable to start container process: exec: "dask": executable file not found in $PATH: unknown'
)
_NOT_READY = {"type": "Ready", "status": "False"}
_PLACED = {"type": "PodScheduled", "status": "True"}

CASES: dict[str, Case] = {
    # scheduler
    "node selector": Case(
        unscheduled("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."),
        ("node affinity/selector", "nodeSelector", "{template}"),
        "Unschedulable",
    ),
    "taint": Case(
        unscheduled("0/3 nodes are available: 3 node(s) had untolerated taint {pool: gpu}."),
        ("{pool: gpu}", "tolerations in {template}"),
        "Unschedulable",
    ),
    "cpu": Case(
        unscheduled("0/3 nodes are available: 3 Insufficient cpu."),
        ("Insufficient cpu", "lower the requests in {resources}"),
        "Unschedulable",
    ),
    "memory and taint": Case(
        unscheduled("0/3 nodes are available: 1 Insufficient memory, 2 node(s) had untolerated taint {a: b}."),
        ("lower the requests in {resources}", "tolerations in {template}"),
        "Unschedulable",
    ),
    "extended resource": Case(
        unscheduled("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
        ("nvidia.com/gpu in {resources}", "device plugin"),
        "Unschedulable",
    ),
    "missing claim": Case(
        unscheduled('0/3 nodes are available: persistentvolumeclaim "models" not found.'),
        ("PersistentVolumeClaim models", "{template}"),
        "Unschedulable",
    ),
    "unbound claim": Case(
        unscheduled("0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
        ("kubectl describe pvc", "{template}"),
        "Unschedulable",
    ),
    "claim of another zone": Case(
        unscheduled("0/3 nodes are available: 3 node(s) had volume node affinity conflict."),
        ("bound to other nodes", "{template}"),
        "Unschedulable",
    ),
    "ports": Case(
        unscheduled("0/3 nodes are available: 3 node(s) didn't have free ports for the requested pod ports."),
        ("hostPort", "{template}"),
        "Unschedulable",
    ),
    "pods of a node": Case(
        unscheduled("0/3 nodes are available: 3 Too many pods."), ("as many pods as they can",), "Unschedulable"
    ),
    "cordoned nodes": Case(
        unscheduled("0/3 nodes are available: 3 node(s) were unschedulable."), ("uncordon",), "Unschedulable"
    ),
    "anti-affinity": Case(
        unscheduled("0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."),
        ("affinity in {template}",),
        "Unschedulable",
    ),
    # images
    "image not found": Case(waiting("ErrImagePull", _NOT_FOUND), ("x: not found", "{image}"), "ErrImagePull"),
    "image denied": Case(
        waiting("ErrImagePull", _DENIED), ("authorization failed", "imagePullSecrets of {template}"), "ErrImagePull"
    ),
    "pull backs off": Case(
        waiting("ImagePullBackOff", f'Back-off pulling image "x": ErrImagePull: {_NOT_FOUND}'),
        ("x: not found", "{image}"),
        "ImagePullBackOff",
    ),
    "registry away": Case(
        waiting("ErrImagePull", 'failed to do request: Head "https://r.example/v2": dial tcp: no such host'),
        ("does not reach the registry", "{image}"),
        "ErrImagePull",
    ),
    "architecture of the image": Case(
        waiting("ErrImagePull", 'failed to pull and unpack image "x": no match for platform in manifest: not found'),
        ("architecture",),
        "ErrImagePull",
    ),
    "never pulled": Case(
        waiting("ErrImageNeverPull", 'Container image "x" is not present with pull policy of Never'),
        ("imagePullPolicy in {template}",),
        "ErrImageNeverPull",
    ),
    "image name": Case(
        waiting("InvalidImageName", 'couldn\'t parse image name "X Y": invalid reference format'),
        ("invalid reference format", "{image}"),
        "InvalidImageName",
    ),
    # configuration
    "missing ConfigMap": Case(
        waiting("CreateContainerConfigError", 'configmap "settings" not found'),
        ("create ConfigMap settings", "{template}"),
        "CreateContainerConfigError",
    ),
    "missing Secret": Case(
        waiting("CreateContainerConfigError", 'secret "login" not found'),
        ("create Secret login", "{template}"),
        "CreateContainerConfigError",
    ),
    "missing key": Case(
        waiting("CreateContainerConfigError", "couldn't find key token in Secret team/login"),
        ("find key token", "{template}"),
        "CreateContainerConfigError",
    ),
    "root image": Case(
        waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root (pod: x)"),
        ("runAsUser in {template}",),
        "CreateContainerConfigError",
    ),
    # containers
    "program missing": Case(
        waiting("RunContainerError", _NO_PROGRAM), ("executable file not found", "installed?"), "RunContainerError"
    ),
    "program missing, in a loop": Case(
        waiting("CrashLoopBackOff", "back-off 10s restarting", end(128, "StartError", _NO_PROGRAM)),
        ("executable file not found", "installed?"),
        "CrashLoopBackOff",
    ),
    "crash loop": Case(
        waiting("CrashLoopBackOff", "back-off 10s restarting failed container", _CRASHED),
        ("exit code 1", "No module named 'pandas'", "{image}"),
        "CrashLoopBackOff",
    ),
    "out of memory, in a loop": Case(
        waiting("CrashLoopBackOff", "back-off 10s restarting failed container", _KILLED),
        ("OOMKilled", "memory limit of 400Mi", "limits.memory in {resources}"),
        "OutOfMemory",
    ),
    "out of memory, running again": Case(
        {
            "conditions": [_PLACED, _NOT_READY],
            "containerStatuses": [
                {
                    "name": "MAIN",
                    "state": {"running": {}},
                    "ready": False,
                    "restartCount": 1,
                    "lastState": {"terminated": _KILLED},
                }
            ],
        },
        ("OOMKilled", "limits.memory in {resources}"),
        "OutOfMemory",
    ),
    "sidecar out of memory": Case(
        beside(waiting("CrashLoopBackOff", "", _KILLED), "shipper"),
        ("container shipper", "OOMKilled", "{template}"),
        "OutOfMemory",
    ),
    "sidecar crashes": Case(
        beside(waiting("CrashLoopBackOff", "", _CRASHED), "shipper"),
        ("container shipper", "No module named 'pandas'", "{template}"),
        "CrashLoopBackOff",
    ),
    "init container crashes": Case(
        beside(waiting("CrashLoopBackOff", "", _CRASHED), "prepare", "initContainerStatuses"),
        ("container prepare", "No module named 'pandas'", "{template}"),
        "CrashLoopBackOff",
    ),
    "image of an init container": Case(
        beside(waiting("ImagePullBackOff", _NOT_FOUND), "prepare", "initContainerStatuses"),
        ("container prepare", "x: not found"),
        "ImagePullBackOff",
    ),
    # ends of whole pods
    "evicted for memory": Case(
        failed("Evicted", _LOW, containerStatuses=[{"name": "MAIN", "state": {"terminated": end(137)}}]),
        ("low on resource: memory", "requests.memory in {resources}"),
        "Evicted",
    ),
    "evicted for disk": Case(
        failed("Evicted", _DISK, containerStatuses=[{"name": "MAIN", "state": {"terminated": end(0)}}]),
        ("ephemeral local storage", "ephemeral-storage in {resources}"),
        "Evicted",
    ),
    "refused by the kubelet": Case(
        failed("OutOfcpu", "Pod was rejected: Node didn't have enough resource: cpu", containerStatuses=[]),
        ("enough resource: cpu", "no room"),
        "OutOfcpu",
    ),
}


def blocked_pod(component: str, case: Case, **more: Any) -> Status:
    """Return a pod of that component that the cause blocks."""
    made = pod(component, {}, **more)
    made["status"] = _named({**made["status"], "phase": "Pending", **case.changes}, component)
    made["spec"] = {"containers": [{"name": component, "resources": {"limits": {"memory": "400Mi"}}}]}
    return made


def _named(value: Any, component: str) -> Any:
    if isinstance(value, dict):
        return {name: _named(item, component) for name, item in value.items()}
    if isinstance(value, list):
        return [_named(item, component) for item in value]
    return value.replace("MAIN", component) if isinstance(value, str) else value
