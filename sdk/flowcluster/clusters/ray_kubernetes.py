"""A Ray cluster on Kubernetes for the time of one flow run, or of anything else in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import platform
import socket
import time
import urllib.request
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from flowcluster.clusters import ray_access
from flowcluster.clusters.adapting import UNLIMITED, bounds, check_number
from flowcluster.clusters.claim import RELEASED, Claim
from flowcluster.clusters.manifest import Spec, cluster_run, cluster_spec, default_image
from flowcluster.clusters.versions import check_python, check_ray
from flowcluster.context import activity
from flowcluster.errors import ClusterError, ClusterLost
from flowcluster.kube.choice import Choice
from flowcluster_api import lease
from flowcluster_api.driver import TOKEN_PORT
from flowcluster_api.offers import offers

logger = logging.getLogger("flowcluster.cluster")

#: Ports of a head's pod.
CLIENT_PORT, DASHBOARD_PORT = 10001, 8265
#: Seconds to join the cluster, for an answer of its dashboard, and between two looks at its workers.
JOIN_SECONDS, ANSWER_SECONDS, LOOK_SECONDS = 60.0, 10.0, 0.5


class RayKubernetesCluster:
    """Asks flowcluster's operator for a Ray cluster, and keeps it until this object is closed.

    It is a FlowRun without a flow: ``kubectl get flowruns`` shows it. It goes when it is closed, when this process
    ends, however it ends, and when nothing is heard of this process for `lease_duration_seconds`. As long as it is
    open, Ray in this process shows the cluster's token: ``ray.init(cluster.address)`` is all that is needed. What is
    still connected to it when it is closed is shut down.

    Args:
        name: of the FlowRun. By default that of the flow run, followed by something that makes it unique.
        image: of head and workers, with Ray in it; by default ``FLOWCLUSTER_IMAGE``, or what the operator's
            administrator set.
        n_workers: exactly so many. By default as many as the work needs, from none to the administrator's limit.
        resources: requests and limits of each worker, as in a pod.
        env: environment variables of head and workers.
        workers, scheduler: ``spec.cluster.workers`` and, for the head, ``spec.cluster.scheduler`` of the FlowRun.
        start_deadline_seconds: until the head and `n_workers` workers are ready; 600 by default.
        active_deadline_seconds: after which the cluster goes in any case.
        idle_timeout_seconds: after which the cluster goes when no task of the flow that made it has run, and it has no
            more workers than its minimum. Outside of a flow it has no effect.
        kubeconfig, context, namespace: where, by the rules of kubectl if they are not given.
        asynchronous: whether it is used by code on an event loop, with ``async with`` or ``await``.

    Raises `KubernetesError` if the API server refuses the FlowRun or cannot be reached, `ClusterNotStarted` with the
    cause if there will be no cluster.

    Attributes:
        address: for ``ray.init``.
        offers: what each worker has for tasks: amounts by resource, None where only the worker itself knows.
        outcome: how the work ended that it was for: what its record shall say once it is closed.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        image: str | None = None,
        n_workers: int | None = None,
        resources: Spec | None = None,
        env: Mapping[str, str] | None = None,
        workers: Spec | None = None,
        scheduler: Spec | None = None,
        start_deadline_seconds: int | None = None,
        active_deadline_seconds: int | None = None,
        idle_timeout_seconds: int | None = None,
        lease_duration_seconds: int = lease.DURATION,
        kubeconfig: str | None = None,
        context: str | None = None,
        namespace: str | None = None,
        asynchronous: bool = False,
    ) -> None:
        manifest = cluster_run(
            name,
            cluster_spec("Ray", image or default_image(), n_workers, resources, env, workers, scheduler),
            start_deadline_seconds=start_deadline_seconds,
            active_deadline_seconds=active_deadline_seconds,
            idle_timeout_seconds=idle_timeout_seconds,
            lease_duration_seconds=lease_duration_seconds,
        )
        if n_workers is None:
            manifest["spec"]["cluster"]["workers"]["maximum"] = UNLIMITED
        self.offers = offers(manifest["spec"]["cluster"]["workers"])
        self._claim = Claim(manifest, Choice(kubeconfig, context, namespace), adapts=False)
        self._report = activity.get()
        self._resources = contextlib.ExitStack()
        self._is_open = False
        self._dashboard = ""
        self.address = ""
        self.outcome = RELEASED
        if not asynchronous:
            self._start()

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
        """Ask for the cluster, wait for it, find a way to it."""
        status = self._claim.bring_up(self._report)["cluster"]
        if self._claim.is_known and ray_access.token_here() is not None:
            self._resources.enter_context(ray_access.inside(status["address"], JOIN_SECONDS))
            self.address, self._dashboard = status["address"], status["dashboard"]
        else:
            ports = self._claim.forward(status["scheduler"]["pod"], [CLIENT_PORT, DASHBOARD_PORT, TOKEN_PORT])
            python, token = _all_from(ports[TOKEN_PORT]).split("\n", 1)
            check_python(python, platform.python_version(), self._claim.image)
            self._dashboard = f"http://127.0.0.1:{ports[DASHBOARD_PORT]}"
            self._check_ray(token)
            self._resources.enter_context(ray_access.authenticated(token))
            self.address = f"ray://127.0.0.1:{ports[CLIENT_PORT]}"
        self._resources.callback(ray_access.disconnect, self.address)

    def _check_ray(self, token: str) -> None:
        import ray

        request = urllib.request.Request(f"{self._dashboard}/api/version", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                theirs = json.load(answer)["ray_version"]
        except (OSError, ValueError, KeyError) as error:
            logger.debug("The head does not tell its version: %s", error)
            return  # whoever connects is told by Ray itself
        check_ray(theirs, ray.__version__, self._claim.image)

    @property
    def name(self) -> str:
        """Name of the FlowRun."""
        return self._claim.name

    @property
    def scheduler_address(self) -> str:
        """The address, under the name that it has for Dask clusters."""
        return self.address

    @property
    def dashboard_link(self) -> str:
        """URL of Ray's dashboard, for a browser where this process runs; it asks for the token."""
        return self._dashboard

    @property
    def lost(self) -> ClusterLost | None:
        """That the cluster went away, and why, once it has."""
        return self._claim.lost

    def scale(self, n: int) -> None:
        """Have `n` workers, no more and no fewer; those too many go when they have had nothing to do for a while.

        Raises ValueError for what is no number of workers, `KubernetesError` if the API server refuses it.
        """
        check_number(n)
        self._claim.resize(n, n)

    def adapt(self, **kwargs: Any) -> None:
        """Have as many workers as the work needs, from now on.

        The number stays between `minimum` and `maximum`, or between the workers that have `minimum_cores` or
        `minimum_memory` and those that have `maximum_cores` or `maximum_memory`. The tempo is Ray's own.

        Raises TypeError for a word that is not known, ValueError for a value that cannot be meant, `KubernetesError`
        if the API server refuses it.
        """
        worker = self._claim.manifest["spec"]["cluster"]["workers"]
        low, high, left = bounds(worker, kwargs)
        if left:
            raise TypeError(f"adapt() of a Ray cluster does not know {', '.join(map(repr, sorted(left)))}.")
        self._claim.resize(low, high)

    def wait_for_workers(self, n_workers: int, timeout: float | None = None) -> None:
        """Return when so many workers are ready. Raises TimeoutError after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while (ready := self._claim.ready_workers()) < n_workers:
            if self.lost is not None:
                raise self.lost
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"{ready} of {n_workers} workers were ready after {timeout:g} s.")
            time.sleep(LOOK_SECONDS)

    def logs(self) -> dict[str, str]:
        """The FlowRun's story: texts by name. What tasks print comes to the driver by itself."""
        return {"Cluster": self._claim.story()}

    def close(self) -> None:
        """Give the cluster back: it is released at once, and the operator removes it."""
        if self._is_open:
            self._is_open = False
            try:
                self._resources.close()
            finally:
                self._claim.release(self.outcome)

    def __enter__(self) -> Self:
        if not self._is_open:
            raise ClusterError("The cluster has been closed; make another one.")
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
    """What comes over a connection to this port."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as stream, stream.makefile("rb") as content:
        return content.read().decode()
