"""The keeper of a shared Ray cluster: it reports idleness, and removes what ended runs leave."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from flowcluster_api import driver, tags
from flowcluster_api.keeper import Bounds, LiveRun, digest_of
from tests.support import unmeasured
from tests.support.kept import Kept
from tests.support.meeting import Gate
from tests.support.ray_head import RayHead
from tests.support.waiting import wait_until

pytest.importorskip("ray")
pytestmark = pytest.mark.xdist_group("keeper of ray")  # they share a head

TOKEN = "0123456789abcdef0123456789abcdef"
AUTHENTICATED = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    """A head that accepts only clients with the token."""
    with RayHead.start(cpus=4, modules=Path(__file__).parents[2], settings=AUTHENTICATED) as head:
        yield head


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow a busy machine more time to answer, and let keepers query the head at shorter intervals."""
    monkeypatch.setattr("flowcluster.agent.keeper.ray_cluster.TIMEOUT", 30.0)
    monkeypatch.setattr("flowcluster.agent.keeper.ray_cluster.INTERVAL", 0.2)


@pytest.fixture
def kept(head: RayHead, tmp_path: Path, quick_keeper: None) -> Iterator[Kept]:
    """A keeper of that head, with the token and no run."""
    (tmp_path / driver.TOKEN_FILE).write_text(TOKEN)
    with Kept.start() as kept:
        kept.instruct(default=Bounds(1, 2))
        with kept.keeper("Ray", head.address, tmp_path):
            yield kept


@contextmanager
def as_run(program: str, uid: str, address: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a program as in the driver's pod of a FlowRun with this UID. It is killed at the end of the block."""
    settings = {driver.ENV_CLUSTER_ADDRESS: address, driver.ENV_RUN_UID: uid, **AUTHENTICATED}
    path = Path(__file__).parents[1] / "support" / "programs" / f"{program}.py"
    modules = os.pathsep.join(filter(None, sys.path))
    environment = {**unmeasured.environment(), "PYTHONPATH": modules, **settings}
    process = subprocess.Popen(
        [sys.executable, str(path), *arguments],
        env=environment, start_new_session=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def uid() -> str:
    """The UID of a run, which no other run has, also on the same head."""
    return str(uuid.uuid4())


@pytest.fixture
def user(request: pytest.FixtureRequest, uid: str, head: RayHead, gate: Gate) -> Iterator[subprocess.Popen[str]]:
    """A program whose flow is the run. It is connected to the cluster as a node or as a Ray client."""
    address = getattr(head, request.param)
    with as_run("shared_user", uid, address, "Ray", address, gate.address) as process:
        yield process


def held(head: RayHead) -> dict[str, tuple[int, int]]:
    """Return, by run, how many jobs and actors it has at the head. A run with only other entries there has zeros."""
    from flowcluster.agent.keeper.ray_cluster import Head

    async def look() -> dict[str, tuple[int, int]]:
        async with grpc.aio.insecure_channel(head.address) as channel:
            found = await Head(channel, [("authorization", f"Bearer {TOKEN}")]).held()
        return {uid: (len(one.jobs), len(one.actors)) for uid, one in found.items()}

    return asyncio.run(look())


def shares(head: RayHead) -> str:
    """Return the shares of the runs that the keeper stored at the head, or an empty text before it did."""
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    async def look() -> bytes:
        async with grpc.aio.insecure_channel(head.address) as channel:
            store = gcs_service_pb2_grpc.InternalKVGcsServiceStub(channel)
            request = gcs_service_pb2.InternalKVGetRequest(key=tags.RAY_SHARES, namespace=tags.RAY_NAMESPACE)
            answer = await store.InternalKVGet(request, metadata=[("authorization", f"Bearer {TOKEN}")])
            return bytes(answer.value)

    return asyncio.run(look()).decode()


def idle(kept: Kept) -> int | None:
    progress: Any = kept.signs().progress
    return None if progress is None else progress.idle


def test_keeper_reports_the_idleness_of_a_head(kept: Kept) -> None:
    wait_until(lambda: (idle(kept) or 0) > 0, "the head is idle")

    assert kept.signs().holder is not None


@pytest.mark.parametrize(
    ("user", "is_killed"),
    [
        ("address", True),
        # On a busy machine, the actor was missing once. The cause is not known.
        pytest.param("client_address", False, marks=pytest.mark.long),
        pytest.param("address", False, marks=pytest.mark.long),
        pytest.param("client_address", True, marks=pytest.mark.long),
    ],
    indirect=["user"],
)
def test_run_that_is_no_longer_listed_leaves_nothing_at_the_head(
    kept: Kept, head: RayHead, uid: str, user: subprocess.Popen[str], is_killed: bool
) -> None:
    """Its driver is killed, or continues and does not end its work."""
    kept.instruct((LiveRun.of(uid, 3, 2),))
    wait_until(lambda: held(head).get(uid, (0, 0))[1] > 0, "the run has an actor", 120)
    if is_killed:
        os.killpg(user.pid, 9)
    assert uid in held(head)

    kept.instruct()

    wait_until(lambda: uid not in held(head), "nothing of the run is left", 30)
    wait_until(lambda: (idle(kept) or 0) > 0, "the head is idle again", 60)


def test_run_has_as_many_tasks_in_flight_as_its_share_allows(kept: Kept, head: RayHead, gate: Gate) -> None:
    uid = "0c7f6a52-0000-4000-8000-00000000000b"
    kept.instruct((LiveRun.of(uid, 0, 2),))
    wait_until(lambda: digest_of(uid) in shares(head), "the share of the run is at the head", 60)
    with as_run("counting_user", uid, head.address, head.address, gate.address) as process:
        assert process.stdout is not None
        assert max(read_until(2, process.stdout)) == 2

        kept.instruct((LiveRun.of(uid, 0, 3),))
        assert max(read_until(3, process.stdout)) == 3
        for _ in range(8):
            gate.open()
        assert max(map(int, process.stdout)) <= 3
        assert process.wait(60) == 0


@pytest.mark.parametrize("way", ["address", "client_address"])
def test_tasks_that_wait_are_dropped_with_their_run(kept: Kept, head: RayHead, way: str) -> None:
    """They are dropped although the program of the run continues."""
    uid = f"0c7f6a52-0000-4000-8000-{way:0>12.12}"
    address = getattr(head, way)
    kept.instruct((LiveRun.of(uid),))
    with as_run("tagged_client", uid, address, address, uid, "9") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "submitted\n"
        wait_until(lambda: idle(kept) == 0, "the head works")

        kept.instruct()
        wait_until(lambda: uid not in held(head), "nothing of the run is left", 30)
        wait_until(lambda: (idle(kept) or 0) > 0, "the head is idle again", 60)
        assert process.poll() is None


def test_plain_ray_client_is_tagged_with_the_run_of_its_cluster_object(head: RayHead) -> None:
    uid = "0c7f6a52-0000-4000-8000-00000000000c"
    with as_run("tagged_client", uid, head.client_address, head.client_address, uid, "0") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "submitted\n"
        assert held(head)[uid] == (1, 0)


def read_until(number: int, lines: Iterable[str]) -> list[int]:
    """Return the numbers in the lines up to this one."""
    found: list[int] = []
    for line in lines:
        found.append(int(line))
        if found[-1] == number:
            break
    return found
