"""The final states of task runs whose function did not end on a Dask cluster, with messages for the user."""

from __future__ import annotations

from distributed.core import clean_exception

from flowcluster import states
from flowcluster.runners.dask.messages import Erred, InputsLost, NoSuchWorker, SchedulerGone, WorkerLost
from flowcluster.states import State

#: Messages about a task run whose function did not end.
Failure = Erred | WorkerLost | InputsLost | NoSuchWorker | SchedulerGone

#: The messages that can be the first sign of a cluster that is being deleted.
LOSSES = (WorkerLost, InputsLost, SchedulerGone)


def final_state(message: Failure) -> State:
    """Return the final state of the task run that a message is about."""
    if isinstance(message, WorkerLost):
        return states.crashed(
            f"Task run lost its worker {message.worker}, which ended while the task ran. If it was not stopped on "
            "purpose, it may have run out of memory: see its log."
        )
    if isinstance(message, InputsLost):
        return states.crashed(
            f"Task run was interrupted at {message.worker}: the worker that had its input was lost, or another client "
            "cancelled it on the cluster."
        )
    if isinstance(message, NoSuchWorker):
        return states.failed(_unmet(message))
    if isinstance(message, SchedulerGone):
        return states.crashed("Task run was cancelled when the cluster was restarted.")
    _, error, _ = clean_exception(message.exception)
    return states.crashed(f"Dask abandoned the task run: {states.describe(error)}", error)


def _unmet(message: NoSuchWorker) -> str:
    requested = ", ".join(f"{amount:g} {name}" for name, amount in message.requested.items())
    offered = "; ".join(
        f"{worker}: {', '.join(f'{have:g} {name}' for name, have in resources.items()) or 'none'}"
        for worker, resources in message.offers.items()
    )
    return (
        f"No worker of the cluster can run this task: it requests resources {requested}, and the workers offer "
        f"{offered}. Request less, or start workers with these resources."
    )
