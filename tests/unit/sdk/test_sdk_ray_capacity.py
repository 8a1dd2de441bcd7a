"""Whether a Ray cluster will ever have what a task asks for, told by its nodes and by what it may start."""

from __future__ import annotations

from typing import Any

import pytest

from flowcluster.runners.ray.options import demand, unmet
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
def test_what_no_worker_to_come_will_have(options: dict[str, Any], lacks: str | None) -> None:
    """With no worker there, a task waits for one that can run it, and is told at once if none ever will."""
    told = unmet(demand(options), [HEAD], False, WORKERS)

    if lacks is None:
        assert told is None
    else:
        assert told is not None
        assert f"No node has more than {lacks}, and no worker that it starts will." in told
        assert "taskResources" in told


def test_a_worker_that_comes_back_is_waited_for() -> None:
    """A cluster of fixed size whose workers are gone for the moment refuses nothing that they could run."""
    assert unmet(demand({}), [HEAD], True, None) is not None
    assert unmet(demand({}), [HEAD], True, WORKERS) is None


def test_a_cluster_that_may_start_anything_is_waited_for() -> None:
    """Nobody told what it starts, and nobody that it starts nothing."""
    assert unmet(demand({"num_gpus": 8}), [HEAD], False, None) is None
