"""The code of tasks and the project's modules: a session sends each of them to the scheduler once."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Callable
from typing import Any

from flowcluster.project import by_value, discovery
from flowcluster.project.source import Reference
from flowcluster.runners.arguments import dump_code
from flowcluster.runners.base import TaskCall, TaskPayload, TaskRunner
from flowcluster.runners.dask.registration import put_code


class CodeRegistry:
    """Puts code into the scheduler's plugin. Workers fetch it there by its name.

    Args:
        client: connected to the scheduler.
        session: id of the session.
        topic: under which workers send log lines of the flow run; None for a session of a task, which already has one.
        runner_on_worker: makes, on a worker, the runner for runs that a task submits.

    Attributes:
        onward: topic of the flow run whose task called the flow on a worker. The session forwards log lines to it. None
            in the driver.
    """

    def __init__(
        self, client: Any, session: str, topic: str | None, runner_on_worker: Callable[[], TaskRunner]
    ) -> None:
        self.onward: str | None = None
        self._client = client
        self._session = session
        self._topic = topic
        self._runner_on_worker = runner_on_worker
        self._names: weakref.WeakKeyDictionary[TaskPayload, str] = weakref.WeakKeyDictionary()
        self._sent: set[str] = set()
        # Pickling executes code of users, which can submit.
        self._lock = threading.RLock()
        self._is_project_sent = False
        self._project: Reference | None = None

    def name_of(self, call: TaskCall) -> str:
        """Return the name of the code of a call's task.

        Raises:
            TypeError: the function of the task cannot be sent.
        """
        name = self._names.get(call.payload)
        if name is not None:
            return name
        # Several threads submit at the same time: that of the flow function, and those in which upstream runs end.
        with self._lock:
            if call.payload not in self._names:
                self._names[call.payload] = self._put(call)
            return self._names[call.payload]

    def _put(self, call: TaskCall) -> str:
        if self._topic is not None:  # Else the task that submits has set the topic and the project.
            self.onward, call.payload.topic = call.payload.topic, self._topic
            call.payload.project = self._reference()
        call.payload.runner_on_worker = self._runner_on_worker
        code = dump_code(call)
        # Each task that submits has its own objects, but their pickles are equal.
        name = f"{hashlib.blake2b(code, digest_size=8).hexdigest()}-{self._session}"
        if name not in self._sent:
            put_code(self._client, name, code)
            self._sent.add(name)
        return name

    def _reference(self) -> Reference | None:
        """Return the reference to the project. The first task sends the project, for all tasks of the session."""
        if not self._is_project_sent:
            if project := discovery.here(by_value.scripts):
                place = f"project-{project.digest}-{self._session}"
                put_code(self._client, place, project.packed)
                self._project = Reference(project.digest, place)
            self._is_project_sent = True
        return self._project
