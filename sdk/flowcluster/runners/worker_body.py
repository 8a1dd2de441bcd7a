"""Run one task on a worker, which is a process without the flow. The runners for Dask and Ray share this module.

The worker gets the task's code (once, `arguments.dump_code`), the project's modules (once for each process), the
arguments, and the results of upstream runs for the slots. It returns the result without its state, so the result can
stay on the worker until a run or the flow needs it. In place of a result, it can return a `TaskFailure`.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from flowcluster import context, states
from flowcluster._output import logs, prints
from flowcluster.context import RunInfo
from flowcluster.futures.nesting import Slot, replace
from flowcluster.project import modules
from flowcluster.project.source import Reference, public
from flowcluster.runners import child_processes, task_pickles
from flowcluster.runners.code_cache import CodeCache
from flowcluster.runners.failure import NamedResult, TaskFailure
from flowcluster.states import State


class _UpstreamFailed(Exception):
    """An upstream run did not complete; the argument is the name of that run."""


#: Returns, on a worker, the packed project from the place that a `Reference` names.
Fetch = Callable[[str], bytes]


def run_task(
    code: bytes,
    info: RunInfo,
    arguments: bytes,
    upstream: Callable[[], Sequence[Any]],
    forwarding: Callable[[], logs.ForwardHandler],
    fetch: Fetch,
    leave: Callable[[Any], Any] = lambda outcome: outcome,
) -> Any:
    """Run a task, and return the value of `leave` for its outcome. Never raises, unless `leave` does.

    The outcome is the result, a `NamedResult` if the final state has a name of its own, or a `TaskFailure`.

    Args:
        code: the bytes that `arguments.dump_code` returned.
        info: identifies the run.
        arguments: the run's arguments, pickled.
        upstream: returns the results of upstream runs. The project's modules can be imported when it is called.
        forwarding: returns the handler that sends the run's log lines; the same one each time.
        fetch: see `Fetch`.
        leave: called with the outcome. The project's modules can be imported when it is called.
    """
    prints.install()  # before this process unpickles a reference to `print`
    child_processes.prepare()
    with contextlib.ExitStack() as project:
        try:
            loading = _codes(code)
            project.enter_context(modules.using(loading.reference, fetch))
            task_pickles.install()
        except BaseException as error:
            return leave(not_loaded(info, error))
        return leave(_run_loaded(loading, info, arguments, upstream, forwarding))


def _run_loaded(
    code: _Code,
    info: RunInfo,
    arguments: bytes,
    upstream: Callable[[], Sequence[Any]],
    forwarding: Callable[[], logs.ForwardHandler],
) -> Any:
    try:
        body, payload = code.loaded()
        args, kwargs = fill(pickle.loads(arguments), upstream())
    except _UpstreamFailed as failed:
        return TaskFailure(info.name, states.upstream_not_ready(str(failed)))
    except BaseException as error:
        return not_loaded(info, error)
    if payload.topic is not None:
        logs.forward(forwarding(), payload.level, modules.also_as_loaded(payload.loggers))
    try:
        state = _run_body(payload.spec.is_async, body(payload, info, args, kwargs))
    except BaseException as error:
        # From outside the function, such as `sys.exit` in an `asyncio.Task` that the function started.
        state = states.crashed(f"Task run was broken off: {states.describe(error)}", error)
    if not state.is_completed():
        if payload.topic is not None and (remedy := _remedy(state.data)):
            state.data.add_note(remedy)
        return TaskFailure(info.name, state)
    return state.data if state.name == "Completed" else NamedResult(state.name, state.data)


def _run_body(is_async: bool, execution: Coroutine[Any, Any, State]) -> State:
    if is_async:
        import asyncio

        return asyncio.run(execution)
    from flowcluster._util.waiting import drive

    return drive(execution)


def not_loaded(info: RunInfo, error: BaseException) -> TaskFailure:
    """Return the failure of a run whose code or arguments this process could not load, because of `error`."""
    message = f"Task run could not be loaded on the worker: {states.describe(error)}"
    if remedy := _remedy(error):
        error.add_note(remedy)
        message = f"{message}. {remedy}"
    return TaskFailure(info.name, states.failed(message, error))


def _remedy(error: Any) -> str | None:
    """Return the remedy for a module that the worker does not have; None for an exception of another kind."""
    if type(error) is not ModuleNotFoundError or not error.name:
        return None
    return (
        f"Install {public(error.name).partition('.')[0]!r} where the workers run. A flow run sends only modules below "
        "the folder of the script, or below the working directory, that import statements name."
    )


def fill(arguments: Any, upstream: Sequence[Any]) -> Any:
    """Return the arguments with results of upstream runs in their slots.

    Raises:
        _UpstreamFailed: a run did not complete, and its slot does not allow failures.
    """
    if not upstream:
        return arguments

    def result(slot: Slot, _: bool) -> Any:
        value = upstream[slot.index]
        if not isinstance(value, TaskFailure):
            return value
        if slot.allow_failure and value.type in states.FINAL:
            return value.state().exception()
        raise _UpstreamFailed(value.run_name)

    return replace(arguments, lambda leaf, allowed: result(leaf, allowed) if isinstance(leaf, Slot) else leaf)


class _Code:
    """A task's code, which is loaded in two steps: the second one needs the project's modules.

    Attributes:
        reference: identifies the project, and its place for `Fetch`; None without a project.
    """

    def __init__(self, code: bytes) -> None:
        self.reference: Reference | None
        self._data: bytes | None
        self.reference, self._data = pickle.loads(code)
        self._loaded: Any = None

    def loaded(self) -> Any:
        """Return the `body` and `payload` of a `TaskCall`. Exceptions from unpickling are raised."""
        data = self._data
        if data is not None:
            body, payload = pickle.loads(data)
            if payload.process == context.PROCESS:
                payload.topic = None  # the worker is a thread of the driver, which logs the lines itself
            self._loaded = body, payload
            self._data = None  # only now: another thread can load it at the same time
        return self._loaded


_codes = CodeCache(_Code, lambda code, _: len(code))


# When a worker imports a project again, its functions are other objects.
modules.on_drop.append(_codes.clear)
