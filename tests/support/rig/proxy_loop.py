"""The event loop of the proxies between operators and the API server."""

from __future__ import annotations

import asyncio
import ssl
import threading
from typing import Any

from tests.support.rig.proxies import FaultProxy


class ProxyLoop:
    """The event loop on which all proxies run, in a thread of its own.

    Args:
        server: address of the API server.
        context: with the credentials; None for plain HTTP.
    """

    def __init__(self, server: str, context: ssl.SSLContext | None) -> None:
        self.server, self._context = server, context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="proxies")
        self._is_started = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        self._is_started = True

    def stop(self) -> None:
        """End the thread; open connections break."""
        if not self._is_started:
            return
        asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def open(self) -> FaultProxy:
        """Return a proxy that accepts connections."""
        proxy = FaultProxy(self.server, self._context, self._loop)
        self.call(proxy.open())
        return proxy

    def call(self, coroutine: Any) -> Any:
        """Run a coroutine on the loop and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _cancel_all(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
