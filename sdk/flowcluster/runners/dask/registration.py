"""Install the plugins in a scheduler and its workers, and call the scheduler's plugin."""

from __future__ import annotations

import functools
import pickle
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from flowcluster import states
from flowcluster._util import pickling
from flowcluster.errors import ClusterUnreachable
from flowcluster.runners.dask import messages, scheduler_plugin, worker_plugin
from flowcluster.runners.dask.scheduler_plugin import NAME, SchedulerSide
from flowcluster.runners.dask.worker_plugin import WorkerSide
from flowcluster.runners.sharing import Share


class _SentPlugin(SchedulerPlugin):  # type: ignore[misc] # distributed is not typed
    """An object that becomes a `SchedulerSide` when the scheduler unpickles it. It contains that plugin by value."""

    name = NAME
    idempotent = True

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (_scheduler_side(),)


@functools.cache
def _scheduler_side() -> bytes:
    worker_side = pickling.dumps_by_value(WorkerSide(), worker_plugin)
    return pickling.dumps_by_value(SchedulerSide(worker_side), scheduler_plugin, messages)


def open_session(client: Any, session: str, is_first: bool, run: str | None) -> Share:
    """Make the scheduler's plugin send messages about task runs whose keys end with `session`.

    Args:
        client: of the session.
        session: its id.
        is_first: whether to install the plugin first, in case the scheduler does not have it.
        run: UID of the session's FlowRun on a shared cluster.

    Returns:
        The share of the run.

    Raises:
        ClusterUnreachable: the scheduler refuses the plugin or the session.
    """
    try:
        if is_first:
            client.register_plugin(_SentPlugin())
        # Without a run, the argument is omitted: the plugin can be of a version of flowcluster that does not have it.
        of_run = {} if run is None else {"run": run}
        share = client.sync(getattr(client.scheduler, f"{NAME}-open"), session=session, client=client.id, **of_run)
        return Share(*share) if share else Share()
    except Exception as error:
        raise ClusterUnreachable(
            f"The Dask scheduler at {client.scheduler.address} refused the plugin {NAME!r} that reports task runs "
            f"({states.describe(error)}). It has to allow plugins (see distributed.scheduler.blocked-handlers in its "
            "settings) and to run the same versions of Python and distributed as the flow."
        ) from error


def put_code(client: Any, name: str, code: bytes) -> None:
    """Put code that workers need for many runs into the scheduler's plugin; `name` ends with the session's id."""
    client.sync(getattr(client.scheduler, f"{NAME}-keep"), name=name, code=code)


def close_session(client: Any, session: str) -> None:
    """Remove a session from the scheduler's plugin before its client disconnects."""
    client.sync(getattr(client.scheduler, f"{NAME}-close"), session=session)
