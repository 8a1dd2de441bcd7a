"""The interface of a driver that the operator starts: its environment variables, and the outcome that it reports.

A driver needs no Kubernetes rights to report its outcome. It writes one small JSON document to the container's
termination message, which the kubelet copies into the pod's status.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

#: Name of the FlowRun; the flow run gets the same name.
ENV_RUN_NAME = "FLOWCLUSTER_RUN_NAME"
#: Namespace of the FlowRun.
ENV_NAMESPACE = "FLOWCLUSTER_NAMESPACE"
#: UID of the FlowRun.
ENV_RUN_UID = "FLOWCLUSTER_RUN_UID"
#: Name of the driver's pod.
ENV_POD_NAME = "FLOWCLUSTER_POD_NAME"
#: Seconds within which the driver must renew the run's Lease.
ENV_LEASE_DURATION = "FLOWCLUSTER_LEASE_DURATION"
#: Default image of the clusters that Python code requests: the operator sets the driver's own image.
ENV_IMAGE = "FLOWCLUSTER_IMAGE"
#: Default operator class of the FlowRuns that Python code or ``flowcluster submit`` creates.
ENV_OPERATOR_CLASS = "FLOWCLUSTER_OPERATOR_CLASS"
#: Path of a file with the flow's parameters as one JSON object; absent when there are none.
ENV_PARAMETERS_PATH = "FLOWCLUSTER_PARAMETERS_PATH"
#: Kind of the run's cluster, ``Dask`` or ``Ray``; absent when the run has no cluster.
ENV_CLUSTER_KIND = "FLOWCLUSTER_CLUSTER_KIND"
#: Address of the run's cluster, for instance ``tls://NAME-scheduler.NAMESPACE.svc:8786``.
ENV_CLUSTER_ADDRESS = "FLOWCLUSTER_CLUSTER_ADDRESS"
#: Set where the run uses an existing RayCluster that has no token. The driver's own token is for its child runs.
ENV_CLUSTER_OPEN = "FLOWCLUSTER_CLUSTER_OPEN"
#: Seconds for which the driver waits until that address answers.
ENV_CLUSTER_TIMEOUT = "FLOWCLUSTER_CLUSTER_TIMEOUT"
#: Set where the driver reports its demand for workers. ``true``: from its start, because the number of workers follows
#: the work. ``when-edited``: once an edit of the FlowRun has changed their bounds or added an idle timeout.
ENV_CLUSTER_ADAPTS = "FLOWCLUSTER_CLUSTER_ADAPTS"
ADAPTS_NOW, ADAPTS_WHEN_EDITED = "true", "when-edited"
#: Seconds without a task on its Dask cluster after which the run ends; absent without an idle timeout. If set, the
#: driver observes the scheduler, also where the number of workers is fixed.
ENV_CLUSTER_IDLE_TIMEOUT = "FLOWCLUSTER_CLUSTER_IDLE_TIMEOUT"
#: Folder with the run's credentials (``ca.crt``, ``tls.crt``, ``tls.key``), in each of its pods.
ENV_KEYS = "FLOWCLUSTER_KEYS"
#: File with Ray's token, in that folder. KubeRay requires this name in a Secret.
TOKEN_FILE = "auth_token"
#: Port on which the relay beside a Ray head sends its Python version and the token, to clients that the API server
#: admits.
TOKEN_PORT = 8791
#: Path of the file into which the driver writes its outcome: the container's ``terminationMessagePath``.
ENV_OUTCOME_PATH = "FLOWCLUSTER_OUTCOME_PATH"

#: Maximum bytes of a flow's parameters as JSON: they are in a ConfigMap, which has 1 MiB at most.
PARAMETERS_LIMIT = 1_000_000
#: Maximum bytes of a termination message that the kubelet keeps.
OUTCOME_LIMIT = 4096
#: Maximum characters of texts in a FlowRun's status. The first limit is for a reason, and for why there is no result.
#: The second limit is for a result, and for its URL.
REASON_LIMIT, RESULT_LIMIT = 1024, 4096
#: The largest valid count. A larger number cannot come from counting.
_LARGEST = 2**31 - 1

#: Exit codes of the driver's process: the flow completed, the flow failed, the flow could not be started (unknown
#: entrypoint, invalid parameter), the flow was cancelled. A flow that calls ``sys.exit(n)`` exits with its own n.
EXIT_COMPLETED, EXIT_FAILED, EXIT_USAGE, EXIT_CANCELLED = 0, 1, 2, 3
#: Exit code, instead of `EXIT_USAGE`, of a driver that the operator started: the Job starts no other pod after it.
#: Flows and other programs can exit with 2 for reasons of their own, and the Job retries those.
EXIT_NOT_STARTED = 222

OutcomeState = Literal["Completed", "Failed", "Crashed", "Cancelled"]
_STATES = ("Completed", "Failed", "Crashed", "Cancelled")


@dataclasses.dataclass(frozen=True)
class TaskCounts:
    """Counts of the flow's task runs, by how they ended."""

    total: int = 0
    completed: int = 0
    failed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a flow run ended, as its driver reports it.

    Attributes:
        state: of the flow run.
        reason: one CamelCase word: ``FlowFailed``, ``EntrypointNotFound``, ``InvalidParameters``, ``FlowExited``, ...
        message: one sentence for the user.
        exit_code: of the driver's process.
        tasks: the flow's task runs.
        result: the flow's return value as JSON, where it is small and JSON can express it.
        result_url: where else the return value was stored.
        result_omitted: why the return value is in neither of these.
    """

    state: OutcomeState
    reason: str
    message: str
    exit_code: int
    tasks: TaskCounts = TaskCounts()
    result: str | None = None
    result_url: str | None = None
    result_omitted: str | None = None

    def to_json(self) -> str:
        """Return the outcome as JSON of at most `OUTCOME_LIMIT` bytes.

        A longer text first loses the result, and then the end of the message. `reason`, `result_url` and
        `result_omitted` must be short enough. A question mark replaces a character that UTF-8 cannot encode, as in the
        name of a file that is not UTF-8.
        """
        outcome = self
        if len(_dump(outcome).encode()) > OUTCOME_LIMIT and self.result is not None:
            outcome = dataclasses.replace(self, result=None, result_omitted="the message left no room for it")
        text, message = _dump(outcome), self.message
        while len(text.encode()) > OUTCOME_LIMIT and message:
            message = message[: len(message) * 3 // 4]
            text = _dump(dataclasses.replace(outcome, message=message + "…"))
        return text

    @staticmethod
    def from_json(text: str) -> Outcome:
        """Parse a termination message. Texts that are too long for a FlowRun's status are cut off or omitted.

        Raises:
            ValueError: the text is not an outcome. It can be the tail of a log, or any text of the user's program.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError("not JSON") from error
        if not isinstance(data, Mapping) or data.get("state") not in _STATES:
            raise ValueError("not an outcome")
        return Outcome(
            state=data["state"],
            reason=str(data.get("reason", ""))[:REASON_LIMIT],
            message=str(data.get("message", "")),
            exit_code=_count(data.get("exitCode")),
            tasks=_counts(data.get("tasks")),
            **{field: _text(data.get(name), _LIMITS[field]) for field, name in _TEXTS.items()},
        )


#: Fields of an `Outcome` that its JSON omits where they are None, and their names in the JSON.
_TEXTS = {"result": "result", "result_url": "resultUrl", "result_omitted": "resultOmitted"}
_LIMITS = {"result": RESULT_LIMIT, "result_url": RESULT_LIMIT, "result_omitted": REASON_LIMIT}


def _dump(outcome: Outcome) -> str:
    data: dict[str, Any] = {
        "state": outcome.state,
        "reason": outcome.reason,
        "message": outcome.message,
        "exitCode": outcome.exit_code,
        "tasks": dataclasses.asdict(outcome.tasks),
    }
    texts = {name: getattr(outcome, field) for field, name in _TEXTS.items()}
    data |= {name: text for name, text in texts.items() if text is not None}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    # A question mark replaces what UTF-8 cannot encode, such as a byte of a file's name in an error's message.
    return text.encode(errors="replace").decode()


def _counts(data: object) -> TaskCounts:
    if not isinstance(data, Mapping):
        return TaskCounts()
    return TaskCounts(*(max(_count(data.get(name)), 0) for name in ("total", "completed", "failed")))


def _text(value: object, limit: int) -> str | None:
    return value if isinstance(value, str) and len(value) <= limit else None


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LARGEST:
        return 0
    return value
