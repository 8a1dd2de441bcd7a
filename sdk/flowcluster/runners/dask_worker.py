"""A task run on a Dask worker: how it gets there and what it leaves."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import distributed
from distributed.protocol import serialize
from distributed.utils import sync
from distributed.worker import get_worker, thread_state

from flowcluster import pickling, states
from flowcluster.context import RunInfo
from flowcluster.runners import remote
from flowcluster.runners.dask_plugin import NAME
from flowcluster.runners.failure import NamedResult, TaskFailure
from flowcluster.waiting import occupying

#: Results up to this size, in bytes when pickled, go to the driver with the news of the run's end.
SMALL = 16_384


class Sent:
    """Stands for the result of an upstream run that the driver has, among those that workers have."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return Sent, (self.data,)


def execute(code: str, call: bytes, upstream: list[Any]) -> Any:
    """Execute one task run, and leave its result with the worker. `code` names what the scheduler has to give.

    The driver finds what it has to know, and the result itself if it is small, in the news that the
    worker sends of the end.
    """
    worker, key = get_worker(), thread_state.key
    plugin = worker.plugins.get(NAME)
    if plugin is not None and not plugin.may_run(key):
        return None  # given up by the scheduler while its inputs came
    parts, arguments = pickle.loads(call)
    info = RunInfo(*parts)
    with occupying(_place):
        result = _result(code, info, arguments, upstream)
    name = None
    if type(result) is NamedResult:
        name, result = result
    try:
        data = pickling.dump_small(result, SMALL)
    except BaseException as error:
        data = None
        if not worker.address.startswith("inproc://") and not _is_known_to_dask(result):
            message = f"The result, of type {type(result).__name__}, cannot be sent: {states.describe(error)}"
            result = TaskFailure(info.name, states.failed(message, error))
            data = pickling.dump_small(result, SMALL)
    ts = worker.state.tasks.get(key)
    if ts is not None:
        ts.metadata[NAME] = [type(result) is TaskFailure, data, name]
    return result


def _result(code: str, info: RunInfo, arguments: bytes, upstream: list[Any]) -> Any:
    try:
        inputs = [pickle.loads(value.data) if type(value) is Sent else value for value in upstream]
    except BaseException as error:
        return remote.not_loaded(info, error)
    return remote.execute(_code(code), info, arguments, *inputs)


@contextmanager
def _place() -> Iterator[None]:
    """Lends the worker another thread while this one waits for what its task submitted."""
    distributed.secede()
    try:
        yield
    finally:
        distributed.rejoin()


def _is_known_to_dask(value: Any) -> bool:
    try:
        serialize(value, on_error="raise")
    except Exception:
        return False
    return True


@functools.lru_cache(maxsize=128)
def _code(name: str) -> bytes:
    worker = get_worker()
    code: bytes | None = sync(worker.loop, getattr(worker.scheduler, f"{NAME}-give"), name=name)
    if code is None:
        raise RuntimeError("The flow run that submitted this is over.")
    return code
