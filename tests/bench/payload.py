"""The bytes that are sent for one call, counted in the driver."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

from flowcluster import Task, flow, get_dask_client
from flowcluster.task_runners import DaskTaskRunner
from tests.bench.backends import Backend, Function
from tests.bench.common import logging_at

#: Number of counted calls. As many before are not counted, as some data is sent only once.
CALLS = 500


class Sent(NamedTuple):
    """Bytes of one call.

    Attributes:
        pickled: function and arguments, as the library pickles them.
        to_scheduler: all that is sent to the scheduler, or None if that is unknown.
        to_worker: all that the scheduler sends to workers.
    """

    pickled: float
    to_scheduler: float | None = None
    to_worker: float | None = None


def dask(backend: Backend, function: Function, task: Task[[int], None]) -> tuple[Sent, Sent]:
    """Return the bytes with Dask's client, and in a flow."""
    import distributed

    assert isinstance(backend.runner, DaskTaskRunner)
    with pickled_by_dask() as sizes, logging_at(logging.WARNING):

        def sent_to_workers() -> int:
            return sum(stream.byte_count for stream in backend.cluster.scheduler.stream_comms.values())

        def counted(client: Any, submit: Callable[[], list[Any]]) -> Sent:
            _wait_for(submit())
            sizes.clear()
            before = client.scheduler_comm.byte_count, sent_to_workers()
            _wait_for(submit())
            after = client.scheduler_comm.byte_count, sent_to_workers()
            return Sent(sum(sizes) / CALLS, (after[0] - before[0]) / CALLS, (after[1] - before[1]) / CALLS)

        @flow(task_runner=backend.runner)
        def body() -> Sent:
            with get_dask_client() as client:
                return counted(client, lambda: [task.submit(number) for number in range(CALLS)])

        with distributed.Client(backend.runner.address, set_as_default=False) as client:
            raw = counted(client, lambda: [client.submit(function, n, pure=False) for n in range(CALLS)])
        return raw, body()


@contextlib.contextmanager
def pickled_by_dask() -> Iterator[list[int]]:
    """Collect the sizes of all graphs that this process's clients send in the block. A single call has one entry."""
    import distributed
    from distributed.protocol import dumps

    sizes: list[int] = []
    original = distributed.Client._send_to_scheduler

    def counting(client: Any, message: dict[str, Any]) -> None:
        if "expr_ser" in message:
            sizes.append(sum(memoryview(frame).nbytes for frame in dumps(message["expr_ser"])))
        original(client, message)

    with mock.patch.object(distributed.Client, "_send_to_scheduler", counting):
        yield sizes


def _wait_for(futures: list[Any]) -> None:
    for future in futures:
        future.result()


def ray(backend: Backend, function: Function, task: Task[[int], None]) -> tuple[Sent, Sent]:
    """Return the bytes with only Ray, and in a flow. The function itself is sent once."""

    @flow(task_runner=backend.runner)
    def body() -> None:
        _wait_for([task.submit(number) for number in range(CALLS)])

    def counted(work: Callable[[], Any]) -> Sent:
        with pickled_by_ray() as sizes:
            work()
        return Sent(sum(sizes) / CALLS)

    with logging_at(logging.WARNING):
        return counted(lambda: backend.raw(function, CALLS)), counted(body)


@contextlib.contextmanager
def pickled_by_ray() -> Iterator[list[int]]:
    """Collect the sizes of the arguments of each remote call that this process makes in the block."""
    from ray import cloudpickle
    from ray.remote_function import RemoteFunction

    sizes: list[int] = []
    original = RemoteFunction._remote

    def counting(remote: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        sizes.append(sum(len(cloudpickle.dumps(value)) for value in (*(args or ()), *(kwargs or {}).values())))
        return original(remote, args, kwargs, **options)

    with mock.patch.object(RemoteFunction, "_remote", counting):
        yield sizes


SENT = {"dask": dask, "ray": ray}
