"""Every exception of the SDK.

::

    Exception
    └── FlowclusterError
        ├── ParameterError          a flow was called with wrong parameters (also a TypeError)
        ├── NoFlowRunError          code outside of a flow run requires a flow run
        ├── MapError                the arguments of ``.map`` do not fit together (also a ValueError)
        ├── StateError              the run has no result
        │   ├── UnfinishedRun       it has not ended yet
        │   ├── UpstreamFailed      it never started: a run that it waits for did not complete
        │   ├── FailedRun           it failed without an exception
        │   ├── CrashedRun          it was aborted from outside, without an exception
        │   ├── CancelledRun        it was cancelled
        │   ├── SubmittedRunFailed  it ran on Kubernetes and failed, for the reason in its record
        │   └── ResultGone          it completed, but its result was lost with a worker, or was not stored
        ├── RunTimedOut             a run took longer than its timeout_seconds (also a TimeoutError)
        ├── RemoteError             replaces an exception that could not be sent from a worker
        └── ClusterError
            ├── ClusterUnreachable  nothing answered at the cluster's address in time
            ├── ClusterLost         the cluster was lost while the flow ran
            ├── ClusterNotStarted   the run got no cluster that it can use
            └── KubernetesError     the Kubernetes API server refused something, or cannot be reached
                └── NotFound        there is no such object
    SystemExit
    └── Terminated                  the process received SIGTERM
"""

from __future__ import annotations


class FlowclusterError(Exception):
    """Base of the SDK's exceptions."""


class ParameterError(FlowclusterError, TypeError):
    """A flow was called with an unknown parameter, without a required one, or with a wrong value."""


class NoFlowRunError(FlowclusterError, RuntimeError):
    """Code outside of a flow run requires a flow run."""


class MapError(FlowclusterError, ValueError):
    """The arguments of ``.map`` do not fit together."""


class StateError(FlowclusterError):
    """The run has no result."""


class UnfinishedRun(StateError):
    """The run has not ended yet."""


class UpstreamFailed(StateError):
    """The run never started, because a run that it waits for did not complete."""


class FailedRun(StateError):
    """The run failed without an exception."""


class CrashedRun(StateError):
    """The run was aborted from outside, without an exception."""


class CancelledRun(StateError):
    """The run was cancelled."""


class SubmittedRunFailed(StateError):
    """The run was submitted to Kubernetes and failed there.

    Attributes:
        reason: the cause in one CamelCase word, as in the FlowRun's status.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.reason)


class ResultGone(StateError):
    """The run completed, but its result was lost with a worker or the cluster, or was not stored."""


class RunTimedOut(FlowclusterError, TimeoutError):
    """A run took longer than its ``timeout_seconds``.

    Attributes:
        run_name: name of that run.
    """

    def __init__(self, message: str, run_name: str | None = None) -> None:
        super().__init__(message)
        self.run_name = run_name


class RemoteError(FlowclusterError):
    """Replaces an exception that could not be sent from a worker to the driver. It has the exception's text."""


class RemoteTraceback(Exception):
    """Carries the text of a worker's traceback; the cause, or innermost cause, of an exception that came from a worker.

    Attributes:
        text: the traceback, without frames of the SDK.
        location: the innermost line of the user's code in it; None if there is none.
        owner: `id` of the exception that came from the worker.
    """

    owner = 0

    def __init__(self, text: str, location: str | None) -> None:
        super().__init__(text, location)
        self.text = text
        self.location = location

    def __str__(self) -> str:
        return f"\n\n{self.text.rstrip()}\n"


class ClusterError(FlowclusterError):
    """The cluster, and not the flow, caused the error."""


class ClusterUnreachable(ClusterError):
    """No process answered at the address of the cluster in time."""


class ClusterLost(ClusterError):
    """The cluster was lost while the flow ran, with its task runs and results."""


class ClusterNotStarted(ClusterError):
    """The run got no cluster that it can use.

    For example, Kubernetes cannot start a pod, the versions of packages do not fit, or a package is not installed.

    Attributes:
        reason: the cause in one CamelCase word, as in the FlowRun's status.
    """

    def __init__(self, message: str, reason: str = "ClusterNotStarted") -> None:
        super().__init__(message)
        self.reason = reason


class KubernetesError(ClusterError):
    """The Kubernetes API server refused something, or cannot be reached."""


class NotFound(KubernetesError):
    """There is no such object."""


class Terminated(SystemExit):
    """The process received SIGTERM. If it is not handled, it ends the process with exit code 128 + 15."""

    def __init__(self) -> None:
        super().__init__(143)

    def __str__(self) -> str:
        return "stopped by SIGTERM"
