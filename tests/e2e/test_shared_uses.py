"""Runs and programs on one shared cluster, which they do not change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from flowcluster import flow, task
from flowcluster.errors import ClusterError
from tests.support.shared_clusters import SharedClusters, by_reference, shared_cluster
from tests.support.shared_programs import CLASSES, RUNNERS, work_for
from tests.support.waiting import wait_until
from tests.support.world import World, own_world
from tools.install import Installed

pytestmark = [
    pytest.mark.timeout(400),
    # The image's Python may have another patch level than this machine's.
    pytest.mark.filterwarnings("ignore::distributed.versions.VersionMismatchWarning"),
]


class Team(NamedTuple):
    """A SharedCluster that all tests of a kind use.

    Attributes:
        kind: Dask or Ray.
        world: its namespace.
        clusters: the SharedClusters of that namespace, of which `team` is the one.
    """

    kind: str
    world: World
    clusters: SharedClusters


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("Dask", marks=pytest.mark.xdist_group("shared dask cluster")),
        # `make test` runs each test with the kind that starts faster.
        pytest.param("Ray", marks=pytest.mark.long),
    ],
)
def team(installed: Installed, request: pytest.FixtureRequest) -> Iterator[Team]:
    """A Ready SharedCluster in a namespace of its own."""
    kind: str = request.param
    with (
        own_world(installed.kubeconfig, f"team-{kind}") as world,
        shared_cluster(world, kind, workerGroups=[spare(0)]) as clusters,
    ):
        yield Team(kind, world, clusters)


def spare(minimum: int) -> dict[str, Any]:
    """Return a further worker group, as a SharedCluster's spec has it."""
    return {"name": "spare", "minimum": minimum, "maximum": 1}


def test_two_runs_by_reference_share_a_cluster(team: Team) -> None:
    world, before = team.world, own_clusters(team.world)
    for number in (1, 2):
        by_reference(world, f"run-{number}", "outcomes.py:good", parameters={"x": number})
    for number in (1, 2):
        status = world.wait_phase(f"run-{number}", "Succeeded", "Failed", seconds=180)
        assert status["phase"] == "Succeeded", status["message"]
        assert status["flow"]["result"] == str(2 * number)
        assert (status["cluster"]["kind"], status["display"]["tasks"]) == (team.kind, "1/1")
    assert own_clusters(world) == before
    assert team.clusters.status("team")["phase"] == "Ready"
    wait_until(lambda: team.clusters.status("team").get("runs", 0) == 0, "no run is on the cluster", 20)


def test_program_outside_uses_a_shared_cluster(team: Team, installed: Installed) -> None:
    @task
    def double(number: int) -> int:
        return 2 * number

    where = {"kubeconfig": str(installed.kubeconfig), "namespace": team.world.namespace}
    scheduler, earlier = team.clusters.scheduler("team"), run_names(team.world)
    with CLASSES[team.kind]("team", **where) as cluster, work_for(cluster) as execute:
        assert execute(sum, [1, 2]) == 3
        assert run_names(team.world) - earlier == {cluster.name}
        run = team.world.run(cluster.name)
        assert run is not None
        assert run["spec"]["cluster"] == {"ref": {"name": "team"}}
        with pytest.raises(ClusterError, match="SharedCluster team"):
            cluster.scale(3)
    kwargs = {"name": "team", "share": {"threads": 2}, **where}
    runner = RUNNERS[team.kind](cluster_class="flowcluster.clusters.SharedKubernetesCluster", cluster_kwargs=kwargs)

    @flow(task_runner=runner)
    def doubles() -> list[int]:
        return [double.submit(number) for number in range(5)]  # type: ignore[misc]

    assert doubles() == [0, 2, 4, 6, 8]
    for name in run_names(team.world) - earlier:
        assert team.world.wait_phase(name, "Succeeded", "Failed")["phase"] == "Succeeded"
    assert team.clusters.scheduler("team") == scheduler


def test_workers_of_a_group_follow_its_bounds(team: Team) -> None:
    scheduler = team.clusters.scheduler("team")
    for minimum in (1, 0):
        team.clusters.patch("team", workerGroups=[spare(minimum)])

        def is_so(wanted: int = minimum) -> bool:
            groups = {group["name"]: group for group in team.clusters.status("team")["workers"]}
            return (groups["spare"]["minimum"], groups["spare"]["ready"]) == (wanted, wanted)

        wait_until(is_so, f"{minimum} workers of the group are ready", 60)
    assert team.clusters.scheduler("team") == scheduler


def own_clusters(world: World) -> list[str]:
    return [item["metadata"]["uid"] for item in (*world.dask_clusters(), *world.ray_clusters())]


def run_names(world: World) -> set[str]:
    return {run["metadata"]["name"] for run in world.runs()}
