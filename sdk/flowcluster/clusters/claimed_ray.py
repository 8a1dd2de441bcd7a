"""The base of Ray clusters on Kubernetes: an object that claims its own or a shared cluster by a FlowRun."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import platform
import socket
import urllib.request
from types import TracebackType
from typing import Any, Self

from flowcluster.clusters.claim import RELEASED, Claim
from flowcluster.clusters.ray import access
from flowcluster.clusters.versions import check_python, check_ray
from flowcluster.context import activity
from flowcluster.errors import ClusterError, ClusterLost
from flowcluster_api.driver import TOKEN_PORT
from flowcluster_api.ports import RAY_CLIENT, RAY_DASHBOARD

logger = logging.getLogger("flowcluster.cluster")

#: Seconds to join the cluster, and to wait for a response of its dashboard.
JOIN_SECONDS, ANSWER_SECONDS = 60.0, 10.0


class ClaimedRayCluster:
    """Uses the Ray cluster of a claim until this object is closed.

    While it is open, Ray in this process sends the cluster's token: ``ray.init(cluster.address)`` connects. Closing it
    shuts down a Ray that is still connected.

    Args:
        claim: of the FlowRun that requests the cluster.
        asynchronous: whether code on an event loop uses it, with ``async with`` or ``await``.

    Attributes:
        address: for ``ray.init``.
        outcome: how the work on the cluster ended. `close` writes it into the FlowRun's record.

    Raises:
        KubernetesError: the API server refuses the FlowRun or cannot be reached.
        ClusterNotStarted: the cluster cannot start; the message names the cause.
    """

    def __init__(self, claim: Claim, *, asynchronous: bool) -> None:
        self._claim = claim
        self._report = activity.get()
        self._resources = contextlib.ExitStack()
        self._is_open = False
        self._dashboard = ""
        self.address = ""
        self.outcome = RELEASED
        if not asynchronous:
            self._start()

    def _check(self, status: dict[str, Any]) -> None:
        """Raise an error if this class cannot use the cluster with this ``status.cluster``."""

    def _start(self) -> None:
        if self._is_open:
            return
        try:
            self._bring_up()
        except BaseException as error:
            self._resources.close()
            self._claim.give_up(error)
            raise
        self._is_open = True

    def _bring_up(self) -> None:
        """Create the FlowRun, wait for its cluster, and make it reachable."""
        status = self._claim.bring_up(self._report)["cluster"]
        self._check(status)
        if self._claim.is_reachable and access.token_here() is not None:
            self._resources.enter_context(access.inside(status["address"], JOIN_SECONDS))
            self.address, self._dashboard = status["address"], status["dashboard"]
        else:
            ports = self._claim.forward(status["scheduler"]["pod"], [RAY_CLIENT, RAY_DASHBOARD, TOKEN_PORT])
            python, token = _all_from(ports[TOKEN_PORT]).split("\n", 1)
            check_python(python, platform.python_version(), self._claim.remedy)
            self._dashboard = f"http://127.0.0.1:{ports[RAY_DASHBOARD]}"
            self._check_ray(token)
            self._resources.enter_context(access.authenticated(token))
            self.address = f"ray://127.0.0.1:{ports[RAY_CLIENT]}"
        self._resources.callback(access.disconnect, self.address)

    def _check_ray(self, token: str) -> None:
        import ray

        request = urllib.request.Request(f"{self._dashboard}/api/version", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                theirs = json.load(answer)["ray_version"]
        except (OSError, ValueError, KeyError) as error:
            logger.debug("The head does not report its version: %s", error)
            return  # Ray itself refuses a connection of another version
        check_ray(theirs, ray.__version__, self._claim.remedy)

    @property
    def name(self) -> str:
        """Return the name of the FlowRun."""
        return self._claim.name

    @property
    def scheduler_address(self) -> str:
        """Return the address, under the name that Dask clusters use."""
        return self.address

    @property
    def dashboard_link(self) -> str:
        """Return the URL of Ray's dashboard for a browser on this machine. The dashboard requires the token."""
        return self._dashboard

    @property
    def lost(self) -> ClusterLost | None:
        """Return the loss of the cluster, with its cause; None while the cluster exists."""
        return self._claim.lost

    def logs(self) -> dict[str, str]:
        """Return the FlowRun's story: texts by name. Ray itself sends the output of tasks to the driver."""
        return {"Cluster": self._claim.story()}

    def close(self) -> None:
        """Release the FlowRun. The operator then deletes the run's own objects."""
        if self._is_open:
            self._is_open = False
            try:
                self._resources.close()
            finally:
                self._claim.release(self.outcome)

    def __enter__(self) -> Self:
        if not self._is_open:
            raise ClusterError("The cluster is closed. Create another one.")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def __await__(self) -> Any:
        return self.__aenter__().__await__()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, address={self.address!r})"


def _all_from(port: int) -> str:
    """Return all data of a connection to this local port."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as stream, stream.makefile("rb") as content:
        return content.read().decode()
