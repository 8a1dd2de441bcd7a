"""How the scheduler's news of task runs get to the session that they are for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from flowcluster import guarding
from flowcluster.runners.dask.plugin import ID_LENGTH, NAME

logger = logging.getLogger("flowcluster.task_runner.dask")

Piece = list[Any]


class News:
    """Hands what the scheduler tells a session of its task runs to a function, on a thread of its own.

    Not on the client's: what waits for the end of a run may take its time, or need the client.

    Args:
        client: connected to the scheduler.
        session: id of the session.
        learn: gets pieces of news in the order in which they were sent, each a list of kind, key and more.
    """

    def __init__(self, client: Any, session: str, learn: Callable[[list[Piece]], None]) -> None:
        self._learn = learn
        self._session = session
        self._desk = _Desk.of(client)
        self._queue: SimpleQueue[list[Piece] | None] = SimpleQueue()
        self._desk.readers[session] = self
        self._thread = threading.Thread(target=self._work, name="flowcluster-dask", daemon=True)
        self._thread.start()

    def put(self, news: list[Piece]) -> None:
        """Add pieces of news, from any thread."""
        self._queue.put(news)

    def close(self) -> None:
        """Hear no more; returns when the function is not being called any more, unless it is this that calls."""
        self._desk.readers.pop(self._session, None)
        self._queue.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _work(self) -> None:
        while (news := self._queue.get()) is not None:
            last = False
            try:
                while True:
                    more = self._queue.get_nowait()
                    if more is None:
                        last = True
                        break
                    news += more
            except Empty:
                pass
            try:
                self._learn(news)
            except BaseException as error:
                guarding.quietly(logger.error, "News of task runs could not be handled:", exc_info=error)
            if last:
                return


class _Desk:
    """Where a client's messages about task runs arrive, for all sessions that use the client."""

    def __init__(self, client: Any) -> None:
        self.readers: dict[str, News] = {}
        self._cancelled = client._stream_handlers["cancelled-keys"]

    @staticmethod
    def of(client: Any) -> _Desk:
        # As distributed's own extensions of a client do it; there is no other door.
        handlers = client._stream_handlers
        if NAME not in handlers:
            desk = _Desk(client)
            handlers[NAME] = desk.deliver
            handlers["cancelled-keys"] = desk.cancelled
        found: _Desk = handlers[NAME].__self__
        return found

    def deliver(self, session: str, news: list[Piece]) -> None:
        """From the plugin."""
        if reader := self.readers.get(session):
            reader.put(list(news))

    def cancelled(self, keys: list[Any], reason: str | None = None, msg: str | None = None) -> None:
        """From the scheduler: it will not compute these keys."""
        self._cancelled(keys=keys, reason=reason, msg=msg)
        for key in keys:
            if type(key) is str and (reader := self.readers.get(key[-ID_LENGTH:])):
                reader.put([["cancelled", key, reason]])
