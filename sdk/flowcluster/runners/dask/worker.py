"""A task run on a Dask worker: its code, its inputs and its result."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import distributed
from dask.sizeof import sizeof
from distributed.protocol import dask_serialize, serialize
from distributed.utils import sync
from distributed.worker import get_worker, thread_state

from flowcluster._output import logs
from flowcluster._util import pickling, texts
from flowcluster._util.waiting import occupying_slot
from flowcluster.context import RunInfo
from flowcluster.runners import worker_body
from flowcluster.runners.code_cache import CodeCache
from flowcluster.runners.dask.messages import Outcome
from flowcluster.runners.dask.scheduler_plugin import NAME
from flowcluster.runners.failure import NamedResult, TaskFailure, unsendable

#: Results up to this size, in bytes when pickled, are sent to the driver with the message about the run's end.
SMALL = 16_384


class Sent:
    """The pickled result of an upstream run that the driver has. Dask passes results that workers have."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return Sent, (self.data,)


def execute(code: str, call: bytes, upstream: list[Any]) -> Any:
    """Execute one task run, and return the value that Dask keeps as its result.

    The driver gets an `Outcome` in the message about the end. It contains the result if that is small.

    Args:
        code: name of the code in the scheduler's plugin.
        call: the run's `RunInfo` and its arguments, pickled.
        upstream: results of upstream runs, as Dask keeps them, or `Sent`.
    """
    worker, key = get_worker(), thread_state.key
    plugin = worker.plugins.get(NAME)
    if plugin is not None and not plugin.may_run(key):
        return None  # the scheduler took the run back while the worker fetched its inputs
    try:
        parts, arguments = pickle.loads(call)
        info = RunInfo(*parts)
        leave = functools.partial(_leave, worker, key, info)
        with occupying_slot(_place):
            return worker_body.run_task(
                _code(code), info, arguments, lambda: [_value(one) for one in upstream], _forwarding, _fetch, leave
            )
    finally:
        if plugin is not None:
            plugin.has_run(key)


@functools.cache
def _forwarding() -> logs.ForwardHandler:
    """Return the handler that sends log records of task runs to their drivers."""
    first = get_worker()

    def send(topic: str, data: dict[str, Any]) -> None:
        try:
            worker = get_worker()
        except ValueError:  # a thread that the task started
            worker = first
        worker.log_event(topic, data)

    return logs.ForwardHandler(send)


def _value(given: Any) -> Any:
    if type(given) is Sent:
        return pickle.loads(given.data)
    return opened(given)


def _leave(worker: Any, key: str, info: RunInfo, result: Any) -> Any:
    """Record the outcome for the message about the end, and return the value that Dask keeps as the result."""
    name = None
    if type(result) is NamedResult:
        name, result = result
    is_native = True
    try:
        data = pickling.dump_small(result, SMALL)
    except BaseException as error:
        data = None
        if not worker.address.startswith("inproc://") and not _is_known_to_dask(result):
            result = unsendable(info.name, result, error)
            data = pickling.dump_small(result, SMALL)
    else:
        is_native = data is not None or _has_format_of_dask(result)
    ts = worker.state.tasks.get(key)
    if ts is not None:
        ts.metadata[NAME] = list(
            Outcome(type(result) is TaskFailure, data, None if name is None else texts.as_bytes(name))
        )
    # Dask unpickles inputs before a task starts, when the worker can lack the project's modules. It pickles results
    # without the support of `pickling` for code of scripts.
    return result if is_native else Held(result)


class Held:
    """A large result that flowcluster, not Dask, pickles, and unpickles in the next task or the driver."""

    __slots__ = ("_packed", "_value")

    def __init__(self, value: Any) -> None:
        self._value = value
        self._packed: tuple[Any, list[Any]] | None = None

    def open(self) -> Any:
        """Return the result. Exceptions from unpickling are raised."""
        if self._packed is not None:
            data, buffers = self._packed
            self._value, self._packed = pickle.loads(data, buffers=buffers), None
        return self._value

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        packed = self._packed
        if packed is None:
            buffers: list[Any] = []
            packed = pickling.dumps(self._value, buffers.append), buffers  # type: ignore[arg-type] # None: apart
        if protocol < 5:
            return _held, (bytes(packed[0]), [bytes(memoryview(one)) for one in packed[1]])
        return _held, (pickle.PickleBuffer(packed[0]), packed[1])

    def __sizeof__(self) -> int:
        value, packed = self._value, self._packed
        if packed is None:
            return int(sizeof(value))
        return sum(memoryview(one).nbytes for one in (packed[0], *packed[1]))


def _held(data: Any, buffers: list[Any]) -> Held:
    held = Held(None)
    held._packed = data, buffers
    return held


def opened(value: Any) -> Any:
    """Return a result from the value that Dask keeps."""
    return value.open() if type(value) is Held else value


@contextmanager
def _place() -> Iterator[None]:
    """In the block, let the worker start another thread, while this one waits for runs that its task submitted."""
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


def _has_format_of_dask(value: Any) -> bool:
    """Return whether Dask has a format for the value that does not use pickle for Python objects in it."""
    try:
        dask_serialize.dispatch(type(value))
    except TypeError:
        return type(value) in (str, bytes, bytearray)
    return not getattr(getattr(value, "dtype", None), "hasobject", False)


def _fetch(name: str) -> bytes:
    worker = get_worker()
    code: bytes | None = sync(worker.loop, getattr(worker.scheduler, f"{NAME}-give"), name=name)
    if code is None:
        raise RuntimeError("The flow run that submitted this task is over.")
    return code


_code = CodeCache(_fetch, lambda _, code: len(code))
