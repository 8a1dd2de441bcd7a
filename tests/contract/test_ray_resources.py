"""What tasks request from Ray: options and resources."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from flowcluster import flow, remote_options, task
from flowcluster.runners.ray.options import Capacity, options_for, requested_by
from flowcluster.task_runners import RayTaskRunner
from tests.support.tasks import echo
from tests.support.waiting import wait_until


@task
def resources() -> dict[str, float]:
    return dict(ray.get_runtime_context().get_assigned_resources())


def test_remote_options_nest_and_merge(own_ray: None) -> None:
    """Nested blocks merge, the inner one overrides, and tasks keep the options that they were submitted with."""

    @flow(task_runner=RayTaskRunner)
    def body() -> Any:
        first = echo.submit(1)
        with remote_options(num_cpus=2, resources={"bench": 1}):
            with remote_options(num_cpus=0.5, resources={"desk": 1}):
                inner = [resources.submit(), resources.submit(wait_for=[first])]
            outer = resources.submit()
        return [*inner, outer, resources.submit()]

    inner, delayed, outer, without = body()

    assert inner == delayed == {"CPU": 0.5, "bench": 1.0, "desk": 1.0}
    assert outer == {"CPU": 2.0, "bench": 1.0}
    assert without == {"CPU": 1.0}


def test_remote_options_refuse_num_returns() -> None:
    """The runner sets how many results a run has."""
    with pytest.raises(ValueError, match="cannot set num_returns"), remote_options(num_returns=3):
        pass


def test_resources_of_a_task_are_requests_to_ray() -> None:
    """CPU, GPU and memory become Ray's own options, others custom resources. A block's options override them."""

    class Spec:
        resources = {"CPU": 2, "GPU": 1, "memory": 100, "bench": 1}  # noqa: RUF012

    with remote_options(num_cpus=3, max_retries=2):
        options = options_for(Spec())  # type: ignore[arg-type]

    assert options == {"num_cpus": 3, "num_gpus": 1, "memory": 100, "resources": {"bench": 1}}
    assert requested_by(options) == {"CPU": 3.0, "GPU": 1.0, "memory": 100.0, "bench": 1.0}
    assert requested_by({"num_cpus": 0}) == {}


@pytest.mark.one_machine  # a cluster with an autoscaler may start a node that can
def test_task_fails_immediately_when_no_node_can_meet_its_request(own_ray: None) -> None:
    """The state names the request and what the nodes have. The task does not wait for ever."""
    # Some time after its start, the head reports that no autoscaler adds nodes.
    wait_until(lambda: Capacity(is_fixed=False).unmet({"num_gpus": 1}), "the cluster is known not to grow")

    @flow(task_runner=RayTaskRunner)
    def body() -> tuple[str, int]:
        with remote_options(num_gpus=1):
            impossible = echo.submit(1)

        assert impossible.done()
        return repr(impossible.state), echo.submit(2).result()

    state, possible = body()

    assert state.startswith("Failed('No node of the Ray cluster can ever run this task, which requests 1 CPU, 1 GPU. ")
    assert "No node has more than 0 GPU" in state
    assert possible == 2


def test_fifty_tasks(own_ray: None) -> None:
    """All tasks end although there are fewer CPUs."""

    @flow(task_runner=RayTaskRunner)
    def body() -> Any:
        return echo.map(range(50))

    assert body() == list(range(50))


def test_task_releases_its_cpus_while_it_waits_for_child_runs(own_ray: None) -> None:
    """Otherwise tasks on workers would keep the CPUs that their child runs need."""

    @flow(task_runner=RayTaskRunner)
    def below(depth: int) -> Any:
        with remote_options(num_cpus=2):
            return descend.submit(depth)

    @task
    def descend(depth: int) -> int:
        return 1 + below(depth - 1) if depth else 0

    assert below(5) == 5
