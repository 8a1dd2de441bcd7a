"""Pickle the code and the arguments of task runs for other processes."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

from flowcluster import states
from flowcluster._util import pickling
from flowcluster.runners import unpicklable
from flowcluster.runners.base import TaskCall

#: Types whose values need no cloudpickle, which takes ten times as long.
PLAIN = frozenset({int, str, float, bool, bytes, type(None)})


def dump(call: TaskCall) -> bytes:
    """Return the positional and keyword arguments of a call as bytes for ``pickle.loads``.

    Raises:
        TypeError: an argument cannot be sent; the message has its name and type.
    """
    args, kwargs = call.args, call.kwargs
    if not kwargs and all(type(value) in PLAIN for value in args):
        return pickle.dumps((args, kwargs), protocol=5)
    try:
        return pickling.dumps((args, kwargs))
    except Exception as error:
        raise TypeError(f"{_culprit(call)} cannot be sent to a worker: {states.describe(error)}") from error


def dump_code(call: TaskCall) -> bytes:
    """Return the code of a call's task, which is the same for all its runs, for `worker_body.run_task`.

    Raises:
        TypeError: the code cannot be pickled; the message names the cause in the task's function if it is found.
    """
    try:
        code = pickling.dumps((call.body, call.payload))
    except Exception as error:
        found = unpicklable.culprit(call.payload.spec.function)
        uses = f"its function uses {found}" if found else "it uses something that cannot be pickled"
        raise TypeError(
            f"Task '{call.payload.spec.name}' cannot be sent to a worker: {uses} ({states.describe(error)}). Make it "
            "inside the task, or keep it out of what the task uses."
        ) from (None if found else error)
    # One pickle inside another: a worker needs the project's modules to load the inner one.
    return pickle.dumps((call.payload.project, code), protocol=5)


def _culprit(call: TaskCall) -> str:
    for name, value in _by_name(call).items():
        try:
            pickling.dumps(value)
        except Exception:
            return f"Argument {name!r}, of type {type(value).__name__},"
    return "A combination of arguments"


def _by_name(call: TaskCall) -> dict[str, Any]:
    try:
        return dict(inspect.signature(call.payload.spec.function).bind(*call.args, **call.kwargs).arguments)
    except (TypeError, ValueError):
        # The function has no signature, or the arguments do not match it. In the second case, its call raises an error.
        return {**{str(place): value for place, value in enumerate(call.args)}, **call.kwargs}
