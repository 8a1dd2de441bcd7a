"""Messages about task runs, from the plugin in a scheduler to the session of a flow run.

A message travels as a list: its kind, the key of its task run, and its other fields. A message about the whole session
has an empty key. Flow runs of several versions can share a scheduler, so the lists must stay as they are for as long as
the plugin has the same name.

The classes travel by value with the plugin, because a scheduler does not need flowcluster. So this module imports only
the standard library.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Started(NamedTuple):
    """A worker begins to execute the task run.

    Attributes:
        key: of the task run.
        worker: address of the worker.
    """

    key: str
    worker: str


class Outcome(NamedTuple):
    """What the worker reports with the end of a task run.

    Attributes:
        is_failure: whether the task run left a `TaskFailure`.
        data: what it left, pickled, if that is small.
        name: of the final state, as UTF-8; None for the usual name.
    """

    is_failure: bool = False
    data: bytes | None = None
    name: bytes | None = None


class Finished(NamedTuple):
    """The function of the task run has returned or raised.

    Attributes:
        key: of the task run.
        worker: address of the worker that executed it.
        began, ended: when the function was called and left, in seconds since the epoch; 0 if that is not known.
        nbytes: size of what it left in the worker's memory, as Dask measures it.
        outcome: the fields of an `Outcome`; None if the worker reported none.
    """

    key: str
    worker: str
    began: float
    ended: float
    nbytes: int
    outcome: list[Any] | None


class Erred(NamedTuple):
    """Dask gave the task run up because of an error that is not of its function.

    Attributes:
        key: of the task run.
        blamed: key of the task whose error this is.
        exception: the error, as ``distributed.core.clean_exception`` takes it.
    """

    key: str
    blamed: str
    exception: Any


class WorkerLost(NamedTuple):
    """The worker that executed the task run is gone.

    Attributes:
        key: of the task run.
        worker: address of the worker.
    """

    key: str
    worker: str


class InputsLost(NamedTuple):
    """The scheduler took the task run from a worker that executed it and is still there.

    Attributes:
        key: of the task run.
        worker: address of the worker.
    """

    key: str
    worker: str


class NoSuchWorker(NamedTuple):
    """No worker has the resources that the task run requests.

    Attributes:
        key: of the task run.
        requested: amounts by the name of the resource.
        offers: what each worker has, by its address.
    """

    key: str
    requested: dict[str, float]
    offers: dict[str, dict[str, float]]


class RunOver(NamedTuple):
    """The FlowRun that the session is of is over; the scheduler has released all that it had there."""


class ShareChanged(NamedTuple):
    """What the FlowRun can use of a shared cluster has changed.

    Attributes:
        priority: of its tasks among those of other runs.
        threads: its tasks in flight at most; None without a bound.
    """

    priority: int
    threads: int | None


#: What the plugin sends about one task run, and about a session.
TaskRunMessage = Started | Finished | Erred | WorkerLost | InputsLost | NoSuchWorker
PluginMessage = TaskRunMessage | RunOver | ShareChanged

_OF_TASK_RUNS: dict[str, Any] = {
    "started": Started,
    "finished": Finished,
    "erred": Erred,
    "worker lost": WorkerLost,
    "inputs lost": InputsLost,
    "no such worker": NoSuchWorker,
}
_OF_SESSIONS: dict[str, Any] = {"over": RunOver, "share": ShareChanged}
_KINDS: dict[Any, str] = {made: kind for kind, made in {**_OF_TASK_RUNS, **_OF_SESSIONS}.items()}


def to_list(message: PluginMessage) -> list[Any]:
    """Return a message as it travels."""
    kind = _KINDS[type(message)]
    return [kind, *message] if kind in _OF_TASK_RUNS else [kind, "", *message]


def from_list(data: list[Any]) -> PluginMessage:
    """Return the message that a list has.

    Raises:
        KeyError: the kind of message is not known here.
    """
    kind, key, *fields = data
    message: PluginMessage = _OF_TASK_RUNS[kind](key, *fields) if kind in _OF_TASK_RUNS else _OF_SESSIONS[kind](*fields)
    return message


class Cancelled(NamedTuple):
    """The scheduler itself reports that it does not compute a key. The plugin does not send this message.

    Attributes:
        key: of the task run.
        reason: the scheduler's word for the cause; None from a scheduler that gives none.
    """

    key: str
    reason: str | None


class SchedulerGone(NamedTuple):
    """The client has lost its scheduler, or the scheduler was restarted. The plugin does not send this message."""


#: What a session reads.
Message = PluginMessage | Cancelled | SchedulerGone
