"""Messages about task runs, from the plugin in a scheduler to the session of a flow run.

A message is sent as a list: its kind, the key of its task run, and its other fields. A message about the whole session
has an empty key. Flow runs of several versions can share a scheduler, so the lists must stay the same as long as the
plugin has the same name.

The SDK sends the classes by value with the plugin, because a scheduler does not need flowcluster. So this module
imports only the standard library.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Started(NamedTuple):
    """A worker starts to execute the task run.

    Attributes:
        key: of the task run.
        worker: address of the worker.
    """

    key: str
    worker: str


class Outcome(NamedTuple):
    """The report of the worker at the end of a task run.

    Attributes:
        is_failure: whether the result is a `TaskFailure`.
        data: the result, pickled, if it is small.
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
        began, ended: when the function was called and when it ended, in seconds since the epoch; 0 if unknown.
        nbytes: size of the result in the worker's memory, as Dask measures it.
        outcome: the fields of an `Outcome`; None if the worker reported none.
    """

    key: str
    worker: str
    began: float
    ended: float
    nbytes: int
    outcome: list[Any] | None


class Erred(NamedTuple):
    """Dask abandoned the task run because of an error outside its function.

    Attributes:
        key: of the task run.
        blamed: key of the task with the error.
        exception: the error, as ``distributed.core.clean_exception`` accepts it.
    """

    key: str
    blamed: str
    exception: Any


class WorkerLost(NamedTuple):
    """The worker that executed the task run is lost.

    Attributes:
        key: of the task run.
        worker: address of the worker.
    """

    key: str
    worker: str


class InputsLost(NamedTuple):
    """The scheduler took the task run from a worker that executed it and still exists.

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
        offers: resources of each worker, by its address.
    """

    key: str
    requested: dict[str, float]
    offers: dict[str, dict[str, float]]


class RunOver(NamedTuple):
    """The FlowRun of the session is over. The scheduler has released all its tasks and results."""


class ShareChanged(NamedTuple):
    """The FlowRun's share of a shared cluster has changed.

    Attributes:
        priority: of its tasks among those of other runs.
        threads: largest number of its tasks in flight; None without a limit.
    """

    priority: int
    threads: int | None


#: Messages of the plugin about one task run, and all messages of the plugin.
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
    """Return a message as the list that is sent."""
    kind = _KINDS[type(message)]
    return [kind, *message] if kind in _OF_TASK_RUNS else [kind, "", *message]


def from_list(data: list[Any]) -> PluginMessage:
    """Return the message in a list.

    Raises:
        KeyError: the kind of message is unknown.
    """
    kind, key, *fields = data
    message: PluginMessage = _OF_TASK_RUNS[kind](key, *fields) if kind in _OF_TASK_RUNS else _OF_SESSIONS[kind](*fields)
    return message


class Cancelled(NamedTuple):
    """The scheduler itself reports that it does not compute a key. The plugin does not send this message.

    Attributes:
        key: of the task run.
        reason: the cause, as the scheduler names it; None from a scheduler without reasons.
    """

    key: str
    reason: str | None


class SchedulerGone(NamedTuple):
    """The client has lost its scheduler, or the scheduler was restarted. The plugin does not send this message."""


#: All messages that a session reads.
Message = PluginMessage | Cancelled | SchedulerGone
