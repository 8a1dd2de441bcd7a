"""A task run in the process of a Ray worker: its code, its inputs and its results.

It returns two objects. The first is a report of the end, which Ray sends to the driver immediately because it is small.
The second is the result, which stays on the node until the flow or a run needs it. The report contains a small result.
"""

from __future__ import annotations

import contextvars
import functools
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any

from flowcluster._output import logs
from flowcluster._util import texts
from flowcluster._util.waiting import occupying_slot
from flowcluster.context import RunInfo
from flowcluster.runners import worker_body
from flowcluster.runners.failure import NamedResult, TaskFailure, unsendable
from flowcluster.runners.ray import project, reports
from flowcluster.runners.ray.records import outbox, run_key
from flowcluster.runners.ray.reports import EndReport
from flowcluster.runners.ray.stored_results import pack, unpack
from flowcluster.runners.ray.waiting import place

#: Results up to this size, in bytes when packed, are sent to the driver with the report.
SMALL = 2_048


def function_for(code: bytes, name: str) -> Callable[..., Any]:
    """Return the function that Ray calls for all runs of a task. Ray shows its name."""

    def run(call: bytes, *upstream: Any) -> tuple[bytes, Any]:
        return execute(code, call, upstream)

    # A worker of Ray (2.60) exits at a name that ASCII cannot encode.
    run.__name__ = run.__qualname__ = texts.as_name(name, in_ascii=True)
    return run


def dump_call(info: RunInfo, topic: str, arguments: bytes) -> bytes:
    """Return the data of one run for `execute`."""
    return pickle.dumps((tuple(info), topic, arguments), protocol=5)


def execute(code: bytes, call: bytes, upstream: tuple[Any, ...]) -> tuple[bytes, Any]:
    """Execute one task run, and return the report of its end and its result. Never raises."""
    parts, topic, arguments = pickle.loads(call)
    info = RunInfo(*parts)
    before = _written()
    outbox.begin(run_key(topic, info.name, info.attempt))
    with occupying_slot(place):
        result, name = _result(code, info, arguments, upstream)
    written = _written()
    records, batches = outbox.end()
    small = result if type(result) is bytes and len(result) <= SMALL else None
    failure = result if type(result) is TaskFailure else None
    printed = (os.getpid(), written[0] - before[0], written[1] - before[1]) if written != before else None
    return reports.dump(EndReport(small, failure, records, batches, printed, name)), result


def _result(code: bytes, info: RunInfo, arguments: bytes, upstream: tuple[Any, ...]) -> tuple[Any, str | None]:
    """Return the packed result or a `TaskFailure`, and the name of the final state (None for the usual name)."""

    def inputs() -> Sequence[Any]:
        return [one if type(one) is TaskFailure else unpack(one) for one in upstream]

    leave = functools.partial(_packed, info)
    # A worker executes its tasks in one thread. The context variables of one task must not affect the next one.
    context = contextvars.copy_context()
    outcome: tuple[Any, str | None]
    outcome = context.run(worker_body.run_task, code, info, arguments, inputs, _forwarding, project.fetch, leave)
    return outcome


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
    """Return the sizes in bytes of the files from which Ray shows the worker's stdout and stderr."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # Ray's own wrapper writes the end of a line separately. A process that reads the file in between takes the
        # line for a complete one.
        if type(stream).__name__ == "Unbuffered":
            setattr(sys, name, stream.stream)
        try:
            stream.flush()
        except Exception:
            pass  # the task has replaced the stream
    return os.fstat(1).st_size, os.fstat(2).st_size
