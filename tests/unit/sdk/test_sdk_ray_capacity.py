"""Whether a Ray cluster can ever have the resources of a task: on its nodes, or on workers that it can start."""

from __future__ import annotations

from typing import Any

import pytest

from flowcluster.runners.ray.options import requested_by, unmet
from flowcluster_api.offers import offers

HEAD = {"node:__internal_head__": 1.0, "memory": 1e9}
WORKERS = offers({"threads": 2, "taskResources": {"desk": 1}})


@pytest.mark.parametrize(
    ("options", "lacks"),
    [
        ({}, None),
        ({"num_cpus": 2, "resources": {"desk": 1}}, None),
        ({"memory": 1e15}, None),
        ({"num_cpus": 0, "resources": {"node:__internal_head__": 0.1}}, None),
        ({"num_cpus": 3}, "2 CPU"),
        ({"num_gpus": 1}, "0 GPU"),
        ({"resources": {"bench": 1}}, "0 bench"),
    ],
)
def test_resources_that_no_future_worker_has_are_reported(options: dict[str, Any], lacks: str | None) -> None:
    """Without a worker, a task waits for one that can run it. It fails immediately when no worker ever can."""
    problem = unmet(requested_by(options), [HEAD], False, WORKERS)

    if lacks is None:
        assert problem is None
    else:
        assert problem is not None
        assert f"No node has more than {lacks}, and no worker that it starts will." in problem
        assert "taskResources" in problem


def test_task_waits_for_a_worker_that_is_replaced() -> None:
    """A cluster of fixed size without its workers refuses no task that they could run."""
    assert unmet(requested_by({}), [HEAD], True, None) is not None
    assert unmet(requested_by({}), [HEAD], True, WORKERS) is None


def test_task_waits_when_the_workers_of_a_cluster_are_unknown() -> None:
    """The environment does not contain the resources of the workers that the cluster can start."""
    assert unmet(requested_by({"num_gpus": 8}), [HEAD], False, None) is None
