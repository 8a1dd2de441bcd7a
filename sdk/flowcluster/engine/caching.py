"""Results that runs of a task share, by the key that the task's ``cache_key_fn`` gives.

Looked up and stored where the task is executed: neither arguments nor results travel for it.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from flowcluster import pickling, states, storage
from flowcluster.context import TaskContext
from flowcluster.engine.parameters import by_name
from flowcluster.options import TaskSpec
from flowcluster.states import State
from flowcluster.storage import Storage

logger = logging.getLogger("flowcluster.task_runs")


class CachedRun:
    """One execution of a task that may have a result already."""

    def __init__(self, spec: TaskSpec, run: TaskContext, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        assert spec.cache_key_fn is not None
        self._spec = spec
        key = spec.cache_key_fn(run, by_name(spec.function, args, kwargs))
        if key is not None and not isinstance(key, str):
            raise TypeError(f"cache_key_fn of task '{spec.name}' must give a string or None, not {key!r}.")
        self._key = key

    def state(self) -> State | None:
        """Completed with the cached result; None if there is none that may be used."""
        if self._key is None or self._spec.refresh_cache:
            return None
        try:
            entry = self._storage().read(self._key)
        except Exception as error:
            logger.warning("The cache could not be read, so the task is executed: %s", states.describe(error))
            return None
        if entry is None or not entry.is_current():
            return None
        return states.completed(entry.value, name="Cached")

    def store(self, value: Any) -> None:
        """Keep the result for later runs. A run does not fail because that does."""
        if self._key is None:
            return
        try:
            self._storage().write(self._key, value, self._spec.cache_lifetime)
        except Exception as error:
            logger.warning("The result could not be cached: %s", states.describe(error))

    def _storage(self) -> Storage:
        return storage.open_storage(self._spec.result_storage or storage.default_url())


def task_input_hash(run: TaskContext, arguments: dict[str, Any]) -> str:
    """For ``cache_key_fn``: the same key for the same code of a task with equal arguments.

    Raises what pickling an argument raises.
    """
    import hashlib

    code = getattr(run.spec.function, "__code__", None)
    text = (run.spec.name, run.spec.key, code and (code.co_code.hex(), repr(code.co_consts)))
    try:
        data = json.dumps([text, arguments], sort_keys=True).encode()
    except (TypeError, ValueError):
        data = pickling.dumps((text, sorted(arguments.items())))
    return hashlib.sha256(data).hexdigest()
