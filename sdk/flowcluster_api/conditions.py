"""Phases, condition types and reasons: the words in a FlowRun's status, a sentence each.

A reason that has no constant here comes from elsewhere: from Kubernetes (``Unschedulable``,
``ImagePullBackOff``, ...) or from the driver's outcome.
"""

from __future__ import annotations

from typing import Literal, get_args

Phase = Literal["Pending", "Suspended", "Starting", "Running", "Stopping", "Succeeded", "Failed", "Cancelled"]
PHASES: tuple[str, ...] = get_args(Phase)
FINAL_PHASES: frozenset[str] = frozenset({"Succeeded", "Failed", "Cancelled"})

#: Legal moves between phases. A phase may always stay as it is.
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

# Condition types. All are positive: True is what one waits for.
#: The spec makes sense to the operator.
ACCEPTED = "Accepted"
#: Scheduler or head and the minimum of workers are Ready.
CLUSTER_READY = "ClusterReady"
#: The driver's container runs or ran; where the driver runs elsewhere: it has been heard.
FLOW_STARTED = "FlowStarted"
#: The run is over, well or not; the reason says which.
FINISHED = "Finished"
#: Nothing that belonged to the run is left on the API server.
CLUSTER_DELETED = "ClusterDeleted"
# The three that kstatus reads (Helm, Flux, Argo CD).
#: The operator still works on it.
RECONCILING = "Reconciling"
#: Usable now, or ended well.
READY = "Ready"
#: Ended badly; the reason is Finished's.
STALLED = "Stalled"

# Reasons of ours.
SPEC_ACCEPTED = "SpecAccepted"  # the spec is valid and served by this operator
INVALID_TEMPLATE = "InvalidTemplate"  # a template in the spec is none
INVALID_SPEC = "InvalidSpec"  # no cluster or driver can be made from the spec
RECONCILE_ERROR = "ReconcileError"  # the operator's passes over the run fail
API_ERROR = "ApiError"  # the API server refuses or does not answer what the run needs
TEMPLATE_NOT_ALLOWED = "TemplateNotAllowed"  # a template contains what the administrator does not allow
CHILD_RUN_NOT_ALLOWED = "ChildRunNotAllowed"  # a child run exceeds its parent, or has none
SUSPENDED = "Suspended"  # spec.suspend is true: nothing exists
CREATING = "Creating"  # the run starts: the operator creates its cluster and its driver's Job
WAITING = "Waiting"  # nothing is wrong, and not everything is there yet
CLUSTER_USABLE = "ClusterUsable"  # the cluster can take work
FLOW_RUNNING = "FlowRunning"  # the driver's container was started
NO_CLUSTER = "NoCluster"  # the run asked for none
SUCCEEDED = "Succeeded"  # the flow completed
CANCELLED = "Cancelled"  # spec.cancel was set
DRIVER_CONNECTED = "DriverConnected"  # a driver that runs elsewhere renews the run's Lease
DRIVER_LOST = "DriverLost"  # the Job or its pod was removed by somebody else, or the Lease was not renewed
PARENT_ENDED = "ParentEnded"  # the run that it was a part of is over
ATTEMPT_ENDED = "AttemptEnded"  # a driver's pod ended, and another one follows
DRIVER_CRASHED = "DriverCrashed"  # the process ended without an outcome
OUT_OF_MEMORY = "OutOfMemory"  # a container was killed at its memory limit
CLUSTER_LOST = "ClusterLost"  # scheduler or head went away with all its state
START_DEADLINE_EXCEEDED = "StartDeadlineExceeded"  # not usable in time, and no better cause is known
DEADLINE_EXCEEDED = "DeadlineExceeded"  # spec.activeDeadlineSeconds passed
IDLE_TIMEOUT_EXCEEDED = "IdleTimeoutExceeded"  # nothing ran on the cluster for spec.idleTimeoutSeconds
CLUSTER_OPERATOR_SILENT = "ClusterOperatorSilent"  # nobody acts on the DaskCluster
CLUSTER_KIND_MISSING = "ClusterKindMissing"  # the API server does not know DaskCluster or RayCluster
JOB_SUSPENDED = "JobSuspended"  # another party has suspended the driver's Job, as queues of Jobs do
REJECTED = "Rejected"  # the API server refused a child: quota, admission, a wrong template
CLUSTER_NOT_FOUND = "ClusterNotFound"  # spec.cluster.ref names nothing
CLUSTER_NOT_READY = "ClusterNotReady"  # the scheduler or head of the cluster that spec.cluster.ref names is not Ready
CLEANING_UP = "CleaningUp"  # children are being deleted
NOTHING_LEFT = "NothingLeft"  # all children are verified gone

#: Classes of causes: while a class holds a part of a run up, Kubernetes may alternate between its reasons. A reason
#: that is not here is a class of its own.
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


def cause_class(reason: str) -> str:
    """Return the class of a cause."""
    return CAUSE_CLASSES.get(reason, reason)


def final_phase(reason: str) -> Phase:
    """The phase in which a run ends whose condition `FINISHED` has this reason."""
    if reason == SUCCEEDED:
        return "Succeeded"
    return "Cancelled" if reason in (CANCELLED, PARENT_ENDED) else "Failed"
