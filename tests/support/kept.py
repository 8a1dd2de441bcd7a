"""A keeper in this process, and its Lease, on a fake API server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flowcluster.agent.keeper.assignment import Assignment
from flowcluster.agent.keeper.keep_cluster import keep
from flowcluster.kube.lease_client import OneLease
from flowcluster_api import keeper, lease
from flowcluster_api.keeper import Bounds, Instructions, LiveRun
from flowcluster_operator.resources import LEASE
from tests.support.fake_api import FakeApi
from tests.support.waiting import wait_until

NAMESPACE, CLUSTER, HOLDER = "team", "analytics-0123456789", "keeper-pod"


class Kept:
    """The Lease of one cluster, as an operator sees and writes it.

    Attributes:
        api: the API server.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.api = FakeApi()
        self._loop = loop
        self._instructions = Instructions()

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[Kept]:
        """Run an API server with the Lease in the block."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        kept = cls(loop)
        try:
            kept.wait(kept.api.start())
            kept.on_loop(lambda: kept.api.objects.create(LEASE, NAMESPACE, {"metadata": {"name": CLUSTER}, "spec": {}}))
            yield kept
        finally:
            kept.wait(kept.api.stop())
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    @contextmanager
    def keeper(self, kind: str, address: str, credentials: Any = None) -> Iterator[None]:
        """Run a keeper of the cluster at an address in the block."""
        assignment = Assignment(NAMESPACE, CLUSTER, kind, address, HOLDER, credentials)
        client = OneLease(self.api.url, NAMESPACE, CLUSTER)
        task = asyncio.run_coroutine_threadsafe(keep(assignment, client), self._loop)
        try:
            yield
        finally:
            assert not task.done(), task.exception()
            task.cancel()

    @contextmanager
    def keeper_process(
        self, kind: str, address: str, credentials: Path | None, environment: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a keeper in a process of its own in the block."""
        program = Path(__file__).with_name("programs") / "keeper.py"
        arguments = [self.api.url, NAMESPACE, CLUSTER, kind, address, HOLDER, *filter(None, [credentials])]
        path = os.pathsep.join(filter(None, sys.path))
        process = subprocess.Popen(
            [sys.executable, str(program), *map(str, arguments)], env={**environment, "PYTHONPATH": path}
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def instruct(self, runs: tuple[str | LiveRun, ...] = (), **groups: Bounds) -> None:
        """Write which runs are on the cluster, and the bounds of groups; those of `default` are of ``spec.workers``."""
        bounds = {"" if name == "default" else name: value for name, value in groups.items()}
        known = dict(self._instructions.groups) | bounds
        live = tuple(run if isinstance(run, LiveRun) else LiveRun.of(run) for run in runs)
        self._instructions = Instructions(tuple(sorted(known.items())), live)
        patch = keeper.patch(self._instructions)
        self.on_loop(lambda: self.api.objects.merge(LEASE, NAMESPACE, CLUSTER, patch))

    def signs(self) -> lease.LeaseState:
        """Return what the keeper has written."""
        return lease.read(self.on_loop(lambda: self.api.objects.get(LEASE, NAMESPACE, CLUSTER)))

    def demand(self) -> dict[str, int]:
        """Return the workers that the keeper reports as needed, by group."""
        demand = self.signs().demand
        return {} if demand is None else {"default": demand.workers, **dict(demand.groups)}

    def wait_for_demand(self, **groups: int) -> None:
        """Wait until the keeper reports these numbers for these groups."""
        wait_until(lambda: groups.items() <= self.demand().items(), f"the demand is {groups}; it is {self.demand()}")

    def wait(self, coroutine: Any) -> Any:
        """Run a coroutine on the loop of the API server, and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def on_loop(self, function: Any) -> Any:
        """Call a function on that loop, and return its result."""

        async def call() -> Any:
            return function()

        return self.wait(call())
