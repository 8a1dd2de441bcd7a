"""The handle of a flow run that was submitted to Kubernetes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from flowcluster._util import storage
from flowcluster.errors import CancelledRun, KubernetesError, NotFound, ResultGone, SubmittedRunFailed
from flowcluster.kube.access import Access
from flowcluster.kube.flow_runs import FlowRuns
from flowcluster.submit.driver_log import AWAY_SECONDS, DriverLog
from flowcluster_api import conditions as c

Object = dict[str, Any]

#: Seconds between two reads of the FlowRun: at first, and at most.
FIRST_WAIT, LONGEST_WAIT = 0.2, 2.0


class SubmittedRun:
    """A flow run in Kubernetes. It continues when this object or its process ends.

    All methods raise `KubernetesError` if the API server refuses a request or cannot be reached, and `NotFound` if the
    FlowRun was deleted.

    Attributes:
        name, namespace, uid: of the FlowRun.
    """

    def __init__(self, access: Access, flow_runs: FlowRuns, name: str, uid: str, storage: str | None = None) -> None:
        self.name, self.namespace, self.uid = name, access.namespace, uid
        self._access, self._flow_runs, self._storage = access, flow_runs, storage

    def status(self) -> Object:
        """Return the FlowRun's status; an empty dict before the operator has written one."""
        try:
            run = self._flow_runs.get(self.name)
        except NotFound:
            run = {"metadata": {}}
        if run["metadata"].get("uid") != self.uid:
            raise NotFound(f"FlowRun {self.name} was deleted.")
        return run.get("status") or {}

    def statuses(self, pause: Callable[[float], object] = time.sleep) -> Iterator[Object]:
        """Yield the status repeatedly; the last one is that of the run's end.

        The API server can be unreachable for a minute.

        Args:
            pause: called between two reads, with the seconds to wait.
        """
        wait, answered = FIRST_WAIT, time.monotonic()
        while True:
            try:
                status = self.status()
            except NotFound:
                raise
            except KubernetesError:
                if time.monotonic() - answered > AWAY_SECONDS:
                    raise
            else:
                answered = time.monotonic()
                yield status
                if phase_at_end(status) is not None:
                    return
            pause(wait)
            wait = min(1.05 * wait, LONGEST_WAIT)

    def wait(self, timeout: float | None = None) -> str:
        """Wait until the run has ended, and return its phase: ``Succeeded``, ``Failed`` or ``Cancelled``.

        The operator deletes the run's objects after that.

        Raises:
            TimeoutError: the run did not end within `timeout` seconds.
        """
        phase: str | None = phase_at_end(self._at_end(timeout))
        assert phase is not None
        return phase

    def result(self, timeout: float | None = None) -> Any:
        """Wait until the run has ended, and return what the flow returned.

        A small result is read from the FlowRun's status, in the types of JSON. Another result is read from the storage,
        in its own types.

        Raises:
            SubmittedRunFailed: the run failed.
            CancelledRun: the run was cancelled.
            ResultGone: the result was too large for the FlowRun, and no storage was named.
            TimeoutError: the run did not end within `timeout` seconds.
            Exception: whatever reading the storage raises.
        """
        status = self._at_end(timeout)
        phase, reason = phase_at_end(status), status.get("reason") or "Unknown"
        if phase != "Succeeded":
            text = f"FlowRun {self.name} has not completed. {reason}: {status.get('message') or ''}"
            raise CancelledRun(text) if phase == "Cancelled" else SubmittedRunFailed(text, reason)
        flow = status.get("flow") or {}
        if "result" in flow:
            return json.loads(flow["result"])
        if url := flow.get("resultUrl"):
            folder, _, file = url.rpartition("/")
            # The URL of the submission can contain credentials. The URL in the FlowRun's status does not.
            return storage.open_storage(self._storage or folder).read_result(file)
        if why := flow.get("resultOmitted"):
            raise ResultGone(f"FlowRun {self.name} completed, and its result was not kept: {why}. {REMEDY}")
        return None

    def logs(self) -> Iterator[str]:
        """Yield the lines of the driver's log, without their line breaks, until the run has ended.

        The log of a run does not exist after its end.
        """
        looks = self.statuses(lambda seconds: time.sleep(min(seconds, FIRST_WAIT)))
        return self.log().lines(lambda: phase_at_end(next(looks)) is not None)

    def log(self) -> DriverLog:
        """Return the driver's log, for callers that observe the end of the run themselves."""
        return DriverLog(self._access, self.uid)

    def cancel(self) -> None:
        """Stop the run. Its record remains."""
        self.status()
        self._flow_runs.patch(self.name, {"cancel": True})

    def _at_end(self, timeout: float | None) -> Object:
        deadline = None if timeout is None else time.monotonic() + timeout

        def pause(seconds: float) -> None:
            left = seconds if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"FlowRun {self.name} has not ended after {timeout:g} s.")
            time.sleep(min(seconds, left))

        last: Object = {}
        for status in self.statuses(pause):
            last = status
        return last

    def __repr__(self) -> str:
        return f"<SubmittedRun {self.namespace}/{self.name}>"


#: What to do about a result that was not kept.
REMEDY = (
    "Let the flow write it to a storage and return its place, or name a result storage that pods and you can reach."
)


def phase_at_end(status: Object) -> str | None:
    """Return the final phase of a run when its end is known; None before."""
    for condition in status.get("conditions") or []:
        if condition["type"] == c.FINISHED and condition["status"] == "True":
            return c.final_phase(condition["reason"])
    return None
