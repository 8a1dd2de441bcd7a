"""Noticing that task runs on Ray have ended.

Ray can call back for each run, at once, on a thread of its own that then has to wait for the interpreter
while it should send the next runs. So only as long as few are open. Of many, those that were submitted
first are taken together, and now and then all are looked at.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from itertools import islice
from queue import SimpleQueue
from typing import Any

from flowcluster import guarding
from flowcluster.runners.ray.connection import Connection
from flowcluster.runners.ray.result import RayResult

logger = logging.getLogger("flowcluster.task_runner.ray")

#: So many runs Ray calls back for. Of the others, the ends of so many are taken together.
_FEW, _WINDOW = 32, 128

#: Seconds after which that happens although the last of them has not ended. Where many are open, that is seldom:
#: each call of ``ray.wait`` costs the time of some runs.
_SOON, _SELDOM = 0.02, 0.1

#: A look at all runs comes after so many times the time that the last one took, and seconds at least.
_REST, _LEAST = 20, 0.05


class Ends:
    """Tells the end of each run, one after the other on a thread of its own.

    Args:
        connection: to Ray.
        ended: called with the run and the news that it left, or with Ray's error in their place.
    """

    def __init__(self, connection: Connection, ended: Callable[[RayResult, Any], None]) -> None:
        self._connection = connection
        self._ended = ended
        self._arrivals: SimpleQueue[tuple[RayResult, Any] | None] = SimpleQueue()
        self._called_back = 0
        # In the order of submission. One operation at a time is safe, from any thread.
        self._others: dict[RayResult, None] = {}
        self._next_look = 0.0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="flowcluster-ray-ends", daemon=True)
        self._thread.start()

    def expect(self, result: RayResult) -> None:
        """The run was sent."""
        # A Ray client would have to ask the head for every wait.
        if self._called_back < _FEW or self._connection.is_client:
            self._call_back(result)
        else:
            self._others[result] = None
            if len(self._others) == 1:
                self._arrivals.put(None)  # there is something else to wait for now

    def put(self, result: RayResult, error: Exception) -> None:
        """Nothing will be heard of the run any more."""
        self._others.pop(result, None)
        self._arrivals.put((result, error))

    def close(self) -> None:
        """Tell nothing any more."""
        self._closed = True
        self._others.clear()
        self._arrivals.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join(5)

    def _call_back(self, result: RayResult) -> None:
        self._called_back += 1
        result.news._on_completed(lambda news: self._arrivals.put((result, news)))

    def _run(self) -> None:
        while not self._closed:
            while not self._closed and (not self._others or not self._arrivals.empty()):
                arrival = self._arrivals.get()
                if arrival is not None:
                    self._called_back = max(0, self._called_back - 1)
                    self._tell(*arrival)
                # Nothing may keep the last one alive while nothing arrives.
                del arrival
            if self._others:
                try:
                    self._collect()
                except Exception as error:
                    logger.debug("Ray could not be asked: %s", error)
                    time.sleep(_SOON)

    def _collect(self) -> None:
        """Wait a moment for the runs that Ray does not call back for, and tell those that have ended."""
        if len(self._others) <= _FEW // 2:
            for result in list(self._others):
                self._others.pop(result, None)
                self._call_back(result)
            return
        window = list(islice(self._others, _WINDOW))
        if not window:
            return  # all were given up meanwhile
        self._wait_for(window[-1], _SOON if len(self._others) <= _WINDOW else _SELDOM)
        self._take(window)
        began = time.monotonic()
        if began >= self._next_look:
            self._take(list(self._others))
            ended = time.monotonic()
            self._next_look = ended + max(_LEAST, _REST * (ended - began))

    def _wait_for(self, result: RayResult, seconds: float) -> None:
        import ray

        news = result.news
        if news is not None:  # else it was given up meanwhile
            with self._connection:
                ray.wait([news], timeout=seconds, fetch_local=False)

    def _take(self, results: list[RayResult]) -> None:
        """Tell those that have ended."""
        import ray

        by_news = {result.news: result for result in results}
        if not by_news or self._closed:
            return
        with self._connection:
            ready, _ = ray.wait(list(by_news), num_returns=len(by_news), timeout=0, fetch_local=False)
            news = _get(ready)
        for reference, one in zip(ready, news, strict=True):
            result = by_news.pop(reference)
            self._others.pop(result, None)
            self._tell(result, one)

    def _tell(self, result: RayResult, news: Any) -> None:
        try:
            self._ended(result, news)
        except BaseException as error:
            guarding.quietly(
                logger.error, "The end of task run '%s' could not be handled:", result.name, exc_info=error
            )


def _get(references: list[Any]) -> list[Any]:
    """What they stand for, with errors in the place of objects that do not exist."""
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
