"""A task run in the process of a Ray worker: how it gets there and what it leaves.

It leaves two objects: the result, which stays where it is until somebody needs it, and news of the end,
which Ray gives to the driver at once because they are small. A small result goes with the news.
"""

from __future__ import annotations

import contextvars
import functools
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from flowcluster import logs, texts
from flowcluster.context import RunInfo
from flowcluster.runners import worker_body
from flowcluster.runners.failure import NamedResult, TaskFailure, unsendable
from flowcluster.runners.ray import project
from flowcluster.runners.ray.records import outbox
from flowcluster.runners.ray.results import pack, unpack
from flowcluster.runners.ray.waiting import place
from flowcluster.waiting import occupying

#: Results up to this size, in bytes when packed, go to the driver with the news.
SMALL = 2_048

#: How the news of a run begin that completed and has nothing more to tell, as nearly all of them. If its
#: result is small, it follows.
_RESULT, _NO_RESULT = b"r", b"-"


class News(NamedTuple):
    """What the driver has to know of the end of a task run.

    Attributes:
        result: packed, if the run completed and it is small.
        failure: if the run did not complete.
        records: log records that were not sent before.
        batches: how many batches of records were sent before.
        name: of the state, if it is not the usual one.
        printed: id of the worker's process, and bytes written to its stdout and its stderr; None for none.
    """

    result: bytes | None
    failure: TaskFailure | None = None
    records: Sequence[dict[str, Any]] = ()
    batches: int = 0
    printed: tuple[int, int, int] | None = None
    name: str | None = None


def read(news: bytes) -> News:
    """News as `execute` leaves them."""
    if news == _NO_RESULT:
        return News(None)
    if news[:1] == _RESULT:
        return News(news[1:])
    told: News = pickle.loads(news)
    return told


def function_for(code: bytes, name: str) -> Callable[..., Any]:
    """The function that Ray is to call for all runs of a task; Ray shows its name."""

    def run(call: bytes, *upstream: Any) -> tuple[bytes, Any]:
        return execute(code, call, upstream)

    # A worker of Ray (2.60) ends itself at a name that ASCII does not have.
    run.__name__ = run.__qualname__ = texts.as_name(name, in_ascii=True)
    return run


def dump_call(info: RunInfo, topic: str, arguments: bytes) -> bytes:
    """What `execute` needs to know of one run."""
    return pickle.dumps((tuple(info), topic, arguments), protocol=5)


def execute(code: bytes, call: bytes, upstream: tuple[Any, ...]) -> tuple[bytes, Any]:
    """Execute one task run: news of its end and its result. Never raises."""
    parts, topic, arguments = pickle.loads(call)
    info = RunInfo(*parts)
    before = _written()
    outbox.begin(key(topic, info.name, info.attempt))
    with occupying(place):
        result, name = _result(code, info, arguments, upstream)
    written = _written()
    records, batches = outbox.end()
    small = result if type(result) is bytes and len(result) <= SMALL else None
    failure = result if type(result) is TaskFailure else None
    if failure is None and name is None and not records and not batches and written == before:
        return _NO_RESULT if small is None else _RESULT + small, result
    printed = (os.getpid(), written[0] - before[0], written[1] - before[1]) if written != before else None
    return pickle.dumps(News(small, failure, records, batches, printed, name), protocol=5), result


def key(topic: str, run_name: str, attempt: int) -> str:
    """Under which records of one execution of a task run are sent while it goes on."""
    return f"{topic}/{texts.digest(run_name)}/{attempt}/"


def _result(code: bytes, info: RunInfo, arguments: bytes, upstream: tuple[Any, ...]) -> tuple[Any, str | None]:
    """The result, packed, or a `TaskFailure`; and the name of the state, if it is not the usual one."""

    def inputs() -> Sequence[Any]:
        return [one if type(one) is TaskFailure else unpack(one) for one in upstream]

    leave = functools.partial(_packed, info)
    # A worker executes one task after the other in one thread: what one sets must not reach the next.
    context = contextvars.copy_context()
    left: tuple[Any, str | None]
    left = context.run(worker_body.run_task, code, info, arguments, inputs, _forwarding, project.fetch, leave)
    return left


def _packed(info: RunInfo, result: Any) -> tuple[Any, str | None]:
    name = None
    if type(result) is TaskFailure:
        return result, None
    if type(result) is NamedResult:
        name, result = result
    try:
        return pack(result), name
    except BaseException as error:
        return unsendable(info.name, result, error), None


@functools.cache
def _forwarding() -> logs.ForwardHandler:
    return logs.ForwardHandler(lambda _, record: outbox.put(record))


def _written() -> tuple[int, int]:
    """Bytes in the files that Ray shows the worker's stdout and stderr from."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # Ray's own wrapper writes a line's end apart from the line, and whoever reads the file at the wrong
        # moment takes half a line for a whole one.
        if type(stream).__name__ == "Unbuffered":
            setattr(sys, name, stream.stream)
        try:
            stream.flush()
        except Exception:
            pass  # the task put something else in its place
    return os.fstat(1).st_size, os.fstat(2).st_size
