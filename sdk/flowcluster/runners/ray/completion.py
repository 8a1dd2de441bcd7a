"""Detect that task runs on Ray have ended.

Ray can call back immediately for each run, in a thread of its own. That thread then waits for the interpreter while it
should send the next runs. So Ray calls back only while few runs are in flight. With many runs, the poller polls the
oldest ones together, and all of them regularly.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from itertools import islice
from queue import SimpleQueue
from typing import Any

from flowcluster._util import guarding
from flowcluster.runners.ray.connection import Connection
from flowcluster.runners.ray.task_run import RayResult

logger = logging.getLogger("flowcluster.task_runner.ray")

#: Maximum runs for which Ray calls back, and number of the other runs that are polled together.
_FEW, _WINDOW = 32, 128

#: Seconds for which a poll waits for the newest of its runs. With many runs in flight, it waits longer: each call of
#: ``ray.wait`` takes as long as some runs.
_SOON, _SELDOM = 0.02, 0.1

#: Pause between two polls of all runs: this multiple of the last poll's duration, and at least this many seconds.
_REST, _LEAST = 20, 0.05


class CompletionPoller:
    """Calls a function at the end of each run, one after the other, in a thread of its own.

    Args:
        connection: to Ray.
        ended: called with the run and its report, or with Ray's error instead of the report.
    """

    def __init__(self, connection: Connection, ended: Callable[[RayResult, Any], None]) -> None:
        self._connection = connection
        self._ended = ended
        self._arrivals: SimpleQueue[tuple[RayResult, Any] | None] = SimpleQueue()
        self._called_back = 0
        # The polled runs, in the order of submission. A single operation is safe in any thread.
        self._polled: dict[RayResult, None] = {}
        self._next_poll_of_all = 0.0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="flowcluster-ray-ends", daemon=True)
        self._thread.start()

    def expect(self, result: RayResult) -> None:
        """Report the end of a sent run later."""
        # A Ray client has to query the head for each poll.
        if self._called_back < _FEW or self._connection.is_client:
            self._call_back(result)
        else:
            self._polled[result] = None
            if len(self._polled) == 1:
                self._arrivals.put(None)  # wakes up the thread, which can poll now

    def put(self, result: RayResult, error: Exception) -> None:
        """End a run with an error, because Ray does not report its end any more."""
        self._polled.pop(result, None)
        self._arrivals.put((result, error))

    def close(self) -> None:
        """Stop reporting ends."""
        self._closed = True
        self._polled.clear()
        self._arrivals.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join(5)

    def _call_back(self, result: RayResult) -> None:
        self._called_back += 1
        result.report._on_completed(lambda report: self._arrivals.put((result, report)))

    def _run(self) -> None:
        while not self._closed:
            while not self._closed and (not self._polled or not self._arrivals.empty()):
                arrival = self._arrivals.get()
                if arrival is not None:
                    self._called_back = max(0, self._called_back - 1)
                    self._end(*arrival)
                # The variable must not keep the last run alive while the thread waits.
                del arrival
            if self._polled:
                try:
                    self._poll()
                except Exception as error:
                    logger.debug("Ray could not be queried: %s", error)
                    time.sleep(_SOON)

    def _poll(self) -> None:
        """Wait shortly for the runs for which Ray does not call back, and report those that have ended."""
        if len(self._polled) <= _FEW // 2:
            for result in list(self._polled):
                self._polled.pop(result, None)
                self._call_back(result)
            return
        window = list(islice(self._polled, _WINDOW))
        if not window:
            return  # `put` has ended all of them meanwhile
        self._wait_for(window[-1], _SOON if len(self._polled) <= _WINDOW else _SELDOM)
        self._take(window)
        began = time.monotonic()
        if began >= self._next_poll_of_all:
            self._take(list(self._polled))
            ended = time.monotonic()
            self._next_poll_of_all = ended + max(_LEAST, _REST * (ended - began))

    def _wait_for(self, result: RayResult, seconds: float) -> None:
        import ray

        report = result.report
        if report is not None:  # else `put` has ended the run meanwhile
            with self._connection:
                ray.wait([report], timeout=seconds, fetch_local=False)

    def _take(self, results: list[RayResult]) -> None:
        """Report those of these runs that have ended."""
        import ray

        by_report = {result.report: result for result in results}
        if not by_report or self._closed:
            return
        with self._connection:
            ready, _ = ray.wait(list(by_report), num_returns=len(by_report), timeout=0, fetch_local=False)
            reports = _get(ready)
        for reference, report in zip(ready, reports, strict=True):
            result = by_report.pop(reference)
            self._polled.pop(result, None)
            self._end(result, report)

    def _end(self, result: RayResult, report: Any) -> None:
        try:
            self._ended(result, report)
        except BaseException as error:
            guarding.quietly(
                logger.error, "The end of task run '%s' could not be handled:", result.name, exc_info=error
            )


def _get(references: list[Any]) -> list[Any]:
    """Return the objects of references, and the error instead of an object that does not exist."""
    import ray

    if not references:
        return []
    try:
        objects: list[Any] = ray.get(references)
        return objects
    except Exception:
        pass
    found: list[Any] = []
    for reference in references:
        try:
            found.append(ray.get(reference))
        except Exception as error:
            found.append(error)
    return found
