"""Watch the head of a Ray cluster by TCP connects.

Ray itself observes the loss of the head after a minute, and then ends the whole process.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable

from flowcluster.errors import ClusterLost
from flowcluster.runners.ray.connection import Connection
from flowcluster.runners.ray.records import INTERVAL

logger = logging.getLogger("flowcluster.task_runner.ray")

#: Number of consecutive connects that have to fail: a head can be too busy for one of them.
_FAILURES = 3

#: Seconds for which the head is checked after a run was lost with its worker or node, seconds between two of these
#: checks, and seconds until there is another wait for this: many runs can be lost with one node.
_TOGETHER, _TOGETHER_PAUSE, _TOGETHER_AGAIN = 1.0, 0.05, 10.0

#: Seconds for which the watch queries for the cause of a loss, and between two queries.
_CAUSE_TIMEOUT, _CAUSE_PAUSE = 10.0, 0.5


class HeadWatch:
    """Checks once a second, in a thread of its own, that the head exists.

    Args:
        connection: to Ray.
        tick: called once a second, in another thread than the checks: a Ray client without its head blocks for half a
            minute in each call.
        gone: called once, when the head is lost.

    Attributes:
        lost: the loss of the head, when it is certain.
    """

    def __init__(self, connection: Connection, tick: Callable[[], None], gone: Callable[[ClusterLost], None]) -> None:
        self.lost: ClusterLost | None = None
        self._connection = connection
        self._tick = tick
        self._gone = gone
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._failed = 0
        self._waited_at = -_TOGETHER_AGAIN
        self._threads = [
            threading.Thread(target=work, name=f"flowcluster-ray-{name}", daemon=True)
            for name, work in (("watch", self._watch), ("ticks", self._run_ticks))
        ]

    def start(self) -> None:
        """Start to check."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop checking."""
        self._end.set()
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(5)

    def check(self) -> ClusterLost | None:
        """Check now, because a call failed. Then one failed connect is enough. Return the loss; None without one.

        The process can observe the failed call before the loss of its own cluster. So this method queries for the loss.
        """
        loss = self._connection.loss
        if self.lost is None and not self._answers(loss and loss.find):
            self._set_lost()
        return self.lost

    def check_after_crash(self) -> ClusterLost | None:
        """Check for a moment, because Ray reported the loss of a worker or node. Return the loss; None without one.

        It can be the node of the head, whose processes do not end at the same moment: the head can still answer.
        """
        now = time.monotonic()
        if now - self._waited_at < _TOGETHER_AGAIN:
            return self.check()
        while (lost := self.check()) is None and time.monotonic() - now < _TOGETHER:
            if self._end.wait(_TOGETHER_PAUSE):
                break
        self._waited_at = time.monotonic()
        return lost

    def wait_for_loss(self) -> ClusterLost:
        """Return why the cluster is lost, after the client's connection to its head has ended permanently.

        The operator can record the cause of the loss some seconds later.
        """
        deadline = time.monotonic() + _CAUSE_TIMEOUT
        while (lost := self.check()) is None and time.monotonic() < deadline and not self._end.wait(_CAUSE_PAUSE):
            pass
        return lost or self._set_lost()

    def _watch(self) -> None:
        while not self._end.wait(INTERVAL):
            loss = self._connection.loss
            self._failed = 0 if self._answers(loss and loss.known) else self._failed + 1
            if self._failed >= _FAILURES:
                self._set_lost()
            if self.lost is not None:
                self._gone(self.lost)
                return

    def _run_ticks(self) -> None:
        while not self._end.wait(INTERVAL) and self.lost is None:
            if self._failed:
                continue  # a call of Ray would only block
            try:
                with self._connection:
                    self._tick()
            except Exception as error:
                logger.debug("Ray could not be queried: %s", error)

    def _answers(self, find_loss: Callable[[], ClusterLost | None] | None) -> bool:
        if find_loss is not None and (lost := find_loss()) is not None:
            with self._lock:
                self.lost = self.lost or lost
            return False
        if self._connection.endpoint is None:
            return True
        try:
            socket.create_connection(self._connection.endpoint, INTERVAL).close()
        except OSError:
            return False
        return True

    def _set_lost(self) -> ClusterLost:
        with self._lock:
            if self.lost is None:
                where = self._connection.address or "{}:{}".format(*(self._connection.endpoint or ("?", 0)))
                self.lost = ClusterLost(
                    f"The Ray head at {where} was lost while the flow ran, with all task runs and results on it."
                )
            return self.lost
