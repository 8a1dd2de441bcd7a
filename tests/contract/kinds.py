"""The kinds of task runners that the promises are tried with."""

from __future__ import annotations

import pytest

from flowcluster.task_runners import (
    ConcurrentTaskRunner,
    DaskTaskRunner,
    RayTaskRunner,
    SequentialTaskRunner,
    TaskRunner,
)

#: Makes a temporary cluster quickly: its scheduler and workers are threads of this process.
IN_PROCESS = {"n_workers": 1, "threads_per_worker": 4, "processes": False, "dashboard_address": ":0"}

#: A temporary Ray without what takes long to start.
SMALL_RAY = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 100_000_000}

ALL = ("sequential", "concurrent", "dask", "dask by address", "ray")

#: Each flow run on these starts or joins a Ray of its own, which takes seconds: only tests with the mark
#: `every_ray` are tried with them.
SLOW = ("ray by address", "ray by client", "temporary ray")

#: The other ways to say what makes a temporary Dask cluster; for tests with that mark, too.
DASK = ("dask by string", "dask by class", "dask by function")

#: What is tried on a cluster elsewhere, by its kind: by all tests, and by those with that mark, too.
ELSEWHERE = {"Dask": ("dask by address",), "Ray": ("ray",)}
ELSEWHERE_SLOW = {"Dask": (), "Ray": ("ray by address", "ray by client")}


def kinds_for(test: pytest.Metafunc) -> tuple[str, ...]:
    """Return the kinds that a test is tried with."""
    marked = test.definition.get_closest_marker("every_ray") is not None
    if elsewhere := cluster_elsewhere(test.config):
        kind, _ = elsewhere
        return ELSEWHERE[kind] + (ELSEWHERE_SLOW[kind] if marked else ())
    return ALL + (DASK + SLOW if marked else ())


def cluster_elsewhere(config: pytest.Config) -> tuple[str, str] | None:
    """Return kind and address of the cluster that the suite runs on; None: it runs on this machine's own runners."""
    # pytest does not know the options when this folder is not among its arguments.
    for kind in ELSEWHERE:
        if address := config.getoption(f"--{kind.lower()}-address", default=None):
            return kind, address
    return None


def make(kind: str, request: pytest.FixtureRequest) -> TaskRunner:
    """A task runner of that kind, and what it needs."""
    if kind == "sequential":
        return SequentialTaskRunner()
    if kind == "concurrent":
        return ConcurrentTaskRunner()
    if kind == "dask":
        return DaskTaskRunner(cluster_kwargs=IN_PROCESS)
    if kind in DASK:
        distributed = pytest.importorskip("distributed")
        made_by = {
            "dask by string": "distributed.LocalCluster",
            "dask by class": distributed.LocalCluster,
            "dask by function": lambda **kwargs: distributed.LocalCluster(**kwargs),
        }
        return DaskTaskRunner(cluster_class=made_by[kind], cluster_kwargs=IN_PROCESS)
    if kind == "dask by address":
        return DaskTaskRunner(address=request.getfixturevalue("cluster").scheduler_address)
    request.getfixturevalue("own_ray" if kind == "ray" else "no_ray")
    if kind == "ray by address":
        return RayTaskRunner(address=request.getfixturevalue("ray_head").address)
    if kind == "ray by client":
        return RayTaskRunner(address=request.getfixturevalue("ray_head").client_address)
    return RayTaskRunner(init_kwargs=SMALL_RAY if kind == "temporary ray" else {})
