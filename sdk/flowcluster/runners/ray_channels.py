"""Silence for threads of gRPC that watch a channel which Ray's client has closed.

Ray closes a channel while a thread of gRPC still polls its state: when the client reconnects, and when it ends. That
thread then raises, and Python prints a traceback of a thread that users do not know, beside the error that matters.
"""

from __future__ import annotations

import logging
import threading

logger = logging.getLogger("flowcluster.task_runner.ray")

#: How gRPC begins the text of that error (seen with grpcio 1.85).
_CLOSED = "Cannot monitor channel state"

_lock = threading.Lock()
_is_installed = False


def silence_closed_channels() -> None:
    """Drop that error from now on; every other one reaches the hook of before. Does nothing from the second call on."""
    global _is_installed
    with _lock:
        if _is_installed:
            return
        _is_installed = True
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if isinstance(args.exc_value, ValueError) and str(args.exc_value).startswith(_CLOSED):
            logger.debug("A thread of gRPC watched a channel that is closed: %s", args.exc_value)
        else:
            before(args)

    threading.excepthook = hook
