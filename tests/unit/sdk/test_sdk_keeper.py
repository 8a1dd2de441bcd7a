"""The decisions of a keeper, and its requests for its Lease."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster.agent import shared_runs_plugin
from flowcluster.agent.keeper.assignment import Assignment
from flowcluster.agent.keeper.dask_cluster import groups_of
from flowcluster.agent.keeper.ended_runs import READINGS, EndedRuns
from flowcluster.agent.keeper.shares import shares_of
from flowcluster.agent.scaling_plugin import Group
from flowcluster.agent.shared_runs_plugin import SharedRunsPlugin
from flowcluster.errors import KubernetesError, NotFound
from flowcluster.kube.lease_client import OneLease
from flowcluster.runners.dask import scheduler_plugin as session_plugin
from flowcluster.runners.sharing import Share
from flowcluster_api import names, tags
from flowcluster_api.keeper import Bounds, Instructions, LiveRun, digest_of
from flowcluster_operator.desired.keeper_deployment import keeper_deployment
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import LEASE
from flowcluster_operator.settings import Settings
from tests.support.fake_api import FakeApi
from tests.support.fake_api.faults import Answer, Drop

UIDS = st.sampled_from(["a", "b", "c"])
#: For each look: the present runs, the listed runs, and the number of readings since the last look.
LOOKS = st.lists(st.tuples(st.frozensets(UIDS), st.frozensets(UIDS), st.integers(0, 2)), max_size=20)


@given(LOOKS)
def test_run_is_over_only_after_readings_that_do_not_list_it(
    looks: list[tuple[frozenset[str], frozenset[str], int]],
) -> None:
    departures, reading = EndedRuns(), 0
    listed_by_reading: dict[int, frozenset[str]] = {}
    first_seen: dict[str, int] = {}
    for present, listed, readings in looks:
        for _ in range(readings):
            reading += 1
            listed_by_reading[reading] = listed
        current = listed_by_reading.get(reading, frozenset())
        first_seen = {uid: first_seen.get(uid, reading) for uid in present}

        for uid in departures.over(present, set(map(digest_of, current)), reading):
            assert uid in present
            last = range(reading - READINGS + 1, reading + 1)
            assert not any(uid in listed_by_reading.get(number, frozenset()) for number in last)
            was_listed = any(uid in seen for seen in listed_by_reading.values())
            assert was_listed or first_seen[uid] <= reading - READINGS


def test_run_that_was_listed_is_over_after_two_readings_without_it() -> None:
    departures = EndedRuns()

    found = [departures.over(["a"], [digest_of("a")] if reading < 3 else [], reading) for reading in (1, 2, 3, 3, 4)]

    assert found == [[], [], [], [], ["a"]]


def test_run_that_connects_before_it_is_listed_is_not_over() -> None:
    departures = EndedRuns()

    found = [departures.over(["a"], [digest_of("a")] if reading > 2 else [], reading) for reading in (1, 2, 3, 4)]

    assert found == [[], [], [], []]


@given(st.integers(1, 50), st.integers(0, 100), st.integers(1, 8))
def test_runs_without_a_share_get_equal_parts_of_twice_the_threads(runs: int, workers: int, threads: int) -> None:
    live = tuple(LiveRun.of(str(n), n) for n in range(runs))
    part = max(2 * workers * threads // runs, 1)

    found = shares_of(Instructions((("", Bounds(0, workers, threads)),), live))

    assert found == (part, {run.digest: (run.priority, part) for run in live[1:]})


def test_run_with_a_share_gets_its_share() -> None:
    instructions = Instructions((("", Bounds(0, 10, 4)),), (LiveRun.of("a", 0, 3), LiveRun.of("b")))

    assert shares_of(instructions) == (40, {digest_of("a"): (0, 3)})


@given(st.text())
def test_scheduler_identifies_a_run_by_the_digest_in_the_instructions(uid: str) -> None:
    assert shared_runs_plugin._digest_of(uid) == digest_of(uid)


def test_groups_have_the_names_of_their_workers() -> None:
    instructions = Instructions((("gpu", Bounds(0, 2, 4, (("GPU", 2.0),))), ("", Bounds(1, 3))))

    assert groups_of(instructions, "mine") == [
        Group("", "mine-default", 1, 3, 1, {}),
        Group("gpu", names.group_name("mine", "gpu"), 0, 2, 4, {"GPU": 2.0}),
    ]


#: A part of the id that Dask gives to a client.
PLAIN_ID = "eb8a4ee2-ea16-11f1-89c3-02fc00000001"


@given(st.uuids(), st.sampled_from([None, "mine", "run.of-mine", "a-run.b"]))
def test_scheduler_reads_the_run_in_the_id_of_a_client(uid: uuid.UUID, name: str | None) -> None:
    plugin = SharedRunsPlugin(tags.DASK_MARK, tags.DASK_REST)
    client = f"Client-{tags.dask_client_name(str(uid), name)}-{PLAIN_ID}"

    assert plugin.run_of(client) == str(uid)


@pytest.mark.parametrize("client", [None, "", f"Client-{PLAIN_ID}", f"Client-worker-{PLAIN_ID}"])
def test_client_without_a_run_has_none(client: str | None) -> None:
    assert SharedRunsPlugin(tags.DASK_MARK, tags.DASK_REST).run_of(client) is None


def test_plugin_of_sessions_has_the_name_of_the_plugin_of_the_keeper() -> None:
    """The SDK sends both to schedulers by value, so neither can import the other."""
    assert session_plugin._RUNS == shared_runs_plugin.NAME


@pytest.mark.parametrize(
    ("share", "wanted", "found"),
    [(Share(), 7, 7), (Share(2), 7, 2_000_007), (Share(-1), 0, -1_000_000), (Share(0), 10**9, 499_999)],
)
def test_priority_of_a_run_counts_more_than_that_of_its_tasks(share: Share, wanted: int, found: int) -> None:
    assert share.ranked(wanted) == found


@pytest.mark.parametrize(
    ("share", "most", "found"), [(Share(), 9, 9), (Share(), None, None), (Share(0, 4), 9, 4), (Share(0, 40), 9, 9)]
)
def test_share_limits_the_runs_in_flight_of_a_runner(share: Share, most: int | None, found: int | None) -> None:
    assert share.bound(most) == found


def test_keeper_reads_the_environment_that_the_operator_gives_to_its_pod() -> None:
    from flowcluster_api.v1alpha1 import FlowRunSpec

    spec = FlowRunSpec.model_validate({"cluster": {"kind": "Dask"}})
    key = RunId("team", "analytics", "uid", names.SHARED_KIND)
    pod = keeper_deployment(key, spec, Settings(), "secret", "tls://there:8786")["spec"]["template"]["spec"]
    given = {item["name"]: item.get("value", "keeper-pod") for item in pod["containers"][0]["env"]}

    assert Assignment.from_env(given) == Assignment(
        "team", names.child_name("analytics", "uid"), "Dask", "tls://there:8786", "keeper-pod",
        Path("/etc/flowcluster/keys"), "uid",
    )  # fmt: skip


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """An API server with one Lease that requires a token."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    made = FakeApi()
    made.token = "token"
    made.objects.create(LEASE, "team", {"metadata": {"name": "mine"}})
    asyncio.run_coroutine_threadsafe(made.start(), loop).result(10)
    yield made
    asyncio.run_coroutine_threadsafe(made.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """Return the file with the token, as the kubelet writes it."""
    path = tmp_path / "token"
    path.write_text("token\n")
    return path


def test_lease_is_patched_with_the_current_token(api: FakeApi, token: Path) -> None:
    lease = OneLease(api.url, "team", "mine", token)
    lease.get()
    api.token = "later"
    token.write_text("later")

    found = lease.patch({"spec": {"holderIdentity": "me"}})

    assert found["spec"] == {"holderIdentity": "me"}


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Answer(403, "no right"), KubernetesError, "no right"),
        (Answer(404, "not there"), NotFound, "not there"),
        (Answer(200, body="[]"), KubernetesError, "status 200"),
        (Answer(502, body="<html>"), KubernetesError, "status 502"),
        (Drop(), KubernetesError, "cannot be reached"),
    ],
)
def test_failed_request_for_a_lease_names_its_cause(
    api: FakeApi, token: Path, fault: Answer | Drop, kind: type[Exception], words: str
) -> None:
    api.inject(fault, "GET")

    with pytest.raises(kind, match=words):
        OneLease(api.url, "team", "mine", token).get()


def test_pod_without_a_token_reports_that(api: FakeApi, tmp_path: Path) -> None:
    with pytest.raises(KubernetesError, match="token"):
        OneLease(api.url, "team", "mine", tmp_path / "token").get()


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_keeper_does_without_the_official_client_of_kubernetes(kind: str) -> None:
    """The client uses 40 MiB of the 100 MiB that a keeper can have."""
    pytest.importorskip({"dask": "distributed"}.get(kind, kind))
    modules = ["flowcluster.agent.keeper.keep_cluster", f"flowcluster.agent.keeper.{kind}_cluster"]
    program = f"import {', '.join(modules)}, sys; print('kubernetes' in sys.modules)"
    path = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)

    assert found.stdout == "False\n"
