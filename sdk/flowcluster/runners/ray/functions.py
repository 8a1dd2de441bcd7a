"""Ray's remote functions for the tasks of a flow run: the session sends a task once for all its runs."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from flowcluster.runners.arguments import dump_code
from flowcluster.runners.base import TaskCall, TaskPayload, TaskRunner
from flowcluster.runners.ray import options as ray_options
from flowcluster.runners.ray.project import SentProject
from flowcluster.runners.ray.records import Inbox
from flowcluster.runners.ray.worker import function_for
from flowcluster_api.offers import Offers


class RemoteFunction:
    """A remote function of Ray for a task, with the options of some of its runs.

    Attributes:
        remote: sends a run to Ray.
        options: for ``ray.remote``.
        checked: monotonic time at which a node was known to have the requested resources.
    """

    def __init__(self, function: Any, options: Mapping[str, Any]) -> None:
        self.remote: Callable[..., Any] = function.remote
        self.options = options
        self.checked = -ray_options.FRESH


class FunctionRegistry:
    """Makes and keeps the remote functions of tasks.

    Args:
        topic: under which workers send log records of the flow run.
        runner_on_worker: makes, on a worker, the runner for runs that a task submits.
        is_fixed: whether the cluster is known not to start nodes by itself.
        offers: resources of each node that the cluster can start; None if they are unknown.
        inbox: reads the log records of the flow run.
    """

    def __init__(
        self,
        topic: str,
        runner_on_worker: Callable[[], TaskRunner],
        is_fixed: bool,
        offers: Offers | None,
        inbox: Inbox,
    ) -> None:
        self._inbox = inbox
        self._topic = topic
        self._runner_on_worker = runner_on_worker
        self._capacity = ray_options.Capacity(is_fixed, offers)
        self._project = SentProject(topic)
        # Pickling executes code of users, which can submit.
        self._lock = threading.RLock()
        self._codes: weakref.WeakKeyDictionary[TaskPayload, Callable[..., Any]] = weakref.WeakKeyDictionary()
        self._plain: weakref.WeakKeyDictionary[TaskPayload, RemoteFunction] = weakref.WeakKeyDictionary()
        self._known: weakref.WeakKeyDictionary[TaskPayload, list[RemoteFunction]] = weakref.WeakKeyDictionary()

    def get(self, call: TaskCall) -> RemoteFunction:
        """Return the function for a run at its submission, with the options of the blocks around this call.

        Raises:
            TypeError: the function of the task cannot be sent.
        """
        has_options = bool(ray_options.current())
        if not has_options and (plain := self._plain.get(call.payload)):
            return plain
        options = ray_options.options_for(call.payload.spec)
        # Several threads submit at the same time: that of the flow function, and those in which upstream runs end.
        with self._lock:
            known = self._known.setdefault(call.payload, [])
            # Blocks with the same options, as in a loop, share one function: Ray's head never deletes a function.
            function = next((one for one in known if one.options == options), None)
            if function is None:
                function = self._make(call, options)
                known.append(function)
            if not has_options:
                self._plain[call.payload] = function
        return function

    def _make(self, call: TaskCall, options: Mapping[str, Any]) -> RemoteFunction:
        import ray

        if call.payload not in self._codes:
            # A task forwards the log lines of runs that it submits to its own topic.
            self._inbox.onward = call.payload.topic
            call.payload.topic = self._topic
            if call.payload.project is None:  # else the task that submits has set it
                call.payload.project = self._project.reference()
            call.payload.runner_on_worker = self._runner_on_worker
            code = dump_code(call)
            self._codes[call.payload] = function_for(code, call.payload.spec.name)
        # Ray itself never repeats a run: only the engine knows whether a run can be repeated.
        make = ray.remote(**{**options, "num_returns": 2, "max_retries": 0})
        return RemoteFunction(make(self._codes[call.payload]), options)

    def close(self) -> None:
        """Delete the project from Ray's head: only tasks that start need it."""
        self._project.delete()

    def unmet(self, function: RemoteFunction) -> str | None:
        """Return why no node can ever execute a run of this function; None if a current or future node can."""
        now = time.monotonic()
        if now - function.checked < ray_options.FRESH:
            return None
        unmet = self._capacity.unmet(function.options)
        if unmet is None:
            function.checked = now
        return unmet
