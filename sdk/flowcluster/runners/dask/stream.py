"""Route messages about task runs to the session that submitted the runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Any

from flowcluster._util import guarding
from flowcluster.runners.dask.messages import Cancelled, Message, from_list
from flowcluster.runners.dask.scheduler_plugin import ID_LENGTH, NAME

logger = logging.getLogger("flowcluster.task_runner.dask")


class MessageReader:
    """Calls a function with the messages to one session, in a thread of its own.

    The client's own thread must not call it: the function can take long, or wait for the client.

    Args:
        client: connected to the scheduler.
        session: id of the session.
        handle: gets all received messages, in the order in which they were sent.
    """

    def __init__(self, client: Any, session: str, handle: Callable[[list[Message]], None]) -> None:
        self._handle = handle
        self._session = session
        self._router = StreamRouter.of(client)
        self._queue: SimpleQueue[list[Message] | None] = SimpleQueue()
        self._router.readers[session] = self
        self._thread = threading.Thread(target=self._work, name="flowcluster-dask", daemon=True)
        self._thread.start()

    def put(self, messages: Iterable[Message]) -> None:
        """Add messages, from any thread."""
        self._queue.put(list(messages))

    def close(self) -> None:
        """Stop reading. Return when the function has returned, unless the function itself calls this."""
        self._router.readers.pop(self._session, None)
        self._queue.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _work(self) -> None:
        while (messages := self._queue.get()) is not None:
            last = False
            try:
                while True:
                    more = self._queue.get_nowait()
                    if more is None:
                        last = True
                        break
                    messages += more
            except Empty:
                pass
            try:
                self._handle(messages)
            except BaseException as error:
                guarding.quietly(logger.error, "Messages about task runs could not be handled:", exc_info=error)
            if last:
                return


class StreamRouter:
    """Passes the messages that one client gets to the sessions that use the client.

    Args:
        client: the router replaces its handlers of the scheduler's stream.
    """

    def __init__(self, client: Any) -> None:
        self.readers: dict[str, MessageReader] = {}
        # distributed's own extensions of a client add handlers in this way. There is no public way.
        handlers = client._stream_handlers
        self._cancelled = handlers["cancelled-keys"]
        handlers[NAME] = self.route
        handlers["cancelled-keys"] = self.route_cancelled

    @staticmethod
    def of(client: Any) -> StreamRouter:
        """Return the router of a client."""
        if NAME not in client._stream_handlers:
            return StreamRouter(client)
        router: StreamRouter = client._stream_handlers[NAME].__self__
        return router

    def route(self, session: str, news: list[list[Any]]) -> None:
        """Pass on messages of the plugin. The plugin sends them as lists under the name `news`."""
        if reader := self.readers.get(session):
            reader.put(from_list(data) for data in news)

    def route_cancelled(self, keys: list[Any], reason: str | None = None, msg: str | None = None) -> None:
        """Pass on the keys that the scheduler does not compute."""
        self._cancelled(keys=keys, reason=reason, msg=msg)
        for key in keys:
            if type(key) is str and (reader := self.readers.get(key[-ID_LENGTH:])):
                reader.put([Cancelled(key, reason)])
