"""Silence errors of threads that use a channel that Ray's client has closed.

Ray closes a channel when its client reconnects and when it ends. Meanwhile a thread of gRPC polls the channel's state,
and a thread of Ray starts to read logs from it. Such a thread then raises, and Python prints a traceback of a thread
that users do not know, besides the relevant error.
"""

from __future__ import annotations

import logging
import threading
import traceback

logger = logging.getLogger("flowcluster.task_runner.ray")

#: End of the text of gRPC's error (seen with grpcio 1.85). The user's own calls on a closed channel raise it, too.
_CLOSED = "Channel closed!"
#: The functions of those threads, by their modules (seen with grpcio 1.85 and Ray 2.60).
_USERS = {("grpc._channel", "_poll_connectivity"), ("ray.util.client.logsclient", "_log_main")}

_lock = threading.Lock()
_is_installed = False


def silence_closed_channels() -> None:
    """Drop these errors from now on. All others reach the previous hook. Later calls do nothing."""
    global _is_installed
    with _lock:
        if _is_installed:
            return
        _is_installed = True
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and _is_of_closed_channel(args.exc_value):
            logger.debug("A thread used a closed channel: %s", args.exc_value)
        else:
            before(args)

    threading.excepthook = hook


def _is_of_closed_channel(error: BaseException) -> bool:
    if not (isinstance(error, ValueError) and str(error).endswith(_CLOSED)):
        return False
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any((frame.f_globals.get("__name__"), frame.f_code.co_name) in _USERS for frame in frames)
