"""Phases, condition types and reasons in the status of a FlowRun or SharedCluster, each explained in a sentence.

Other reasons come from Kubernetes (``Unschedulable``, ``ImagePullBackOff``, ...) or from the driver's outcome, and have
no constant here.
"""

from __future__ import annotations

from typing import Literal, get_args

Phase = Literal["Pending", "Suspended", "Starting", "Running", "Stopping", "Succeeded", "Failed", "Cancelled"]
PHASES: tuple[str, ...] = get_args(Phase)
FINAL_PHASES: frozenset[str] = frozenset({"Succeeded", "Failed", "Cancelled"})

#: Allowed transitions between phases. A phase can always stay as it is.
PHASE_MOVES: dict[str, frozenset[str]] = {
    "Pending": frozenset({"Suspended", "Starting", "Stopping"}),
    "Suspended": frozenset({"Starting", "Stopping"}),
    "Starting": frozenset({"Suspended", "Running", "Stopping"}),
    "Running": frozenset({"Suspended", "Starting", "Stopping"}),
    "Stopping": FINAL_PHASES,
    "Succeeded": frozenset(),
    "Failed": frozenset(),
    "Cancelled": frozenset(),
}

SharedPhase = Literal[
    "Pending", "Starting", "Ready", "Rebuilding", "Upgrading", "Sleeping", "Suspended", "Failed"
]  # fmt: skip
SHARED_PHASES: tuple[str, ...] = get_args(SharedPhase)

#: Allowed transitions between phases of a SharedCluster. It ends only when it is deleted, so no phase is final: an edit
#: of the spec leads out of `Failed`.
_STOPPED = frozenset({"Suspended", "Failed"})
SHARED_PHASE_MOVES: dict[str, frozenset[str]] = {
    "Pending": _STOPPED | {"Starting"},
    "Starting": _STOPPED | {"Ready", "Rebuilding", "Upgrading", "Sleeping"},
    "Ready": _STOPPED | {"Rebuilding", "Upgrading", "Sleeping"},
    "Rebuilding": _STOPPED | {"Starting", "Ready", "Upgrading", "Sleeping"},
    "Upgrading": _STOPPED | {"Starting"},
    "Sleeping": _STOPPED | {"Starting"},
    "Suspended": frozenset({"Failed", "Starting"}),
    "Failed": frozenset({"Suspended", "Starting", "Ready", "Rebuilding", "Upgrading", "Sleeping"}),
}

# Condition types. All are positive: `kubectl wait` waits for True.
#: The operator can act on the spec.
ACCEPTED = "Accepted"
#: Scheduler or head and the minimum of workers are Ready.
CLUSTER_READY = "ClusterReady"
#: The driver's container runs or ran. A driver that runs elsewhere has sent a heartbeat.
FLOW_STARTED = "FlowStarted"
#: The run is over; the reason has its outcome.
FINISHED = "Finished"
#: Nothing that belonged to the run is left on the API server.
CLUSTER_DELETED = "ClusterDeleted"
# Of a SharedCluster only.
#: The cluster was built from the spec as it is now.
UP_TO_DATE = "UpToDate"
#: The number of workers follows the work.
SCALING = "Scaling"
# The three that kstatus reads (Helm, Flux, Argo CD).
#: The operator still works on it.
RECONCILING = "Reconciling"
#: Usable now, or ended well.
READY = "Ready"
#: Ended badly; the reason is Finished's.
STALLED = "Stalled"

# Reasons that the operator sets.
SPEC_ACCEPTED = "SpecAccepted"  # the spec is valid and served by this operator
INVALID_TEMPLATE = "InvalidTemplate"  # a template in the spec is not a valid pod template
INVALID_SPEC = "InvalidSpec"  # no cluster or driver can be made from the spec
RECONCILE_ERROR = "ReconcileError"  # the operator's passes over the run fail
API_ERROR = "ApiError"  # the API server refuses a request that the run needs, or does not answer it
TEMPLATE_NOT_ALLOWED = "TemplateNotAllowed"  # a template contains what the administrator does not allow
CHILD_RUN_NOT_ALLOWED = "ChildRunNotAllowed"  # a child run exceeds its parent, or has none
SUSPENDED = "Suspended"  # spec.suspend is true: nothing exists
CREATING = "Creating"  # the run starts: the operator creates its cluster and its driver's Job
WAITING = "Waiting"  # nothing is wrong, and some children are not ready yet
CLUSTER_USABLE = "ClusterUsable"  # the cluster can run tasks
FLOW_RUNNING = "FlowRunning"  # the driver's container was started
NO_CLUSTER = "NoCluster"  # the spec has no cluster
SUCCEEDED = "Succeeded"  # the flow completed
CANCELLED = "Cancelled"  # spec.cancel was set
DRIVER_CONNECTED = "DriverConnected"  # a driver that runs elsewhere renews the run's Lease
DRIVER_LOST = "DriverLost"  # the Job or its pod was removed by another client, or the Lease was not renewed
PARENT_ENDED = "ParentEnded"  # the parent of this child run is over
ATTEMPT_ENDED = "AttemptEnded"  # a driver's pod ended, and another one follows
DRIVER_CRASHED = "DriverCrashed"  # the process ended without an outcome
OUT_OF_MEMORY = "OutOfMemory"  # a container was killed at its memory limit
CLUSTER_LOST = "ClusterLost"  # scheduler or head ended, and all its state with it
START_DEADLINE_EXCEEDED = "StartDeadlineExceeded"  # not usable in time, and no better cause is known
DEADLINE_EXCEEDED = "DeadlineExceeded"  # spec.activeDeadlineSeconds passed
IDLE_TIMEOUT_EXCEEDED = "IdleTimeoutExceeded"  # nothing ran on the cluster for spec.idleTimeoutSeconds
CLUSTER_OPERATOR_SILENT = "ClusterOperatorSilent"  # no operator acts on the DaskCluster
CLUSTER_KIND_MISSING = "ClusterKindMissing"  # the API server does not know DaskCluster or RayCluster
JOB_SUSPENDED = "JobSuspended"  # another party has suspended the driver's Job, as queues of Jobs do
REJECTED = "Rejected"  # the API server refused a child: quota, admission, an invalid template
CLUSTER_NOT_FOUND = "ClusterNotFound"  # the cluster that spec.cluster.ref names does not exist
CLUSTER_NOT_READY = "ClusterNotReady"  # the scheduler or head of the cluster that spec.cluster.ref names is not Ready
IDLE_SHUTDOWN = "IdleShutdown"  # nothing ran on a shared cluster for spec.idleShutdownSeconds: nothing of it exists
WAKING = "Waking"  # a run names a shared cluster that was shut down
UPGRADING = "Upgrading"  # a shared cluster is being replaced, because its image or a template changed
UPGRADE_PENDING = "UpgradePending"  # a shared cluster will be replaced when nothing runs on it
CURRENT = "Current"  # a shared cluster matches its spec
REBUILT = "Rebuilt"  # another scheduler or head has replaced the lost one
KEEPER_CONNECTED = "KeeperConnected"  # the keeper of a shared cluster reports its demand
KEEPER_SILENT = "KeeperSilent"  # the keeper does not report: the number of workers stays, no credentials are sealed
FIXED_SIZE = "FixedSize"  # minimum and maximum are equal
CLEANING_UP = "CleaningUp"  # children are being deleted
NOTHING_LEFT = "NothingLeft"  # the operator has verified that no child exists

#: Classes of causes. While one problem blocks a part of a run, Kubernetes can alternate between the reasons of a class.
#: A reason that is not listed is a class of its own.
CAUSE_CLASSES: dict[str, str] = {
    reason: kind
    for kind, reasons in {
        "Image": (
            "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
            "ImageInspectError", "SignatureValidationFailed",
        ),
        "Container": (
            "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError",
            "ContainerCannotRun", "PreCreateHookError", "PreStartHookError", "PostStartHookError",
            "CrashLoopBackOff", "Error", "Completed",
        ),
        "Volumes": ("FailedMount", "FailedAttachVolume", "FailedMapVolume"),
        "Network": ("FailedCreatePodSandBox", "NetworkNotReady", "FailedPodSandBoxStatus"),
        "Refused": (
            REJECTED, "FailedCreate", "FailedCreateHeadPod", "FailedCreateWorkerPod", "FailedToCreateHeadPod",
            "FailedToCreateWorkerPod",
        ),
    }.items()
    for reason in reasons
}  # fmt: skip


#: Phases in which nothing of a SharedCluster exists, as its spec requests.
DORMANT_PHASES: frozenset[str] = frozenset({"Suspended", "Sleeping"})


def cause_class(reason: str) -> str:
    """Return the class of a cause."""
    return CAUSE_CLASSES.get(reason, reason)


def final_phase(reason: str) -> Phase:
    """Return the phase in which a run ends when its condition `FINISHED` has this reason."""
    if reason == SUCCEEDED:
        return "Succeeded"
    return "Cancelled" if reason in (CANCELLED, PARENT_ENDED) else "Failed"
