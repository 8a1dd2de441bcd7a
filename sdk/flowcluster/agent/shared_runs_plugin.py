"""The plugin in a shared Dask scheduler that releases data and tasks of ended runs.

A run is identified by its UID. The ids of its clients contain the UID (`flowcluster_api.tags`). Sessions of the SDK
pass it to their own plugin, whose methods `runs_present`, `release_run` and `share_changed` this plugin calls.

The keeper sends this plugin by value: the scheduler's image can lack flowcluster. So this module imports only Dask.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from dask.utils import key_split
from distributed.diagnostics.plugin import SchedulerPlugin

NAME = "flowcluster-runs"

#: Calls with which one client would end the work of all other clients.
_REFUSED = ("terminate", "restart", "restart_workers")
#: Entries that exist longer than their client: the extension of the scheduler and its table, by the prefix of the name
#: of the pseudo client that holds their keys.
_TABLES = {
    "published": ("publish", "datasets"),
    "variable": ("variables", "variables"),
    "queue": ("queues", "queues"),
}
#: The pseudo client that holds the keys of ``fire_and_forget``.
_UNATTENDED = "fire-and-forget"
#: The same constants as in `flowcluster_api.keeper`.
_SPARE, _DIGEST = 2, 6
#: Maximum UIDs of ended runs that the plugin remembers.
_LIMIT = 10_000
#: Seconds from the release of a run until the plugin returns freed memory to the system.
_TRIM_SECONDS = 1.0
#: Task groups without tasks that the scheduler's records can have, and that they have after a clean-up.
_MOST_GROUPS, _LEAST_GROUPS = 500, 250

#: Priority of a run's tasks, and largest number of its tasks in flight; None without a limit.
Share = tuple[int, int | None]
#: An entry that exists longer than its client: a key of `_TABLES`, and the name.
_Item = tuple[str, Any]


class SharedRunsPlugin(SchedulerPlugin):  # type: ignore[misc] # distributed is not typed
    """Records the run of each client, entries that exist longer than the clients of a run, and the share of each run.

    Args:
        mark: the text before the UID of the run in the id of a client.
        rest: the number of characters that follow the UID there.
    """

    name = NAME
    idempotent = True

    def __init__(self, mark: str, rest: int) -> None:
        self.mark, self.rest = mark, rest

    async def start(self, scheduler: Any) -> None:
        """Add the handlers that the keeper calls, and record from now on."""
        self.scheduler = scheduler
        self.clients: dict[str, set[str]] = {}  # UID of a run → its clients so far
        self.left: dict[_Item, set[str]] = {}  # entry → UIDs of the runs that share it
        self.unattended: dict[Any, str] = {}  # key of ``fire_and_forget`` → UID
        self.over: dict[str, None] = {}  # UIDs of ended runs, oldest first
        self.part: int | None = None
        self.own: dict[str, Share] = {}
        self.informed: dict[str, Share] = {}  # UID of a run → its share at the keeper's last call
        for client in list(scheduler.clients):
            self.add_client(scheduler, client)
        scheduler.handlers[f"{NAME}-look"] = self.look
        scheduler.handlers[f"{NAME}-release"] = self.release
        for operation in _REFUSED:
            scheduler.handlers[operation] = _refuse
        self._records = Records(scheduler)
        self._publish = scheduler.handlers.get("publish_put")
        scheduler.handlers["publish_put"] = self._published
        self._desire = scheduler.client_desires_keys
        scheduler.client_desires_keys = scheduler.stream_handlers["client-desires-keys"] = self._desired

    def look(self, part: int, own: Mapping[str, Any]) -> list[str]:
        """Set the shares of runs, and return the runs that have clients, tasks or data here.

        Args:
            part: as in `flowcluster.agent.keeper.shares.Shares`.
            own: as in `flowcluster.agent.keeper.shares.Shares`.

        Returns:
            The UIDs of these runs.
        """
        self._records.clean_up()
        self.part, self.own = part, {digest: (share[0], share[1]) for digest, share in own.items()}
        self.unattended = {key: uid for key, uid in self.unattended.items() if key in self.scheduler.tasks}
        here = {*self.clients, *self.unattended.values()}.union(*self.left.values(), *self._call("runs_present"))
        known, self.informed = self.informed, {uid: self.share_of(uid) for uid in here}
        for uid, share in self.informed.items():
            if known.get(uid) != share:
                self._call("share_changed", uid, share)
        return sorted(here)

    def share_of(self, run: str) -> Share:
        """Return the share of a run.

        Before the keeper's first call, it is the share of the only run on the cluster. Without a limit, the first tasks
        of a run could all be scheduled before those of others.
        """
        if (share := self.own.get(_digest_of(run))) is not None:
            return share
        if self.part is not None:
            return 0, self.part
        return 0, max(_SPARE * sum(worker.nthreads for worker in self.scheduler.workers.values()), _SPARE)

    def release(self, runs: list[str]) -> str:
        """Release all tasks and data of these runs. Disconnect their clients now and whenever they connect again."""
        for uid in runs:
            self.over[uid] = None
            self._call("release_run", uid)
            for client in self.clients.pop(uid, ()):
                self._disconnect(client)
            for item in [item for item, holders in self.left.items() if uid in holders]:
                self.left[item].discard(uid)
                if not self.left[item]:
                    self._delete(item)
            keys = [key for key, owner in self.unattended.items() if owner == uid]
            if keys and _UNATTENDED in self.scheduler.clients:
                self.scheduler.client_releases_keys(keys=keys, client=_UNATTENDED)
            self.unattended = {key: owner for key, owner in self.unattended.items() if owner != uid}
        while len(self.over) > _LIMIT:
            del self.over[next(iter(self.over))]
        # Later, because the connections have to end first.
        asyncio.get_running_loop().call_later(_TRIM_SECONDS, self._free_memory)
        return "OK"

    def _free_memory(self) -> None:
        self._records.forget_messages()
        key_split.cache_clear()  # Dask caches the names of up to 100,000 tasks
        _trim()

    def run_of(self, client: str | None) -> str | None:
        """Return the UID of the run that a client belongs to; None for a client without a run."""
        _, mark, rest = (client or "").rpartition(self.mark)
        return rest[: -self.rest] or None if mark else None

    def add_client(self, scheduler: Any, client: str) -> None:
        """Record a client that connects, also for a second time. The scheduler calls this."""
        if (uid := self.run_of(client)) is None:
            return
        if uid in self.over:
            asyncio.get_running_loop().call_soon(self._disconnect, client)
        else:
            self.clients.setdefault(uid, set()).add(client)

    def remove_client(self, scheduler: Any, client: str) -> None:
        """Drop the events of a disconnected client. The scheduler calls this. It would keep the events for an hour."""
        if self.run_of(client) is not None:
            scheduler._broker._topics.pop(client, None)

    def log_event(self, topic: str, msg: Any) -> None:
        """Drop events for clients that do not exist any more. The scheduler calls this for each event."""
        if topic not in self.scheduler.clients and self.run_of(topic) is not None:
            self.scheduler._broker._topics.pop(topic, None)

    def _disconnect(self, client: str) -> None:
        if (comm := self.scheduler.client_comms.get(client)) is not None:
            comm.abort()  # the scheduler removes the client then
        elif client in self.scheduler.clients:
            self.scheduler.remove_client(client)
        self.scheduler._broker._topics.pop(client, None)

    async def _published(self, names: Any, client: str, **arguments: Any) -> None:
        """Publish data, and record its run if the name was free."""
        published = self.scheduler.extensions["publish"].datasets
        items = [("published", name) for name in names]
        free = [item for item in items if item in self.left or item[1] not in published]
        await self._publish(names=names, client=client, **arguments)
        if (uid := self.run_of(client)) is not None:
            self._record(free, {uid})

    def _desired(self, keys: Any, client: str) -> None:
        """Record the runs of keys that a pseudo client wants. Called for the requests of all clients."""
        holder, _, name = client.partition("-")
        if client == _UNATTENDED:
            self.unattended |= {key: uid for key in keys for uid in self._owners(key)}
        elif holder in ("variable", "queue"):
            state, item = self.scheduler.clients.get(client), (holder, name)
            if item in self.left or state is None or not state.wants_what:
                self._record([item], {uid for key in keys for uid in self._owners(key)})
        self._desire(keys=keys, client=client)

    def _owners(self, key: Any) -> list[str]:
        """Return the UIDs of the runs whose clients want a key."""
        ts = self.scheduler.tasks.get(key)
        wanting = (ts.who_wants or ()) if ts is not None else ()
        return [uid for client in wanting if (uid := self.run_of(client.client_key)) is not None]

    def _record(self, items: list[_Item], uids: set[str]) -> None:
        for item in items:
            if alive := uids - self.over.keys():
                self.left.setdefault(item, set()).update(alive)

    def _delete(self, item: _Item) -> None:
        """Delete an entry of an extension, and release the keys that it holds."""
        holder, name = item
        extension, table = _TABLES[holder]
        getattr(self.scheduler.extensions[extension], table).pop(name, None)
        if holder == "queue":
            self.scheduler.extensions[extension].client_refcount.pop(name, None)
        client = f"{holder}-{name}"
        if client in self.scheduler.clients:
            self.scheduler.remove_client(client)
            self.scheduler._broker._topics.pop(client, None)
        del self.left[item]

    def _call(self, method: str, *arguments: Any) -> list[Any]:
        """Call this method of all plugins that have it, and return their results."""
        return [getattr(plugin, method)(*arguments) for plugin in self._others() if hasattr(plugin, method)]

    def _others(self) -> Iterator[Any]:
        return (plugin for plugin in list(self.scheduler.plugins.values()) if plugin is not self)


class Records:
    """The scheduler's records of finished work for its dashboard: spans and computations, with their task groups.

    The scheduler never deletes a span, nor a group of a span or computation. A flow that waits for each of its tasks
    adds a group and a span for each task.

    Args:
        scheduler: the scheduler. From now on, its extension for spans ignores metrics of deleted spans, which would
            raise an error.
    """

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._spans = scheduler.extensions.get("spans")
        if self._spans is not None:
            self._add_metrics = self._spans.heartbeat
            self._spans.heartbeat = self._heartbeat

    def clean_up(self) -> None:
        """Delete the oldest groups without tasks, and spans without groups, if there are many of them."""
        if self._spans is None:
            return
        live, spans = self._scheduler.task_groups, self._spans.spans
        holders = [*spans.values(), *self._scheduler.computations]
        done = {group for holder in holders for group in holder.groups if live.get(group.name) is not group}
        if len(done) <= _MOST_GROUPS:
            return
        deleted = set(sorted(done, key=lambda group: float(group.stop))[:-_LEAST_GROUPS])
        for holder in holders:
            holder.groups -= deleted
        gone = {span.id for span in spans.values() if not any(True for _ in span.traverse_groups())}
        for listed in (self._spans.spans_search_by_name, self._spans.spans_search_by_tag):
            for name in list(listed):
                listed[name] = _without(gone, listed[name])
                if not listed[name]:
                    del listed[name]
        self._spans.root_spans = _without(gone, self._spans.root_spans)
        for span in spans.values():
            span.children = _without(gone, span.children)
        for identity in gone:
            del spans[identity]

    def forget_messages(self) -> None:
        """Delete the last messages to each worker and client, which Dask keeps for debugging.

        They contain the arguments of tasks: up to 1000 batches of up to a megabyte for each worker.
        """
        for stream in (*self._scheduler.stream_comms.values(), *self._scheduler.client_comms.values()):
            stream.recent_message_log.clear()

    def _heartbeat(self, ws: Any, data: Mapping[Any, float]) -> None:
        """Pass on a worker's metrics. Their keys are tuples whose second item is the id of a span."""
        self._add_metrics(ws, {key: value for key, value in data.items() if key[1] in self._spans.spans})


def _digest_of(uid: str) -> str:
    """Return the digest of `flowcluster_api.keeper.digest_of`."""
    return hashlib.sha256(uid.encode()).digest()[:_DIGEST].hex()


def _without(gone: set[str], spans: list[Any]) -> list[Any]:
    return [span for span in spans if span.id not in gone]


def _trim() -> None:
    """Return freed memory to the system. glibc keeps freed memory between blocks in use."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _refuse(**arguments: Any) -> None:
    raise PermissionError(
        "This Dask cluster is a SharedCluster: a client cannot restart or stop it, because other runs use it. Its "
        "administrator can, by spec.suspend or by an upgrade."
    )
