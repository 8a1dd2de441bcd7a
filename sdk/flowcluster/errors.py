"""Every exception of the SDK.

::

    Exception
    └── FlowclusterError
        ├── ParameterError          a flow was called with wrong parameters (also a TypeError)
        ├── NoFlowRunError          something was asked for that exists only in a flow run
        ├── MapError                the arguments of ``.map`` do not fit together (also a ValueError)
        ├── StateError              the run has no result
        │   ├── UnfinishedRun       it has not ended yet
        │   ├── UpstreamFailed      it never started: something that it waits for did not complete
        │   ├── FailedRun           it failed, and no exception says why
        │   ├── CrashedRun          it was broken off from outside, and no exception says why
        │   ├── CancelledRun        it was cancelled
        │   ├── SubmittedRunFailed  it ran on Kubernetes and failed, for the reason in its record
        │   └── ResultGone          it completed, but its result left with the run's cluster
        ├── RunTimedOut             a run took longer than its timeout_seconds (also a TimeoutError)
        ├── RemoteError             stands for an exception that could not be sent from a worker
        └── ClusterError
            ├── ClusterUnreachable  nothing answered at the cluster's address in time
            ├── ClusterLost         the cluster went away while the flow ran
            ├── ClusterNotStarted   Kubernetes or the operator could not give the run a cluster
            └── KubernetesError     the Kubernetes API server refused something, or cannot be reached
                └── NotFound        there is no such object
    SystemExit
    └── Terminated                  the process was asked to stop (SIGTERM)
"""

from __future__ import annotations


class FlowclusterError(Exception):
    """Base of the SDK's exceptions."""


class ParameterError(FlowclusterError, TypeError):
    """A flow was called with an unknown parameter, without a required one, or with a wrong value."""


class NoFlowRunError(FlowclusterError, RuntimeError):
    """Something was asked for that exists only inside a flow run."""


class MapError(FlowclusterError, ValueError):
    """The arguments of ``.map`` do not fit together."""


class StateError(FlowclusterError):
    """The run has no result to give."""


class UnfinishedRun(StateError):
    """The run has not ended yet."""


class UpstreamFailed(StateError):
    """The run never started, because something that it waits for did not complete."""


class FailedRun(StateError):
    """The run failed, and no exception says why."""


class CrashedRun(StateError):
    """The run was broken off from outside, and no exception says why."""


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
    """The run completed, but its result left with the run's cluster."""


class RunTimedOut(FlowclusterError, TimeoutError):
    """A run took longer than its ``timeout_seconds``.

    Attributes:
        run_name: name of that run.
    """

    def __init__(self, message: str, run_name: str | None = None) -> None:
        super().__init__(message)
        self.run_name = run_name


class RemoteError(FlowclusterError):
    """Stands for an exception that could not be sent from a worker to the driver; its text is kept."""


class RemoteTraceback(Exception):
    """Carries the text of a worker's traceback; the cause, or innermost cause, of an exception that came from a worker.

    Attributes:
        text: the traceback, without frames of the SDK.
        location: the line of the user's code that it leads to, if it leads to one.
        owner: identity of that exception.
    """

    owner = 0

    def __init__(self, text: str, location: str | None) -> None:
        super().__init__(text, location)
        self.text = text
        self.location = location

    def __str__(self) -> str:
        return f"\n\n{self.text.rstrip()}\n"


class ClusterError(FlowclusterError):
    """Something is wrong with the cluster, not with the flow."""


class ClusterUnreachable(ClusterError):
    """Nothing answered at the cluster's address in time."""


class ClusterLost(ClusterError):
    """The cluster went away while the flow ran: what was running or kept there is gone."""


class ClusterNotStarted(ClusterError):
    """The run was given no cluster.

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
    """The process was asked to stop by SIGTERM; left alone it ends the process with 128 + 15."""

    def __init__(self) -> None:
        super().__init__(143)

    def __str__(self) -> str:
        return "stopped by SIGTERM"
