"""What a Dask scheduler and its workers have to know about task runs, so that none is lost and none repeated.

Dask recomputes what a dead worker held and repeats what it was busy with. A task run must do neither: it
may have written a file or sent a letter. So the scheduler is told which keys are task runs, workers tell
it when one begins, and both are sent back at once how each ended.

Instances travel by value: a scheduler or worker needs no flowcluster for them. Hence only the standard
library, distributed and `messages`, which travels with them, are used here.
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

#: Name of both plugins and of everything that is sent for them. To be counted up when its meaning
#: changes: flow runs of several versions may share a scheduler.
NAME = "flowcluster-2"

#: The last characters of a task run's key are its session's id, which begins with this mark.
ID_LENGTH, ID_MARK = 16, "fc"

#: Dask gives a task up when it was sent to so many workers that died; here only started ones are given up.
_NEVER = -1_000_000_000

#: Name of the plugin by which a shared cluster's keeper knows the runs on it: see `flowcluster.agent.runs_side`.
_RUNS = "flowcluster-runs"
#: Sessions of runs that are over, to be remembered.
_LIMIT = 10_000


class SchedulerSide(SchedulerPlugin):  # type: ignore[misc] # distributed is not typed
    """Watches over the task runs of all sessions that were opened with it.

    Tells a session's client of each of its runs: that it has begun, how it ended and what it returned if
    that is small, that its worker was lost, that no worker has the resources that it asks for.
    """

    name = NAME
    idempotent = True

    def __init__(self, worker_side: bytes) -> None:
        self.worker_side = worker_side

    async def start(self, scheduler: Any) -> None:
        """Called by the scheduler before anything else."""
        self.scheduler = scheduler
        self.sessions: dict[str, str] = {}  # its id → its client's
        self.runs: dict[str, str] = {}  # id of a session → UID of the run on a shared cluster that it is of
        self.ended: dict[str, None] = {}  # ids of sessions whose run is over
        self.started: dict[str, str] = {}  # key of a run → the worker that executes it
        self.codes: dict[str, dict[str, bytes]] = {}  # a session's id → name and text of what its runs execute
        self.unsent: dict[str, list[PluginMessage]] = {}  # id of a session → its next messages
        scheduler.handlers[f"{NAME}-open"] = self.open_session
        scheduler.handlers[f"{NAME}-close"] = self.close_session
        scheduler.handlers[f"{NAME}-keep"] = self.put_code
        scheduler.handlers[f"{NAME}-give"] = self.get_code
        scheduler.handlers[f"{NAME}-may-start"] = self.may_start
        scheduler.stream_handlers[f"{NAME}-started"] = self.run_started
        await scheduler.register_worker_plugin(None, self.worker_side, name=NAME, idempotent=True)

    def open_session(self, session: str, client: str, run: str | None = None) -> Any:
        """From now on, keys that end with `session` are task runs of `client`.

        Args:
            session: its id.
            client: id of the client that the session uses; on a worker, sessions of several runs use one client.
            run: UID of the run on a shared cluster that the session is of.

        Returns:
            Priority of the run's tasks, and its tasks in flight at most; None where there is no keeper that knows.

        Raises:
            RuntimeError: the run is over.
        """
        known = self.scheduler.plugins.get(_RUNS)
        if run is not None and known is not None and run in known.over:
            raise RuntimeError("the FlowRun that this is part of is over")
        self.sessions[session] = client
        if run is None:
            return None
        self.runs[session] = run
        return known.share_of(run) if known is not None else None

    def runs_present(self) -> set[str]:
        """Return the UIDs of the runs on a shared cluster that have sessions."""
        return set(self.runs.values())

    def release_run(self, run: str) -> None:
        """End all sessions of a run that is over. Tasks that still execute on workers get nothing executed any more."""
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
        """Inform all sessions of a run what it can use from now on."""
        for session in [session for session, uid in self.runs.items() if uid == run]:
            self._send(session, [ShareChanged(*share)])

    def update_graph(self, scheduler: Any, *, client: str, keys: Any, **kwargs: Any) -> None:
        """Called by the scheduler when a client submits: what runs submit that are over is cancelled."""
        if self.ended and (late := [key for key in keys if _session_of(key) in self.ended]):
            asyncio.get_running_loop().call_soon(self._cancel, late, client)

    def _cancel(self, keys: list[Any], client: str | None) -> None:
        if keys and client in self.scheduler.clients:
            self.scheduler.client_releases_keys(keys=keys, client=client)
            reason = {"reason": "run is over", "msg": "The FlowRun that submitted this is over."}
            self.scheduler.client_send(client, {"op": "cancelled-keys", "keys": keys, **reason})

    def close_session(self, session: str) -> str:
        """Forget a session; its keys are ordinary ones from now on."""
        self.codes.pop(session, None)
        self.runs.pop(session, None)
        if self.sessions.pop(session, None):
            for key in [key for key in self.started if key.endswith(session)]:
                del self.started[key]
        return "OK"

    def put_code(self, name: str, code: bytes) -> str:
        """Keep what many runs of a session have in common, for the workers; `name` ends with the session's id."""
        self.codes.setdefault(name[-ID_LENGTH:], {})[name] = code
        return "OK"

    def get_code(self, name: str) -> bytes | None:
        """Return what `put_code` got under this name; None when the session is over."""
        return self.codes.get(name[-ID_LENGTH:], {}).get(name)

    def remove_client(self, scheduler: Any, client: str) -> None:
        """Called by the scheduler: the sessions of a client end with it."""
        for session in [session for session, owner in self.sessions.items() if owner == client]:
            self.close_session(session)

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """Called by the scheduler: a new worker may be the first one whose resources are known."""
        for ts in list(scheduler.unrunnable):
            self._check_resources(ts)

    def run_started(self, key: str, worker: str) -> None:
        """A worker says that it begins with a run."""
        self.may_start(key, worker)

    def may_start(self, key: str, worker: str) -> bool:
        """A worker begins with a run; whether that is still wanted."""
        ts = self.scheduler.tasks.get(key)
        if ts is None or ts.processing_on is None or ts.processing_on.address != worker:
            return False
        self.started[key] = worker
        self._report(Started(key, worker))
        return True

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Called by the scheduler whenever a task of anybody changes its state."""
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
        # Without its code it is data like any other: what is lost stays lost, and its users are told.
        ts.run_spec = None
        self.started.pop(key, None)

    def _released(self, key: str, ts: Any) -> None:
        """A run was taken from its worker: it goes to another one, unless it had begun."""
        worker = self.started.pop(key, None)
        if worker is None:
            return
        # How the scheduler marks what cannot be computed; it forgets the run, and tells its users.
        ts.has_lost_dependencies = True
        if worker in self.scheduler.workers and key[-ID_LENGTH:] in self.runs:
            # It goes on with the run, which would keep a thread from tasks of others for as long as it takes.
            self.scheduler.worker_send(worker, {"op": f"{NAME}-abandon", "key": key})
        self._report(InputsLost(key, worker) if worker in self.scheduler.workers else WorkerLost(key, worker))

    def _check_resources(self, ts: Any) -> None:
        """Tell of a run that asks for more than any worker has. Workers that may still come are not waited for."""
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
            # One message of a worker can cause several messages: they are sent together.
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
    """Return the id at the end of a key; None for a key that cannot have one."""
    return key[-ID_LENGTH:] if type(key) is str else None


def _needs(ts: Any) -> Any:
    return (ts.resource_restrictions or {}).items()
