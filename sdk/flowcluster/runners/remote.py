"""The worker's side: executes one task run in a process that knows nothing of the flow.

What travels there is the task's code (once, `arguments.dump_code`), the project's modules (once for a process), the
arguments, and the results of upstream runs in place of the slots. What comes back is the bare result, so that it
stays where it is until a run or the flow needs it, or a `TaskFailure`.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from flowcluster import child_processes, context, logs, prints, states, task_pickles
from flowcluster.context import RunInfo
from flowcluster.nesting import Slot, replace
from flowcluster.project import modules
from flowcluster.project.shared import Reference, public
from flowcluster.runners.code_cache import CodeCache
from flowcluster.runners.failure import NamedResult, TaskFailure
from flowcluster.states import State


class _Upstream(Exception):
    """Something among the inputs did not complete; its argument is the name of that run."""


#: Gives the packed project of a place, on a worker.
Fetch = Callable[[str], bytes]


def execute(
    code: bytes,
    info: RunInfo,
    arguments: bytes,
    upstream: Callable[[], Sequence[Any]],
    fetch: Fetch,
    left: Callable[[Any], Any],
) -> Any:
    """Execute a task run on a Dask worker: what `carry_out` gives. Never raises."""
    return carry_out(code, info, arguments, upstream, _forwarding, fetch, left)


def carry_out(
    code: bytes,
    info: RunInfo,
    arguments: bytes,
    upstream: Callable[[], Sequence[Any]],
    forwarding: Callable[[], logs.ForwardHandler],
    fetch: Fetch,
    left: Callable[[Any], Any] = lambda result: result,
) -> Any:
    """Execute a task run: its result, as a `NamedResult` where it has a name, or a `TaskFailure`. Never raises.

    Args:
        code: what `arguments.dump_code` gave.
        info: which run it is.
        arguments: pickled.
        upstream: gives the results of upstream runs; it is called where the project's modules can be imported.
        forwarding: gives the handler that sends the run's log lines; the same one each time.
        fetch: gives the packed project of a place.
        left: called with the result, also where the project's modules can be imported; gives what is returned.
    """
    prints.install()  # before a reference to `print` is loaded
    child_processes.prepare()
    with contextlib.ExitStack() as project:
        try:
            loading = _codes(code)
            project.enter_context(modules.using(loading.reference, fetch))
            task_pickles.install()
        except BaseException as error:
            return left(not_loaded(info, error))
        return left(_carry_out(loading, info, arguments, upstream, forwarding))


def _carry_out(
    code: _Code,
    info: RunInfo,
    arguments: bytes,
    upstream: Callable[[], Sequence[Any]],
    forwarding: Callable[[], logs.ForwardHandler],
) -> Any:
    try:
        body, shared = code.loaded()
        args, kwargs = fill(pickle.loads(arguments), upstream())
    except _Upstream as blocked:
        return TaskFailure(info.name, states.upstream_not_ready(str(blocked)))
    except BaseException as error:
        return not_loaded(info, error)
    if shared.topic is not None:
        logs.forward(forwarding(), shared.level, modules.also_as_loaded(shared.loggers))
    try:
        state = _executed(shared.spec.is_async, body(shared, info, args, kwargs))
    except BaseException as error:
        # Beside its function: `sys.exit` in an `asyncio.Task` that it started, for instance.
        state = states.crashed(f"Task run was broken off: {states.describe(error)}", error)
    if not state.is_completed():
        if shared.topic is not None and (remedy := _remedy(state.data)):
            state.data.add_note(remedy)
        return TaskFailure(info.name, state)
    return state.data if state.name == "Completed" else NamedResult(state.name, state.data)


def _executed(is_async: bool, execution: Coroutine[Any, Any, State]) -> State:
    if is_async:
        import asyncio

        return asyncio.run(execution)
    from flowcluster.waiting import drive

    return drive(execution)


def not_loaded(info: RunInfo, error: BaseException) -> TaskFailure:
    """What is left of a run whose code or arguments this process cannot make sense of."""
    message = f"Task run could not be loaded on the worker: {states.describe(error)}"
    if remedy := _remedy(error):
        error.add_note(remedy)
        message = f"{message}. {remedy}"
    return TaskFailure(info.name, states.failed(message, error))


def _remedy(error: Any) -> str | None:
    """What to do about an exception that says that the worker does not have a module; None for any other."""
    if type(error) is not ModuleNotFoundError or not error.name:
        return None
    return (
        f"Install {public(error.name).partition('.')[0]!r} where the workers run. What comes with the flow run are "
        "modules below the folder of the script, or below the working directory, that import statements name."
    )


def fill(arguments: Any, upstream: Sequence[Any]) -> Any:
    """The arguments with results of upstream runs in their slots."""
    if not upstream:
        return arguments

    def result(slot: Slot, _: bool) -> Any:
        value = upstream[slot.index]
        if not isinstance(value, TaskFailure):
            return value
        if slot.allow_failure and value.type in states.FINAL:
            return value.state().exception()
        raise _Upstream(value.run_name)

    return replace(arguments, lambda leaf, allowed: result(leaf, allowed) if isinstance(leaf, Slot) else leaf)


class _Code:
    """A task's code on the way from bytes to objects, which takes two steps: the second needs the project's modules.

    Attributes:
        reference: the project, and how to get it.
    """

    def __init__(self, code: bytes) -> None:
        self.reference: Reference | None
        self._data: bytes | None
        self.reference, self._data = pickle.loads(code)
        self._loaded: Any = None

    def loaded(self) -> Any:
        """Return what is executed, and what all runs of the task share. Raises what loading raises."""
        data = self._data
        if data is not None:
            body, shared = pickle.loads(data)
            if shared.process == context.PROCESS:
                shared.topic = None  # the worker is a thread of the driver, whose log lines are at home here
            self._loaded = body, shared
            self._data = None  # only now: another thread may be here, too
        return self._loaded


_codes = CodeCache(_Code, lambda code, _: len(code))


# Functions of a project that is imported again are other ones.
modules.on_drop.append(_codes.clear)


@functools.cache
def _forwarding() -> logs.ForwardHandler:
    """The handler that sends records of task runs to their drivers."""
    from distributed import get_worker

    first = get_worker()

    def send(topic: str, data: dict[str, Any]) -> None:
        try:
            worker = get_worker()
        except ValueError:  # a thread that the task started
            worker = first
        worker.log_event(topic, data)

    return logs.ForwardHandler(send)
