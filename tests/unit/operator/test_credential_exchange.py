"""Driver pods of other namespaces get the credentials of a SharedCluster: requested, sealed, opened, mounted."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from flowcluster_api import conditions as c
from flowcluster_api import handover, names
from flowcluster_api.handover import CredentialAnswer
from flowcluster_api.sealing import new_key, public_text, seal
from flowcluster_operator.resources import FLOW_RUN, JOB, LEASE, NETWORK_POLICY, SECRET
from tests.support.credential_exchange import (
    Keeper,
    annotate,
    answer,
    credentials,
    given,
    granting,
    guest,
    lease,
    requests,
    secrets_of,
    waiting,
)
from tests.support.makers import ago
from tests.support.plans import condition
from tests.support.shared import KEY, NAME
from tests.support.shared_users import end, instructed, job
from tests.support.shared_world import World

BOTH = pytest.mark.parametrize("kind", ["Dask", "Ray"])


@pytest.fixture
def keeper(world: World, tmp_path: Path) -> Keeper:
    return Keeper(world, tmp_path)


def decoded(world: World) -> dict[str, bytes]:
    return {name: base64.b64decode(content) for name, content in credentials(world).items()}


@BOTH
async def test_run_of_another_namespace_runs_with_the_credentials_of_the_cluster(
    world: World, keeper: Keeper, kind: str
) -> None:
    world.create(granting(kind))
    await world.work()
    key = guest(world)
    await keeper.serve()
    made = job(world, key)

    assert world.status(key)["phase"] == "Running"
    assert given(world, key) == credentials(world)
    assert [obj["metadata"]["namespace"] for obj in secrets_of(world, key)] == ["tenant"]
    assert made["spec"]["template"]["metadata"]["labels"][names.LABEL_USES] == KEY.uid
    assert world.status(key)["cluster"]["address"] == world.status()["address"]


async def test_requests_and_answers_are_gone_once_the_run_runs(world: World, keeper: Keeper) -> None:
    world.create(granting())
    guest(world)
    await keeper.serve()
    found = lease(world)
    assert found is not None

    assert requests(world) == ()
    assert handover.ANNOTATION_ANSWERS not in found["metadata"]["annotations"]


async def test_request_and_place_in_the_list_are_one_write(world: World, keeper: Keeper) -> None:
    world.create(granting())
    await world.work()
    world.api.requests.clear()
    guest(world)
    await keeper.serve()

    assert len([item for item in world.api.seen("PATCH", LEASE) if NAME in item]) == 2, "the second removes it"


async def test_lease_shows_nothing_of_the_credentials(world: World, keeper: Keeper) -> None:
    world.create(granting())
    await world.work()
    guest(world)
    await world.work()
    keeper.act()
    found = json.dumps(lease(world))

    assert handover.ANNOTATION_ANSWERS in found
    for content in credentials(world).values():
        assert content not in found
        assert content[:40] not in found


async def test_end_of_the_run_deletes_its_secret(world: World, keeper: Keeper) -> None:
    world.create(granting())
    key = guest(world)
    await keeper.serve()
    end(world, key)
    await keeper.serve()

    assert world.status(key)["phase"] == "Succeeded"
    assert {obj["metadata"]["namespace"] for obj in world.api.objects.all(SECRET)} == {KEY.namespace}


async def test_run_waits_without_a_job_until_the_keeper_answers(world: World, keeper: Keeper) -> None:
    key = await waiting(world)
    status = world.status(key)
    assert (status["phase"], status["reason"], world.api.objects.all(JOB)) == ("Starting", c.WAITING, [])
    assert "credentials" in status["message"]
    assert [request.run for request in requests(world)] == instructed(world) == [key.uid]

    await keeper.serve()
    assert world.status(key)["phase"] == "Running"


@pytest.mark.parametrize("holder", [None, "keeper-1"], ids=["never seen", "seen"])
async def test_run_names_a_keeper_that_is_silent(
    world: World, keeper: Keeper, monkeypatch: pytest.MonkeyPatch, holder: str | None
) -> None:
    key = await waiting(world)
    if holder is not None:
        world.report()
        await world.work()
    monkeypatch.setattr("flowcluster_operator.policies.credential_exchange.SILENT_SECONDS", 0)
    await world.passes.make(key)
    status = world.status(key)
    assert (status["phase"], status["reason"]) == ("Starting", c.KEEPER_SILENT)
    assert "keeper" in status["message"]

    await keeper.serve()
    assert world.status(key)["phase"] == "Running"


async def test_run_is_looked_at_again_when_the_keeper_counts_as_silent(world: World) -> None:
    key = await waiting(world)
    wait = await world.passes.make(key)

    assert wait is not None
    assert 30 < wait <= 60


async def test_run_whose_keeper_does_not_answer_ends_at_its_start_deadline_with_the_cause(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await waiting(world)
    monkeypatch.setattr("flowcluster_operator.policies.credential_exchange.SILENT_SECONDS", 0)
    await world.passes.make(key)
    world.api.objects.merge(FLOW_RUN, key.namespace, key.name, {"status": {"startTime": ago(100_000)}})
    await world.work()
    finished = condition(world.status(key), c.FINISHED)

    assert finished["reason"] == c.KEEPER_SILENT
    assert "startDeadlineSeconds" in finished["message"]
    assert requests(world) == ()


async def test_run_names_what_the_keeper_lacks(world: World, keeper: Keeper) -> None:
    key = await waiting(world)
    (request,) = requests(world)
    answer(world, CredentialAnswer(*request, "", "the image lacks a package"))
    await world.work()
    status = world.status(key)
    assert status["reason"] == c.CLUSTER_NOT_READY
    assert "the image lacks a package" in status["message"]

    await keeper.serve()
    assert world.status(key)["phase"] == "Running"


async def test_answers_before_the_request_are_ignored(world: World, keeper: Keeper) -> None:
    """They are left of an earlier operator, or another client wrote them."""
    world.create(granting())
    await world.work()
    stranger = public_text(new_key())
    for key in (stranger, "", "x"):
        sealed = seal(decoded(world), stranger, "uid-report", KEY.uid)
        answer(world, CredentialAnswer("uid-report", key, sealed))
        await world.work()
    run = guest(world)
    await world.work()
    assert (world.status(run)["reason"], secrets_of(world, run)) == (c.WAITING, [])

    await keeper.serve()
    assert given(world, run) == credentials(world)


@pytest.mark.parametrize("wrong", ["run", "cluster", "key", "byte", "text"])
async def test_answer_for_another_run_cluster_or_key_makes_no_secret(world: World, keeper: Keeper, wrong: str) -> None:
    key = await waiting(world)
    (request,) = requests(world)
    to = public_text(new_key()) if wrong == "key" else request.key
    run, cluster = "other" if wrong == "run" else key.uid, "other" if wrong == "cluster" else KEY.uid
    sealed = seal(decoded(world), to, run, cluster)
    sealed = {"byte": f"{'B' if sealed[0] == 'A' else 'A'}{sealed[1:]}", "text": "x"}.get(wrong, sealed)
    answer(world, CredentialAnswer(*request, sealed))
    await world.work()
    assert (world.status(key)["reason"], secrets_of(world, key)) == (c.CLUSTER_NOT_READY, [])

    await keeper.serve()
    assert (world.status(key)["phase"], given(world, key)) == ("Running", credentials(world))


async def test_answer_in_the_name_of_another_run_makes_no_secret(world: World) -> None:
    key = await waiting(world)
    (request,) = requests(world)
    other = guest(world, "other")
    await world.work()
    sealed = seal(decoded(world), request.key, key.uid, KEY.uid)
    answer(world, CredentialAnswer(other.uid, request.key, sealed))
    await world.work()

    assert secrets_of(world, key) == secrets_of(world, other) == []


@pytest.mark.parametrize("how", ["grant", "cancelled", "suspended", "deleted"])
async def test_request_of_a_run_that_needs_it_no_more_is_removed(world: World, keeper: Keeper, how: str) -> None:
    key = await waiting(world)
    other = guest(world, "other")
    await world.work()
    keeper.act()
    if how == "grant":
        world.edit({"allowedNamespaces": []})
    elif how == "deleted":
        world.api.objects.delete(FLOW_RUN, key.namespace, key.name)
    else:
        world.edit({"cancel": True} if how == "cancelled" else {"suspend": True}, key)
    annotate(world, {handover.ANNOTATION_ANSWERS: None})  # nothing was opened yet
    await world.work()

    assert [item.run for item in requests(world)] == ([] if how == "grant" else [other.uid])
    assert world.api.objects.all(JOB) == []
    keeper.act()
    found = lease(world)
    assert found is not None
    assert {item.run for item in handover.answers_in(found)} == {item.run for item in requests(world)}


async def test_withdrawn_grant_ends_the_run_and_deletes_its_secret(world: World, keeper: Keeper) -> None:
    world.create(granting())
    key = guest(world)
    await keeper.serve()
    world.edit({"allowedNamespaces": []})
    await keeper.serve()

    assert condition(world.status(key), c.FINISHED)["reason"] == c.CLUSTER_LOST
    assert secrets_of(world, key) == []


async def test_withdrawn_grant_ends_a_run_whose_driver_waits_with_the_credentials(world: World, keeper: Keeper) -> None:
    """It could still connect when the cluster is there: its credentials are those of the cluster."""
    world.create(granting())
    key = guest(world)
    await keeper.serve()
    not_used_yet = {"status": {"cluster": {"scheduler": None}}}
    world.api.objects.merge(FLOW_RUN, key.namespace, key.name, not_used_yet)
    world.edit({"allowedNamespaces": []})
    await keeper.serve()

    assert condition(world.status(key), c.FINISHED)["reason"] == c.CLUSTER_LOST
    assert secrets_of(world, key) == []


async def test_requests_are_bounded_and_all_runs_run(
    world: World, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowcluster_api.handover.AT_A_TIME", 2)
    monkeypatch.setattr("flowcluster_operator.policies.credential_exchange.AT_A_TIME", 2)
    world.create(granting())
    await world.work()
    keys = [guest(world, f"run-{number}") for number in range(5)]
    await world.work()
    served = {item.run for item in requests(world)}
    messages = [world.status(key)["message"] for key in keys if key.uid not in served]
    assert len(served) == 2
    assert ["2 runs at a time" in message for message in messages] == [True] * 3

    for _ in keys:
        assert len(requests(world)) <= 2
        await keeper.serve(1)
    await keeper.serve()
    assert {world.status(key)["phase"] for key in keys} == {"Running"}


async def test_replaced_cluster_ends_a_run_that_started_with_the_old_credentials(world: World, keeper: Keeper) -> None:
    """As in the namespace of the cluster. The Job names the Secret whose content it mounts."""
    world.create(granting())
    key = guest(world, flow={"entrypoint": "flow.py:main", "backoffLimit": 1})
    await keeper.serve()
    before = given(world, key)
    world.edit({"suspend": True})
    await keeper.serve()
    world.edit({"suspend": False})
    await keeper.serve(12)

    assert (world.status(key)["phase"], world.status(key)["flow"]["lostClusters"]) == ("Running", 1)
    assert given(world, key) == credentials(world) != before


async def test_client_without_a_flow_needs_no_credentials(world: World) -> None:
    world.create(granting())
    key = guest(world, flow=None)
    await world.work(16)

    assert (world.status(key)["phase"], requests(world)) == ("Running", ())


async def test_run_of_another_operator_class_than_the_cluster_names_that(world: World) -> None:
    """The operator that requests the credentials is that of the cluster; only that of the run could open them."""
    world.create(granting(operatorClass="other"))
    await world.work()
    key = guest(world)
    await world.work()

    assert requests(world) == ()
    assert world.api.objects.all(JOB) == []
    assert world.status(key)["phase"] == "Starting"


async def test_pods_of_the_cluster_reach_the_driver_in_the_other_namespace(world: World, keeper: Keeper) -> None:
    """Ray's head and workers connect to the driver, which is a node of the cluster."""
    world.create(granting("Ray"))
    key = guest(world)
    await keeper.serve()
    (policy,) = [obj for obj in world.api.objects.all(NETWORK_POLICY) if obj["metadata"]["namespace"] == "tenant"]
    own, cluster = policy["spec"]["ingress"][0]["from"]

    assert own == {
        "podSelector": {"matchExpressions": [{"key": names.LABEL_RUN_UID, "operator": "In", "values": [key.uid]}]}
    }
    assert cluster["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": KEY.namespace}}
    assert cluster["podSelector"]["matchExpressions"][0]["values"] == [KEY.uid]
