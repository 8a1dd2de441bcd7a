"""Results that runs of a task share, by the key that the task's ``cache_key_fn`` returns.

A result is looked up and stored where the task is executed, so neither arguments nor results are sent.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from flowcluster import states
from flowcluster._util import storage
from flowcluster._util.storage import Storage
from flowcluster._util.waiting import WaitStrategy
from flowcluster.context import TaskContext
from flowcluster.engine.caching import claims, hashing
from flowcluster.engine.parameters import by_name
from flowcluster.engine.task_spec import TaskSpec
from flowcluster.states import State

logger = logging.getLogger("flowcluster.task_runs")


class CachedRun:
    """One execution of a task that can have a cached result.

    Args:
        spec: the task.
        run: the task run, for the ``cache_key_fn``.
        args, kwargs: arguments of the task function.
    """

    def __init__(self, spec: TaskSpec, run: TaskContext, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        assert spec.cache_key_fn is not None
        self._spec = spec
        key = spec.cache_key_fn(run, by_name(spec.function, args, kwargs))
        if key is not None and not isinstance(key, str):
            raise TypeError(f"cache_key_fn of task '{spec.name}' must give a string or None, not {key!r}.")
        self._key = key

    def state(self) -> State | None:
        """Return the completed state with the cached result; None if there is no result that can be used."""
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

    async def get_or_run(self, call: Callable[[], Awaitable[State]], strategy: WaitStrategy) -> State:
        """Return the state with the cached result, or the state that `call` returns, whose result is then cached.

        Of runs with the same key at the same time, one is executed, and the others use its result if there is one.
        """
        if (state := self.state()) is not None:
            return state
        if self._key is None or self._spec.refresh_cache:
            return await self._executed(call)
        name = f"{self._url} {self._key}"
        while name not in claims.held.get():
            claim, is_mine = claims.take(name)
            if is_mine:
                return await self._claimed(claim, name, call, strategy)
            await strategy.wait(claim.when_over)
            if (state := self.state()) is not None:
                return state
            if claim.was_completed:  # its result could not be stored, or has expired
                break
        return await self._executed(call)

    async def _claimed(
        self, claim: claims.ResultClaim, name: str, call: Callable[[], Awaitable[State]], strategy: WaitStrategy
    ) -> State:
        lock, token = None, claims.held.set(claims.held.get() | {name})
        try:
            if (lock := self._lock()) is not None and not lock.try_to_lock():
                await strategy.wait(lock.when_locked)
            # Another run can have stored a result since this one looked.
            state = self.state() or await self._executed(call)
            claim.was_completed = state.is_completed()
            return state
        finally:
            claims.held.reset(token)
            if lock is not None:
                lock.unlock()
            claim.release()

    async def _executed(self, call: Callable[[], Awaitable[State]]) -> State:
        state = await call()
        if state.is_completed():
            self.store(state.data)
        return state

    def _lock(self) -> claims.FileLock | None:
        assert self._key is not None
        try:
            path = self._storage().lock_path(self._key)
        except Exception:
            return None  # `state` has reported it
        return None if path is None else claims.FileLock(path)

    def store(self, value: Any) -> None:
        """Store the result for later runs. A failure to store it is logged, and does not fail the run."""
        if self._key is None:
            return
        try:
            self._storage().write(self._key, value, self._spec.cache_lifetime)
        except Exception as error:
            logger.warning("The result could not be cached: %s", states.describe(error))

    def _storage(self) -> Storage:
        return storage.open_storage(self._url)

    @property
    def _url(self) -> str:
        return self._spec.result_storage or storage.default_url()


def task_input_hash(run: TaskContext, arguments: dict[str, Any]) -> str:
    """Return a key that is equal for the same code of a task with equal arguments. Use it as ``cache_key_fn``.

    The code is the function's with its defaults and captured variables, and what it refers to: global variables,
    functions and classes of the project, recursively; functions and classes of installed packages count by their
    names. Arguments are equal if their types and contents are: ``1``, ``1.0`` and ``True`` differ, and so do a list and
    a tuple. The order of keys and of the items of sets has no effect.

    Raises:
        TypeError: something cannot be hashed, such as a lock or an open file. The message names it.
    """
    spec, hasher = run.spec, hashing.Hasher()
    try:
        code = hasher.digest(spec.function, f"task {spec.name!r}")
        values = {name: hasher.digest(value, f"argument {name!r}").hex() for name, value in arguments.items()}
        return hasher.digest((spec.name, spec.key, code, values), "the key").hex()
    except RecursionError:
        raise hashing.CannotHash(f"An input of task {spec.name!r} is nested too deeply to be hashed.") from None
