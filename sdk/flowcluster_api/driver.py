"""The interface of a driver that the operator starts: its environment, and the outcome that it reports.

For its outcome a driver needs no Kubernetes rights: it writes one small JSON document to the container's termination
message, which the kubelet copies into the pod's status.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

#: Name of the FlowRun, which becomes the name of the flow run.
ENV_RUN_NAME = "FLOWCLUSTER_RUN_NAME"
#: Namespace of the FlowRun.
ENV_NAMESPACE = "FLOWCLUSTER_NAMESPACE"
#: UID of the FlowRun.
ENV_RUN_UID = "FLOWCLUSTER_RUN_UID"
#: Name of the driver's pod.
ENV_POD_NAME = "FLOWCLUSTER_POD_NAME"
#: Seconds within which the driver must renew the run's Lease.
ENV_LEASE_DURATION = "FLOWCLUSTER_LEASE_DURATION"
#: Image of clusters that code requests without naming one: the operator sets the driver's own.
ENV_IMAGE = "FLOWCLUSTER_IMAGE"
#: Class of the operator that handles FlowRuns which Python code or ``flowcluster submit`` creates without naming one.
ENV_OPERATOR_CLASS = "FLOWCLUSTER_OPERATOR_CLASS"
#: File with the flow's parameters, one JSON object; absent when there are none.
ENV_PARAMETERS_PATH = "FLOWCLUSTER_PARAMETERS_PATH"
#: ``Dask`` or ``Ray``: kind of the run's cluster; absent when the run has none.
ENV_CLUSTER_KIND = "FLOWCLUSTER_CLUSTER_KIND"
#: Address of the run's cluster, for instance ``tls://NAME-scheduler.NAMESPACE.svc:8786``.
ENV_CLUSTER_ADDRESS = "FLOWCLUSTER_CLUSTER_ADDRESS"
#: Set where the run uses a Ray cluster of others that has no token. The driver's own is for its child runs.
ENV_CLUSTER_OPEN = "FLOWCLUSTER_CLUSTER_OPEN"
#: Seconds that the driver waits for that address to answer.
ENV_CLUSTER_TIMEOUT = "FLOWCLUSTER_CLUSTER_TIMEOUT"
#: Set where the driver reports what it needs of the cluster: from its start, as the number of workers follows the work,
#: or once an edit of the FlowRun has changed their bounds or added an idle timeout.
ENV_CLUSTER_ADAPTS = "FLOWCLUSTER_CLUSTER_ADAPTS"
ADAPTS_NOW, ADAPTS_WHEN_EDITED = "true", "when-edited"
#: Seconds after which the run ends when nothing runs on its Dask cluster; absent where it does not. The driver then
#: looks at the scheduler, also where the number of workers is fixed.
ENV_CLUSTER_IDLE_TIMEOUT = "FLOWCLUSTER_CLUSTER_IDLE_TIMEOUT"
#: Folder with the run's keys (``ca.crt``, ``tls.crt``, ``tls.key``), in all of its pods.
ENV_KEYS = "FLOWCLUSTER_KEYS"
#: Ray's token, in that folder; named as KubeRay wants it in a Secret.
TOKEN_FILE = "auth_token"
#: Port at which the relay beside a Ray head sends its Python version and the token, to clients that the API server
#: admits.
TOKEN_PORT = 8791
#: File that receives the outcome; the container's ``terminationMessagePath``.
ENV_OUTCOME_PATH = "FLOWCLUSTER_OUTCOME_PATH"

#: Bytes of JSON that a flow's parameters can have: they travel in a ConfigMap, which holds 1 MiB.
PARAMETERS_LIMIT = 1_000_000
#: Bytes of a termination message that the kubelet keeps.
OUTCOME_LIMIT = 4096
#: Characters that a FlowRun's status holds of a reason, or of why there is no result; and of a result or its address.
REASON_LIMIT, RESULT_LIMIT = 1024, 4096
#: The largest number that counts: what is larger was not counted.
_LARGEST = 2**31 - 1

#: How the driver's process exits: the flow ended well, the flow did not, or it could not be started
#: (unknown entrypoint, wrong parameter). A flow that calls ``sys.exit(n)`` exits with its own n.
EXIT_COMPLETED, EXIT_FAILED, EXIT_USAGE, EXIT_CANCELLED = 0, 1, 2, 3
#: How a driver that the operator started exits in place of `EXIT_USAGE`: its Job starts no other pod then. Flows and
#: programs exit with 2 for reasons of their own, and those are tried again.
EXIT_NOT_STARTED = 222

OutcomeState = Literal["Completed", "Failed", "Crashed", "Cancelled"]
_STATES = ("Completed", "Failed", "Crashed", "Cancelled")


@dataclasses.dataclass(frozen=True)
class TaskCounts:
    """How many task runs the flow had, by how they ended."""

    total: int = 0
    completed: int = 0
    failed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a flow run ended, in the driver's words.

    `reason` is one CamelCase word (``FlowFailed``, ``EntrypointNotFound``, ``InvalidParameters``,
    ``FlowExited``, ...), `message` one sentence for a person, `result` the flow's return value as
    JSON where it is small and can be written as JSON. Where it is not, `result_url` has where the
    value was stored, or `result_omitted` why it was not.
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
        """The outcome as JSON of at most `OUTCOME_LIMIT` bytes: the result goes first, then the message's end.

        `reason`, `result_url` and `result_omitted` must be short enough. A character that UTF-8 does not have, as in
        the name of a file that is not UTF-8, becomes a question mark.
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
        """Parse what a driver wrote.

        Raises ValueError when the text is not an outcome: it may be the tail of a log, or anything
        that a user's program wrote there. What a FlowRun's status cannot hold is cut off or left out.
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


#: Fields of an `Outcome` that JSON lacks where they are None, and their names there.
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
    # What Unicode cannot encode, such as a byte of a file's name in an error's message, becomes a question mark.
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
