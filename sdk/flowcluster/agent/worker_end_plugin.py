"""The plugin in a Dask worker of a pod that lets the worker end soon after it has lost its scheduler.

A worker that loses its scheduler closes, and Kubernetes starts it again, so that it joins the next scheduler. Before it
ends, Dask waits up to 30 seconds for the tasks that it executes, although nothing can receive their results any more.

The agent or the keeper sends the plugin by value, because the image of the workers does not have to contain
flowcluster. So this module imports only the standard library and distributed.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from distributed import Status, threadpoolexecutor
from distributed.diagnostics.plugin import WorkerPlugin

NAME = "flowcluster-worker-end"

#: Seconds that the process of a closed worker has to end. A thread that a task has started can keep it alive.
_END_SECONDS = 5.0
#: Seconds between two checks of whether the worker has closed. Plugins of users can need time to close.
_LOOK_SECONDS = 0.1


class WorkerEndPlugin(WorkerPlugin):  # type: ignore[misc] # distributed is not typed
    """Lets a closing worker end without its tasks."""

    name = NAME
    idempotent = True

    def teardown(self, worker: Any) -> None:
        """Give up the threads of tasks. The worker calls this when it closes, or when the plugin is replaced."""
        if worker.status not in (Status.closing, Status.closed):
            return
        threading.Thread(target=_end_process, args=[worker], daemon=True).start()
        for executor in worker.executors.values():
            if isinstance(executor, threadpoolexecutor.ThreadPoolExecutor):
                with threadpoolexecutor.threads_lock:
                    executor._threads.clear()  # the worker waits for the threads in this set, which are daemons


def _end_process(worker: Any) -> None:
    while worker.status is not Status.closed:
        time.sleep(_LOOK_SECONDS)
    time.sleep(_END_SECONDS)
    os._exit(1)
