"""A flow run that was handed over to Kubernetes, seen from here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from flowcluster import storage
from flowcluster.errors import CancelledRun, KubernetesError, NotFound, ResultGone, SubmittedRunFailed
from flowcluster.kube.access import Access
from flowcluster.kube.driver_log import DriverLog
from flowcluster.kube.flow_runs import FlowRuns
from flowcluster_api import conditions as c

Object = dict[str, Any]

#: Seconds between two looks at the run: at first, and at most.
FIRST_WAIT, LONGEST_WAIT = 0.2, 2.0
#: Seconds for which the API server may be away meanwhile.
AWAY_SECONDS = 60.0


class SubmittedRun:
    """The run goes on in Kubernetes, whatever becomes of this object and its process.

    All methods raise `KubernetesError` if the API server refuses or cannot be reached, `NotFound` if the FlowRun was
    deleted.

    Attributes:
        name, namespace, uid: of the FlowRun.
    """

    def __init__(self, access: Access, flow_runs: FlowRuns, name: str, uid: str, storage: str | None = None) -> None:
        self.name, self.namespace, self.uid = name, access.namespace, uid
        self._access, self._flow_runs, self._storage = access, flow_runs, storage

    def status(self) -> Object:
        """The FlowRun's status as it is now; empty before the operator took notice of it."""
        try:
            run = self._flow_runs.get(self.name)
        except NotFound:
            run = {"metadata": {}}
        if run["metadata"].get("uid") != self.uid:
            raise NotFound(f"FlowRun {self.name} was deleted.")
        return run.get("status") or {}

    def statuses(self, pause: Callable[[float], object] = time.sleep) -> Iterator[Object]:
        """The status again and again; the last one is that of the run's end.

        `pause` is called between two looks, with the seconds that should pass. The API server may be away for a
        minute.
        """
        wait, heard = FIRST_WAIT, time.monotonic()
        while True:
            try:
                status = self.status()
            except NotFound:
                raise
            except KubernetesError:
                if time.monotonic() - heard > AWAY_SECONDS:
                    raise
            else:
                heard = time.monotonic()
                yield status
                if phase_at_end(status) is not None:
                    return
            pause(wait)
            wait = min(1.05 * wait, LONGEST_WAIT)

    def wait(self, timeout: float | None = None) -> str:
        """Wait until the run has ended, for at most `timeout` seconds: ``Succeeded``, ``Failed`` or ``Cancelled``.

        What the run had is removed after that. Raises TimeoutError if the time is not enough.
        """
        phase: str | None = phase_at_end(self._at_end(timeout))
        assert phase is not None
        return phase

    def result(self, timeout: float | None = None) -> Any:
        """What the flow returned, once it has: as JSON has it if it is small, else the very value from the storage.

        Raises `SubmittedRunFailed` or `CancelledRun` if it did not complete, `ResultGone` if the result was too large
        for the FlowRun and no storage was named, TimeoutError after `timeout` seconds, what reading the storage
        raises.
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
            # What the run was given may hold credentials, which the record does not show.
            return storage.open_storage(self._storage or folder).kept(file)
        if why := flow.get("resultOmitted"):
            raise ResultGone(f"FlowRun {self.name} completed, and nobody has kept its result: {why}. {REMEDY}")
        return None

    def logs(self) -> Iterator[str]:
        """The lines that the driver writes, as they come, until the run has ended; without their line breaks.

        A run that has ended has no log any more.
        """
        looks = self.statuses(lambda seconds: time.sleep(min(seconds, FIRST_WAIT)))
        return self.log().lines(lambda: phase_at_end(next(looks)) is not None)

    def log(self) -> DriverLog:
        """The driver's log, for whoever knows by other means when the run has ended."""
        return DriverLog(self._access, self.uid)

    def cancel(self) -> None:
        """Stop the run; its record stays."""
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


#: What to do about a result that nobody has kept.
REMEDY = "Have the flow write it somewhere and return where, or name a result storage that pods and you can reach."


def phase_at_end(status: Object) -> str | None:
    """The phase that a run ends in, as soon as its end is known; None while it goes on."""
    for condition in status.get("conditions") or []:
        if condition["type"] == c.FINISHED and condition["status"] == "True":
            return c.final_phase(condition["reason"])
    return None
