"""The plugin in a Dask scheduler that reports task runs to the sessions that submitted them.

Dask repeats tasks whose results were on a lost worker, and tasks that this worker was executing. A task run must not be
repeated, because it can have written a file or sent a mail. So a session registers with the plugin, which knows task
runs by their keys. Workers report to the plugin when a run starts. The plugin reports immediately to the session when
the run starts and how it ends.

The SDK sends instances by value, because a scheduler does not need flowcluster. So this module imports only the
standard library, distributed and `messages`, which is sent with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from flowcluster.runners.dask.messages import (
    Erred,
    Finished,
    InputsLost,
    NoSuchWorker,
    PluginMessage,
    RunOver,
    ShareChanged,
    Started,
    TaskRunMessage,
    WorkerLost,
    to_list,
)

#: Name of both plugins, and prefix of the names of their handlers. Increase the number when the meaning of a message
#: or handler changes: flow runs of several versions can share a scheduler.
NAME = "flowcluster-2"

#: Length of a session's id, and its first characters. The keys of the session's task runs end with the id.
ID_LENGTH, ID_MARK = 16, "fc"

#: A value for Dask's counter of a task's lost workers. Dask abandons a task when this counter is too large. With this
#: value, it never does. The plugin abandons a task run only if it had started on a lost worker.
_NEVER = -1_000_000_000

#: Name of the plugin of a SharedCluster's keeper, which lists the FlowRuns on the cluster. It is defined in
#: `flowcluster.agent.shared_runs_plugin`.
_RUNS = "flowcluster-runs"
#: Largest number of ids that the plugin keeps of sessions whose FlowRun is over.
_LIMIT = 10_000


class SchedulerSide(SchedulerPlugin):  # type: ignore[misc] # distributed is not typed
    """Sends messages about the task runs of all sessions that were opened with it.

    Args:
        worker_side: the plugin for workers, pickled by value.
    """

    name = NAME
    idempotent = True

    def __init__(self, worker_side: bytes) -> None:
        self.worker_side = worker_side

    async def start(self, scheduler: Any) -> None:
        """Register handlers and the workers' plugin. The scheduler calls this first."""
        self.scheduler = scheduler
        self.sessions: dict[str, str] = {}  # id of a session → id of its client
        self.runs: dict[str, str] = {}  # id of a session → UID of its FlowRun on a shared cluster
        self.ended: dict[str, None] = {}  # ids of sessions whose run is over
        self.started: dict[str, str] = {}  # key of a run → the worker that executes it
        self.codes: dict[str, dict[str, bytes]] = {}  # id of a session → name and code of its tasks
        self.unsent: dict[str, list[PluginMessage]] = {}  # id of a session → its unsent messages
        scheduler.handlers[f"{NAME}-open"] = self.open_session
        scheduler.handlers[f"{NAME}-close"] = self.close_session
        scheduler.handlers[f"{NAME}-keep"] = self.put_code
        scheduler.handlers[f"{NAME}-give"] = self.get_code
        scheduler.handlers[f"{NAME}-may-start"] = self.may_start
        scheduler.stream_handlers[f"{NAME}-started"] = self.run_started
        await scheduler.register_worker_plugin(None, self.worker_side, name=NAME, idempotent=True)

    def open_session(self, session: str, client: str, run: str | None = None) -> Any:
        """Report task runs whose keys end with `session` to `client` from now on.

        Args:
            session: its id.
            client: id of the session's client. On a worker, sessions of several runs use one client.
            run: UID of the session's FlowRun on a shared cluster.

        Returns:
            Priority of the FlowRun's tasks, and the largest number of its tasks in flight. None on a cluster without a
            keeper.

        Raises:
            RuntimeError: the FlowRun is over.
        """
        known = self.scheduler.plugins.get(_RUNS)
        if run is not None and known is not None and run in known.over:
            raise RuntimeError("the FlowRun of this session is over")
        self.sessions[session] = client
        if run is None:
            return None
        self.runs[session] = run
        return known.share_of(run) if known is not None else None

    def runs_present(self) -> set[str]:
        """Return the UIDs of the FlowRuns on a shared cluster that have sessions."""
        return set(self.runs.values())

    def release_run(self, run: str) -> None:
        """End all sessions of a FlowRun that is over. Tasks that its tasks on workers submit later are cancelled."""
        for session in [session for session, uid in self.runs.items() if uid == run]:
            client = self.sessions.get(session)
            self.ended[session] = None
            while len(self.ended) > _LIMIT:
                del self.ended[next(iter(self.ended))]
            if (state := self.scheduler.clients.get(client)) is not None:
                self._send(session, [RunOver()])
                self._cancel([ts.key for ts in state.wants_what if _session_of(ts.key) == session], client)
            self.close_session(session)

    def share_changed(self, run: str, share: Any) -> None:
        """Send the new share of a FlowRun to all its sessions."""
        for session in [session for session, uid in self.runs.items() if uid == run]:
            self._send(session, [ShareChanged(*share)])

    def update_graph(self, scheduler: Any, *, client: str, keys: Any, **kwargs: Any) -> None:
        """Cancel new tasks of FlowRuns that are over. The scheduler calls this when a client submits."""
        if self.ended and (late := [key for key in keys if _session_of(key) in self.ended]):
            asyncio.get_running_loop().call_soon(self._cancel, late, client)

    def _cancel(self, keys: list[Any], client: str | None) -> None:
        if keys and client in self.scheduler.clients:
            self.scheduler.client_releases_keys(keys=keys, client=client)
            reason = {"reason": "run is over", "msg": "The FlowRun that submitted this is over."}
            self.scheduler.client_send(client, {"op": "cancelled-keys", "keys": keys, **reason})

    def close_session(self, session: str) -> str:
        """Remove a session. The plugin ignores its keys from now on."""
        self.codes.pop(session, None)
        self.runs.pop(session, None)
        if self.sessions.pop(session, None):
            for key in [key for key in self.started if key.endswith(session)]:
                del self.started[key]
        return "OK"

    def put_code(self, name: str, code: bytes) -> str:
        """Keep code of a session for its workers, such as that of a task. `name` ends with the session's id."""
        self.codes.setdefault(name[-ID_LENGTH:], {})[name] = code
        return "OK"

    def get_code(self, name: str) -> bytes | None:
        """Return the code with this name; None when the session is over."""
        return self.codes.get(name[-ID_LENGTH:], {}).get(name)

    def remove_client(self, scheduler: Any, client: str) -> None:
        """Close the sessions of a client that has disconnected. The scheduler calls this."""
        for session in [session for session, owner in self.sessions.items() if owner == client]:
            self.close_session(session)

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """Check the runs that no worker can execute. The scheduler calls this for each new worker."""
        for ts in list(scheduler.unrunnable):
            self._check_resources(ts)

    def run_started(self, key: str, worker: str) -> None:
        """Handle the message of a worker that it starts a run."""
        self.may_start(key, worker)

    def may_start(self, key: str, worker: str) -> bool:
        """Return whether a worker can start a run. If it can, record that the run has started."""
        ts = self.scheduler.tasks.get(key)
        if ts is None or ts.processing_on is None or ts.processing_on.address != worker:
            return False
        self.started[key] = worker
        self._report(Started(key, worker))
        return True

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Report changes of a task run. The scheduler calls this at each change of state of any task."""
        if type(key) is not str or key[-ID_LENGTH:] not in self.sessions:
            return
        ts = self.scheduler.tasks[key]
        if finish == "processing":
            ts.suspicious = _NEVER
        elif finish == "memory" and start == "processing":
            self._finished(key, ts, **kwargs)
        elif finish == "erred":
            self._ended(key, ts)
            blame = ts.exception_blame or ts
            self._report(Erred(key, blame.key, blame.exception))
        elif finish == "no-worker":
            self._check_resources(ts)
        elif start == "processing" and finish == "released":
            self._released(key, ts)

    def _finished(
        self, key: str, ts: Any, worker: str, nbytes: int, startstops: Any, metadata: Any, **kwargs: Any
    ) -> None:
        self._ended(key, ts)
        outcome = metadata.pop(NAME, None)
        ts.metadata = {name: value for name, value in (ts.metadata or {}).items() if name != NAME} or None
        began = ended = 0.0
        for part in startstops:
            if part["action"] == "compute":
                began, ended = part["start"], part["stop"]
        self._report(Finished(key, worker, began, ended, nbytes, outcome))

    def _ended(self, key: str, ts: Any) -> None:
        # Without its code, the task is plain data: Dask does not repeat it, and cancels its dependents when it is lost.
        ts.run_spec = None
        self.started.pop(key, None)

    def _released(self, key: str, ts: Any) -> None:
        """Handle a run that the scheduler took from its worker. Dask sends it to another one, unless it had started."""
        worker = self.started.pop(key, None)
        if worker is None:
            return
        # The scheduler has this mark for tasks that cannot be computed: it removes the run and cancels its dependents.
        ts.has_lost_dependencies = True
        if worker in self.scheduler.workers and key[-ID_LENGTH:] in self.runs:
            # The worker still executes the run. Until the end, its thread is not free for tasks of other runs.
            self.scheduler.worker_send(worker, {"op": f"{NAME}-abandon", "key": key})
        self._report(InputsLost(key, worker) if worker in self.scheduler.workers else WorkerLost(key, worker))

    def _check_resources(self, ts: Any) -> None:
        """Report a run that requests more resources than any worker has. Workers that can start later do not count."""
        workers = self.scheduler.workers.values()
        if not ts.resource_restrictions or not workers:
            return
        if not any(all(ws.resources.get(name, 0) >= need for name, need in _needs(ts)) for ws in workers):
            offers = {ws.address: ws.resources for ws in workers}
            self._report(NoSuchWorker(ts.key, ts.resource_restrictions, offers))

    def _report(self, message: TaskRunMessage) -> None:
        """Send a message about a task run to its session soon."""
        session = message.key[-ID_LENGTH:]
        if session not in self.sessions:
            return
        if not self.unsent:
            # One message of a worker can cause several messages. The plugin sends them together.
            asyncio.get_running_loop().call_soon(self._send_all)
        self.unsent.setdefault(session, []).append(message)

    def _send_all(self) -> None:
        unsent, self.unsent = self.unsent, {}
        for session, messages in unsent.items():
            self._send(session, messages)

    def _send(self, session: str, messages: Iterable[PluginMessage]) -> None:
        client = self.sessions.get(session)
        if client is not None:
            news = [to_list(message) for message in messages]
            self.scheduler.client_send(client, {"op": NAME, "session": session, "news": news})


def _session_of(key: Any) -> str | None:
    """Return the session's id at the end of a key; None for a key without a text."""
    return key[-ID_LENGTH:] if type(key) is str else None


def _needs(ts: Any) -> Any:
    return (ts.resource_restrictions or {}).items()
