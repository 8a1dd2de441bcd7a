"""The tasks of a flow run as Ray knows them: each is sent once, whatever the number of its runs."""

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


class Prepared:
    """A task with options of its runs.

    Attributes:
        remote: what sends a run to Ray.
    """

    def __init__(self, function: Any, options: Mapping[str, Any]) -> None:
        self.remote: Callable[..., Any] = function.remote
        self.options = options
        self.checked = -ray_options.FRESH


class Functions:
    """Makes Ray's functions for tasks.

    Args:
        topic: where workers send log records of the flow run.
        runner_on_worker: for what the tasks themselves submit.
        is_fixed: whether the cluster is known not to start nodes by itself.
        offers: what each node has that the cluster may start, where that is known.
        inbox: where those records arrive.
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
        self._lock = threading.Lock()
        self._codes: weakref.WeakKeyDictionary[TaskPayload, Callable[..., Any]] = weakref.WeakKeyDictionary()
        self._plain: weakref.WeakKeyDictionary[TaskPayload, Prepared] = weakref.WeakKeyDictionary()
        self._known: weakref.WeakKeyDictionary[TaskPayload, list[Prepared]] = weakref.WeakKeyDictionary()

    def prepare(self, call: TaskCall) -> Prepared:
        """The function for a run that is submitted now, with the options that hold here.

        Raises TypeError if its function cannot be sent.
        """
        has_options = bool(ray_options.current())
        if not has_options and (plain := self._plain.get(call.payload)):
            return plain
        options = ray_options.options_for(call.payload.spec)
        # Flow functions submit, and so do threads in which an upstream run ends.
        with self._lock:
            known = self._known.setdefault(call.payload, [])
            # Blocks of the same options, as in a loop, are one function: Ray's head keeps each for ever.
            prepared = next((one for one in known if one.options == options), None)
            if prepared is None:
                prepared = self._make(call, options)
                known.append(prepared)
            if not has_options:
                self._plain[call.payload] = prepared
        return prepared

    def _make(self, call: TaskCall, options: Mapping[str, Any]) -> Prepared:
        import ray

        if call.payload not in self._codes:
            # Inside a task, the lines of what it submits have the same destination as its own.
            self._inbox.onward = call.payload.topic
            call.payload.topic = self._topic
            if call.payload.project is None:  # Else the task that submits it has one.
                call.payload.project = self._project.reference()
            call.payload.runner_on_worker = self._runner_on_worker
            code = dump_code(call)
            self._codes[call.payload] = function_for(code, call.payload.spec.name)
        # Ray itself never repeats a run: nobody but the engine knows whether that may be done.
        make = ray.remote(**{**options, "num_returns": 2, "max_retries": 0})
        return Prepared(make(self._codes[call.payload]), options)

    def close(self) -> None:
        """Delete from Ray's head what only tasks that begin need."""
        self._project.delete()

    def unmet(self, prepared: Prepared) -> str | None:
        """Why no node will ever execute such a run; None if one can, or might start."""
        now = time.monotonic()
        if now - prepared.checked < ray_options.FRESH:
            return None
        unmet = self._capacity.unmet(prepared.options)
        if unmet is None:
            prepared.checked = now
        return unmet
