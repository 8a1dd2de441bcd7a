"""What `cluster_class` can be: a class, a function or a name, sync or async, and Dask's own cluster classes."""

from __future__ import annotations

import functools
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import distributed
import pytest

from flowcluster import flow, get_dask_client, task
from flowcluster.errors import ClusterUnreachable
from flowcluster.task_runners import DaskTaskRunner

SMALL = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}


def echo_on(runner: DaskTaskRunner) -> Any:
    """Return the result of a flow with one task on a runner's cluster."""

    @task
    def echo(value: int) -> int:
        return value

    @flow(task_runner=runner)
    def body() -> Any:
        return echo.submit(5)

    return body()


class AsyncOnly:
    """A cluster that supports only ``async with``, and needs an event loop when it is created."""

    adapted: Any = None
    left: Any = None

    def __init__(self, **kwargs: Any) -> None:
        self.cluster = distributed.LocalCluster(asynchronous=True, **{**SMALL, **kwargs})

    async def __aenter__(self) -> AsyncOnly:
        await self.cluster
        return self

    async def __aexit__(self, *error: Any) -> None:
        type(self).left = error
        await self.cluster.close()

    @property
    def scheduler_address(self) -> str:
        return str(self.cluster.scheduler_address)

    async def adapt(self, **kwargs: Any) -> None:
        type(self).adapted = kwargs
        self.cluster.adapt(**kwargs)


class Awaited:
    """A cluster whose instance must be awaited, and that a coroutine closes."""

    closed = False

    def __init__(self) -> None:
        self.cluster = distributed.LocalCluster(asynchronous=True, **SMALL)

    def __await__(self) -> Any:
        return self._start().__await__()

    async def _start(self) -> Awaited:
        await self.cluster
        return self

    async def close(self) -> None:
        type(self).closed = True
        await self.cluster.close()

    @property
    def scheduler_address(self) -> str:
        return str(self.cluster.scheduler_address)


class Plain:
    """A cluster that is not a context manager, whose `adapt` is a sync method."""

    adapted: Any = None
    closed = False

    def __init__(self) -> None:
        self.cluster = distributed.LocalCluster(**SMALL)
        self.scheduler_address = self.cluster.scheduler_address

    def adapt(self, **kwargs: Any) -> None:
        type(self).adapted = kwargs

    def close(self) -> None:
        type(self).closed = True
        self.cluster.close()


async def make_on_the_loop() -> Any:
    return await distributed.LocalCluster(asynchronous=True, **SMALL)


def specified() -> distributed.SpecCluster:
    """Return a cluster of a scheduler, a worker, and a worker with a nanny."""
    kwargs = {"nthreads": 1}
    return distributed.SpecCluster(
        scheduler={"cls": distributed.Scheduler, "options": {"dashboard_address": ":0"}},
        workers={
            "plain": {"cls": distributed.Worker, "options": kwargs},
            "watched": {"cls": distributed.Nanny, "options": kwargs},
        },
    )


@pytest.mark.parametrize(
    ("cluster_class", "kwargs"),
    [
        (specified, {}),
        (functools.partial(distributed.LocalCluster, n_workers=1), {"processes": False, "dashboard_address": ":0"}),
        (
            "distributed.SubprocessCluster",
            {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"},
        ),
        (make_on_the_loop, {}),
    ],
    ids=["SpecCluster", "partial", "SubprocessCluster", "coroutine function"],
)
def test_cluster_class_is_any_callable_that_makes_a_cluster(cluster_class: Any, kwargs: dict[str, Any]) -> None:
    """Dask's own cluster classes work as a class, a partial, a function and a coroutine function."""
    assert echo_on(DaskTaskRunner(cluster_class=cluster_class, cluster_kwargs=kwargs)) == 5


def test_tasks_use_multiprocessing_on_a_local_cluster() -> None:
    @task
    def spread() -> Any:
        with ProcessPoolExecutor(1) as executor, multiprocessing.Pool(1) as pool:
            return [*pool.map(abs, [-1]), *executor.map(abs, [-2])]

    @flow(task_runner=DaskTaskRunner(cluster_kwargs={**SMALL, "processes": True}))
    def body() -> Any:
        return spread.submit()

    assert body() == [1, 2]


def test_runner_enters_a_cluster_that_is_only_an_async_context_manager() -> None:
    """`__aenter__`, `adapt` and `__aexit__` run on one event loop, which lasts as long as the cluster."""
    runner = DaskTaskRunner(cluster_class=AsyncOnly, adapt_kwargs={"minimum": 1, "maximum": 1})

    assert echo_on(runner) == 5
    assert AsyncOnly.adapted == {"minimum": 1, "maximum": 1}
    assert AsyncOnly.left == (None, None, None)


def test_runner_awaits_a_cluster_that_must_be_awaited() -> None:
    """The runner awaits the cluster at the start, and its ``close`` at the end."""
    assert echo_on(DaskTaskRunner(cluster_class=Awaited)) == 5
    assert Awaited.closed


def test_runner_closes_a_cluster_that_is_not_a_context_manager() -> None:
    """Such a cluster needs only ``close``."""
    assert echo_on(DaskTaskRunner(cluster_class=Plain, adapt_kwargs={"maximum": 3})) == 5
    assert Plain.adapted == {"maximum": 3}
    assert Plain.closed


class NoAddress:
    def __enter__(self) -> NoAddress:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


class NoAdapt(NoAddress):
    scheduler_address = "tcp://127.0.0.1:1"


@pytest.mark.parametrize(
    ("cluster_class", "message"),
    [
        (
            lambda: 5,
            r"of type int, is not a Dask cluster: it is not a context manager, sync or async, and has no 'close'",
        ),
        (
            NoAddress,
            r"NoAddress` returned, of type NoAddress, is not a Dask cluster: it has no text 'scheduler_address'",
        ),
        (NoAdapt, r"cannot adapt: it has no method 'adapt'. Remove adapt_kwargs"),
    ],
)
def test_flow_fails_when_cluster_class_does_not_return_a_cluster(cluster_class: Any, message: str) -> None:
    """The error names what the returned object lacks."""
    with pytest.raises(TypeError, match=message):
        echo_on(DaskTaskRunner(cluster_class=cluster_class, adapt_kwargs={"maximum": 1}))


def test_cluster_class_whose_scheduler_is_dead_is_named() -> None:
    runner = DaskTaskRunner(cluster_class=NoAdapt, client_kwargs={"timeout": 0.3})

    with pytest.raises(ClusterUnreachable, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:1, .*NoAdapt` made"):
        echo_on(runner)


def test_flow_fails_when_the_scheduler_refuses_plugins() -> None:
    """Without its scheduler plugin, the runner cannot observe task runs."""
    import dask

    with (
        dask.config.set({"distributed.scheduler.blocked-handlers": ["register_scheduler_plugin"]}),
        distributed.LocalCluster(**SMALL) as cluster,
        pytest.raises(ClusterUnreachable, match=r"refused the plugin 'flowcluster-2'.*blocked-handlers"),
    ):
        echo_on(DaskTaskRunner(address=cluster.scheduler_address))


@pytest.mark.parametrize("fails", [False, True])
def test_performance_report(tmp_path: Path, fails: bool) -> None:
    """Dask's performance report is written, also if the flow fails."""
    path = tmp_path / "report.html"

    @task
    def work() -> None:
        if fails:
            raise ValueError("no")

    @flow(task_runner=DaskTaskRunner(cluster_kwargs=SMALL, performance_report_path=path))
    def body() -> None:
        work.submit().wait()

    assert body(return_state=True).is_completed() is not fails
    assert "<title>Dask Performance Report</title>" in path.read_text()


def test_flow_completes_when_the_performance_report_cannot_be_written(tmp_path: Path, lines: Any) -> None:
    """The failure to write it is a line in the log."""
    path = tmp_path / "no" / "such" / "folder.html"
    os.chmod(tmp_path, 0o700)
    path.parent.parent.write_text("a file is in the way")

    assert echo_on(DaskTaskRunner(cluster_kwargs=SMALL, performance_report_path=path)) == 5
    assert any("could not be written" in line for line in lines())


def test_default_client_of_the_process_stays() -> None:
    """Writing the performance report sets no default client."""
    with distributed.LocalCluster(**SMALL) as cluster:

        @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
        def body() -> Any:
            with get_dask_client() as client:
                return client.id

        assert body()
    with pytest.raises(ValueError, match="No global client"):
        distributed.get_client()
