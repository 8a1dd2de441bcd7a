"""What only the Dask runner promises: its clusters and its client."""

from __future__ import annotations

import os
from typing import Any

import dask
import dask.array
import distributed
import pytest

from flowcluster import flow, get_dask_client, task
from flowcluster.errors import ClusterUnreachable, NoFlowRunError
from flowcluster.task_runners import DaskTaskRunner
from tests.support.tasks import echo, where

SMALL = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": ":0"}


def small_cluster(**kwargs: Any) -> Any:
    """Return a cluster, as a function given as `cluster_class` does."""
    return distributed.LocalCluster(**{**SMALL, **kwargs})


class Adapting(distributed.LocalCluster):  # type: ignore[misc]
    """Records the arguments of `adapt`, which returns a coroutine, as that of some clusters does."""

    adapted: Any = None

    def adapt(self, **kwargs: Any) -> Any:
        async def adapt() -> None:
            type(self).adapted = kwargs

        return adapt()


@pytest.mark.parametrize(
    "cluster_class",
    ["distributed.LocalCluster", distributed.LocalCluster, small_cluster, lambda **kwargs: small_cluster()],
)
def test_cluster_class_is_a_name_a_class_or_a_function(cluster_class: Any) -> None:
    """Each of these makes the cluster of a flow run."""

    @flow(task_runner=DaskTaskRunner(cluster_class=cluster_class, cluster_kwargs=SMALL))
    def body() -> Any:
        return echo.submit(1)

    assert body() == 1


def test_adapt_kwargs_reach_the_cluster() -> None:
    """`adapt` is called with them, and awaited if it returns a coroutine. Without them it is not called."""

    @flow
    def body() -> None:
        pass

    body.with_options(task_runner=DaskTaskRunner(cluster_class=Adapting, cluster_kwargs=SMALL))()
    assert Adapting.adapted is None

    runner = DaskTaskRunner(cluster_class=Adapting, cluster_kwargs=SMALL, adapt_kwargs={"minimum": 0, "maximum": 2})
    body.with_options(task_runner=runner)()
    assert Adapting.adapted == {"minimum": 0, "maximum": 2}


@pytest.mark.parametrize("more", [{"cluster_class": "x.Y"}, {"cluster_kwargs": {"a": 1}}, {"adapt_kwargs": {"b": 1}}])
def test_address_and_new_cluster_exclude_each_other(more: dict[str, Any]) -> None:
    """A runner with an address makes no cluster."""
    with pytest.raises(ValueError, match="not both"):
        DaskTaskRunner(address="tcp://127.0.0.1:1", **more)


def test_asynchronous_is_refused() -> None:
    """The runner sets whether the client is asynchronous."""
    with pytest.raises(ValueError, match="Remove it from client_kwargs"):
        DaskTaskRunner(client_kwargs={"asynchronous": True})


def test_unknown_cluster_class_is_named() -> None:
    """The error of a flow whose `cluster_class` cannot be imported has the dotted name."""

    @flow(task_runner=DaskTaskRunner(cluster_class="distributed.NoSuchCluster"))
    def body() -> None:
        pass

    with pytest.raises(ValueError, match=r"no cluster class 'distributed\.NoSuchCluster'"):
        body()


def test_tasks_run_on_the_cluster(cluster: Any) -> None:
    """A submitted task runs in a worker's process, a direct call in the flow's."""

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> tuple[int, int]:
        return where.submit().result(), where()

    on_cluster, here = body()

    assert on_cluster != here == os.getpid()


def test_flow_run_sets_no_default_client(cluster: Any) -> None:
    """The run's client does not become Dask's default client of the process."""

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> None:
        with pytest.raises(ValueError, match="No global client"):
            distributed.get_client()

    body()


def test_collections_compute_on_the_runs_cluster(cluster: Any) -> None:
    """Dask's collections use the client of `get_dask_client` in the flow and in tasks on workers."""

    def total() -> tuple[float, str]:
        with get_dask_client() as client:
            value = float(dask.array.ones(8, chunks=4).sum().compute())
            return value, client.scheduler.address

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> Any:
        return [task(total).submit().result(), total(), task(total)()]

    assert body() == [(8.0, cluster.scheduler_address)] * 3


def test_dask_client_needs_a_dask_run() -> None:
    """A run without a Dask cluster has no client."""

    @flow
    def body() -> None:
        with get_dask_client():
            raise AssertionError("got one")

    with pytest.raises(NoFlowRunError, match="has no Dask cluster"):
        body()


def test_flow_fails_when_no_scheduler_answers_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the address, the time limit and what to check."""
    monkeypatch.setenv("FLOWCLUSTER_CLUSTER_TIMEOUT", "0.2")

    @flow(task_runner=DaskTaskRunner(address="tcp://127.0.0.1:9"))
    def body() -> None:
        raise AssertionError("started")

    state = body(return_state=True)

    assert state.is_crashed()
    with pytest.raises(ClusterUnreachable, match=r"No process answered at tcp://127\.0\.0\.1:9 within 0\.2 s"):
        state.result()


def test_one_runner_serves_nested_flows() -> None:
    """One configured instance makes a cluster for each run that uses it."""
    runner = DaskTaskRunner(cluster_kwargs=SMALL)

    @flow(task_runner=runner)
    def inner(value: Any) -> Any:
        return echo.submit(value)

    @flow(task_runner=runner)
    def outer() -> Any:
        return [inner(echo.submit(1)), echo.submit(2)]

    assert outer() == [1, 2]


def test_async_flow_gathers_results(cluster: Any) -> None:
    """An async flow on Dask gathers its futures without blocking its loop."""
    import asyncio

    @task
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    async def body() -> list[int]:
        futures = [double.submit(number) for number in range(5)]
        return list(await asyncio.gather(*(future.result() for future in futures)))

    assert asyncio.run(body()) == [0, 2, 4, 6, 8]
