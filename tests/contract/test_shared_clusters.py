"""The classes for shared clusters, with a local Dask cluster in place of that of a SharedCluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import distributed
import pytest

from flowcluster import flow, task
from flowcluster.clusters import SharedKubernetesCluster, SharedRayKubernetesCluster
from flowcluster.clusters.claim import Claim
from flowcluster.errors import ClusterError
from flowcluster.task_runners import DaskTaskRunner
from flowcluster_api.driver import Outcome
from flowcluster_api.tags import DASK_MARK, DASK_REST, dask_client_name

NAME = "flowcluster.clusters.SharedKubernetesCluster"
UID = "0f8fad5b-d9cb-469f-a165-70867728950e"


class RecordedClaims:
    """Records the claims of a test and their releases.

    Attributes:
        address: of the scheduler that their FlowRuns lead to.
        kind: of the SharedCluster.
        made: their FlowRuns.
        outcomes: how they were released.
    """

    def __init__(self, address: str) -> None:
        self.address, self.kind = address, "Dask"
        self.made: list[dict[str, Any]] = []
        self.outcomes: list[Outcome] = []

    def bring_up(self, claim: Claim, report: Any) -> dict[str, Any]:
        self.made.append(claim.manifest)
        claim._uid = UID
        claim.name = claim.manifest["metadata"].get("name") or claim.manifest["metadata"]["generateName"] + "x"
        return {"cluster": {"kind": self.kind, "address": self.address, "dashboard": "http://dashboard"}}

    def release(self, claim: Claim, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a Dask scheduler with one worker."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def claims(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> RecordedClaims:
    """Claims that return the address of that scheduler, as in a pod that has the cluster's credentials."""
    found = RecordedClaims(scheduler)
    monkeypatch.setattr(Claim, "bring_up", lambda claim, report: found.bring_up(claim, report))
    monkeypatch.setattr(Claim, "release", lambda claim, outcome: found.release(claim, outcome))
    monkeypatch.setattr(Claim, "is_reachable", True)
    return found


def test_client_uses_a_shared_cluster_and_leaves_it(claims: RecordedClaims) -> None:
    with SharedKubernetesCluster("analytics") as cluster, distributed.Client(cluster) as client:
        assert client.submit(sum, [1, 2]).result() == 3
        assert cluster.name == "analytics-x"
        assert cluster.dashboard_link == "http://dashboard"

    assert [made["spec"]["cluster"] for made in claims.made] == [{"ref": {"name": "analytics"}}]
    assert [outcome.reason for outcome in claims.outcomes] == ["ClusterReleased"]
    with distributed.Client(claims.address) as client:  # the scheduler still runs
        assert client.submit(sum, [3, 4]).result() == 7


def test_clients_on_one_scheduler_do_not_replace_each_other(claims: RecordedClaims) -> None:
    with SharedKubernetesCluster("analytics", run_name="first") as first:
        with SharedKubernetesCluster("analytics", run_name="second") as second:
            second.wait_for_workers(1, 30)
        assert (first.name, second.name) == ("first", "second")
        assert first != second
        first.wait_for_workers(1, 30)
        assert len(first.scheduler_info["workers"]) == 1
    with distributed.Client(claims.address) as client:
        info = client.run_on_scheduler(
            lambda dask_scheduler: str(dask_scheduler.get_metadata(["cluster-manager-info"]))
        )
    assert "first" not in info
    assert "second" not in info


def test_client_on_an_event_loop_uses_a_shared_cluster(claims: RecordedClaims) -> None:
    async def use() -> Any:
        async with (
            SharedKubernetesCluster("analytics", asynchronous=True) as cluster,
            distributed.Client(cluster, asynchronous=True) as client,
        ):
            return await client.submit(sum, [1, 2])

    assert asyncio.run(use()) == 3
    assert len(claims.outcomes) == 1


@pytest.mark.parametrize("named", [NAME, SharedKubernetesCluster])
def test_flow_uses_a_shared_cluster_by_its_runner(named: Any, claims: RecordedClaims) -> None:
    @task
    def double(number: int) -> int:
        return 2 * number

    kwargs = {"name": "analytics", "priority": 5, "share": {"threads": 2}}

    @flow(task_runner=DaskTaskRunner(cluster_class=named, cluster_kwargs=kwargs), flow_run_name="gentle-otter")
    def doubles() -> list[int]:
        return [double.submit(number) for number in range(3)]  # type: ignore[misc]

    assert doubles() == [0, 2, 4]
    (made,) = claims.made
    assert made["metadata"] == {"generateName": "gentle-otter-"}
    assert made["spec"]["cluster"]["ref"] == {"name": "analytics", "priority": 5, "share": {"threads": 2}}
    assert [(outcome.state, outcome.tasks.completed) for outcome in claims.outcomes] == [("Completed", 3)]


@pytest.mark.parametrize(
    ("make", "kind", "named"),
    [
        (SharedKubernetesCluster, "Ray", "SharedRayKubernetesCluster"),
        (SharedRayKubernetesCluster, "Dask", "SharedKubernetesCluster"),
    ],
)
def test_flow_run_is_released_when_the_shared_cluster_is_of_the_other_kind(
    make: Any, kind: str, named: str, claims: RecordedClaims
) -> None:
    claims.kind = kind
    with pytest.raises(ClusterError, match=rf"SharedCluster analytics is a {kind} cluster.*\.{named}\."):
        make("analytics")

    assert {outcome.state for outcome in claims.outcomes} == {"Cancelled"}


def test_flow_ends_before_its_tasks_when_it_wants_to_scale_a_shared_cluster(claims: RecordedClaims) -> None:
    runner = DaskTaskRunner(cluster_class=NAME, cluster_kwargs={"name": "analytics"}, adapt_kwargs={"maximum": 3})

    @flow(task_runner=runner)
    def never() -> None:
        raise AssertionError("the flow runs")

    with pytest.raises(ClusterError, match=r"adapt\(\) does not work on SharedCluster analytics"):
        never()
    assert len(claims.outcomes) == 1


def ids_of_clients(address: str) -> list[str]:
    """Return the ids of the clients of a scheduler, without the client that this function opens."""
    with distributed.Client(address) as client:
        found: list[str] = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.clients))
        return [each for each in found if each not in (client.id, "fire-and-forget")]


class OwnClient(distributed.Client):  # type: ignore[misc]
    """A subclass of Dask's client, as Prefect has one."""


@pytest.mark.parametrize(("name", "shown"), [(None, ""), ("mine", "mine-")])
@pytest.mark.parametrize("make", [distributed.Client, OwnClient])
def test_client_is_tagged_with_the_run_when_it_is_given_the_cluster(
    make: Any, name: str | None, shown: str, claims: RecordedClaims
) -> None:
    with SharedKubernetesCluster("analytics") as cluster, make(cluster, name=name) as client:
        assert client.submit(sum, [1, 2]).result() == 3
        (found,) = ids_of_clients(claims.address)

    assert found.startswith(f"{make.__name__}-{shown}{dask_client_name(UID)}-")
    assert len(found) == len(f"{make.__name__}-{shown}{dask_client_name(UID)}") + DASK_REST


def test_client_on_an_event_loop_is_tagged(claims: RecordedClaims) -> None:
    async def use() -> str:
        async with (
            SharedKubernetesCluster("analytics", asynchronous=True) as cluster,
            distributed.Client(cluster, asynchronous=True) as client,
        ):
            await client.submit(sum, [1, 2])
            return str(client.id)

    assert dask_client_name(UID) in asyncio.run(use())


def test_client_of_another_cluster_is_not_tagged(claims: RecordedClaims) -> None:
    with SharedKubernetesCluster("analytics"), distributed.Client(claims.address) as other:
        assert DASK_MARK not in other.id
