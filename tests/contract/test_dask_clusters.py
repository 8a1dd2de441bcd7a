"""Whatever makes a Dask cluster makes one for a flow run: classes, functions, names; sync or async; Dask's own."""

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


def ask(runner: DaskTaskRunner) -> Any:
    """The result of a flow with one task on a runner's cluster."""

    @task
    def echo(value: int) -> int:
        return value

    @flow(task_runner=runner)
    def body() -> Any:
        return echo.submit(5)

    return body()


class AsyncOnly:
    """A cluster for ``async with`` alone, which needs an event loop from the beginning."""

    asked: Any = None
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
        type(self).asked = kwargs
        self.cluster.adapt(**kwargs)


class Awaited:
    """A cluster whose instance has to be awaited, and that is closed by a coroutine."""

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
    """A cluster that is no context manager, whose `adapt` is an ordinary method."""

    asked: Any = None
    closed = False

    def __init__(self) -> None:
        self.cluster = distributed.LocalCluster(**SMALL)
        self.scheduler_address = self.cluster.scheduler_address

    def adapt(self, **kwargs: Any) -> None:
        type(self).asked = kwargs

    def close(self) -> None:
        type(self).closed = True
        self.cluster.close()


async def make_on_the_loop() -> Any:
    return await distributed.LocalCluster(asynchronous=True, **SMALL)


def specified() -> distributed.SpecCluster:
    """A scheduler, a worker and another one with its nanny."""
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
def test_anything_that_makes_a_cluster(cluster_class: Any, kwargs: dict[str, Any]) -> None:
    """Dask's own cluster classes, however they are called."""
    assert ask(DaskTaskRunner(cluster_class=cluster_class, cluster_kwargs=kwargs)) == 5


def test_tasks_use_multiprocessing_on_a_local_cluster() -> None:
    @task
    def spread() -> Any:
        with ProcessPoolExecutor(1) as executor, multiprocessing.Pool(1) as pool:
            return [*pool.map(abs, [-1]), *executor.map(abs, [-2])]

    @flow(task_runner=DaskTaskRunner(cluster_kwargs={**SMALL, "processes": True}))
    def body() -> Any:
        return spread.submit()

    assert body() == [1, 2]


def test_cluster_with_async_context_manager_only() -> None:
    """It is entered, asked to adapt and left on an event loop that lives as long as it does."""
    runner = DaskTaskRunner(cluster_class=AsyncOnly, adapt_kwargs={"minimum": 1, "maximum": 1})

    assert ask(runner) == 5
    assert AsyncOnly.asked == {"minimum": 1, "maximum": 1}
    assert AsyncOnly.left == (None, None, None)


def test_cluster_that_is_awaited() -> None:
    """It is awaited at the start, and its ``close`` at the end."""
    assert ask(DaskTaskRunner(cluster_class=Awaited)) == 5
    assert Awaited.closed


def test_cluster_that_is_no_context_manager() -> None:
    """Its ``close`` is enough."""
    assert ask(DaskTaskRunner(cluster_class=Plain, adapt_kwargs={"maximum": 3})) == 5
    assert Plain.asked == {"maximum": 3}
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
        (lambda: 5, r"of type int, is no Dask cluster: it is no context manager, sync or async, and has no 'close'"),
        (NoAddress, r"NoAddress` returned, of type NoAddress, is no Dask cluster: it has no text 'scheduler_address'"),
        (NoAdapt, r"cannot adapt: it has no method 'adapt'; drop adapt_kwargs"),
    ],
)
def test_what_is_no_cluster_is_told(cluster_class: Any, message: str) -> None:
    """What cluster_class returns has to be a cluster; the error names what it lacks."""
    with pytest.raises(TypeError, match=message):
        ask(DaskTaskRunner(cluster_class=cluster_class, adapt_kwargs={"maximum": 1}))


def test_cluster_class_whose_scheduler_is_dead_is_named() -> None:
    runner = DaskTaskRunner(cluster_class=NoAdapt, client_kwargs={"timeout": 0.3})

    with pytest.raises(ClusterUnreachable, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:1, .*NoAdapt` made"):
        ask(runner)


def test_scheduler_that_refuses_plugins_is_told() -> None:
    """A scheduler that takes no plugin cannot watch over task runs."""
    import dask

    with (
        dask.config.set({"distributed.scheduler.blocked-handlers": ["register_scheduler_plugin"]}),
        distributed.LocalCluster(**SMALL) as cluster,
        pytest.raises(ClusterUnreachable, match=r"refused the plugin 'flowcluster-2'.*blocked-handlers"),
    ):
        ask(DaskTaskRunner(address=cluster.scheduler_address))


@pytest.mark.parametrize("fails", [False, True])
def test_performance_report(tmp_path: Path, fails: bool) -> None:
    """Dask's report on the run is written, also if the flow fails."""
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


def test_report_that_cannot_be_written_fails_nothing(tmp_path: Path, lines: Any) -> None:
    """It is a line in the log."""
    path = tmp_path / "no" / "such" / "folder.html"
    os.chmod(tmp_path, 0o700)
    path.parent.parent.write_text("a file is in the way")

    assert ask(DaskTaskRunner(cluster_kwargs=SMALL, performance_report_path=path)) == 5
    assert any("could not be written" in line for line in lines())


def test_default_client_of_the_process_stays() -> None:
    """Making the report leaves no default client behind."""
    with distributed.LocalCluster(**SMALL) as cluster:

        @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
        def body() -> Any:
            with get_dask_client() as client:
                return client.id

        assert body()
    with pytest.raises(ValueError, match="No global client"):
        distributed.get_client()
