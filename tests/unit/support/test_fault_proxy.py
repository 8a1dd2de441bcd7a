"""The proxy of the chaos rig injects what it says, at the write that it says, and nothing else."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from flowcluster_operator.resources import LEASE
from tests.support.fake_api import FakeApi
from tests.support.rig.faults import REASONS, Fault, FaultKind, target_of
from tests.support.rig.proxies import FaultProxy, ProxyLoop

SUBJECT = "subject"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/n/leases"
Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def proxy(api: FakeApi) -> Iterator[FaultProxy]:
    loop = ProxyLoop("", None)
    loop.start()
    loop.call(api.start())
    loop.server = yaml.safe_load(api.kubeconfig())["clusters"][0]["cluster"]["server"]
    proxy = loop.open()
    try:
        yield proxy
    finally:
        proxy.close()
        loop.call(api.stop())
        loop.stop()


@pytest.fixture
def ask(proxy: FaultProxy) -> Ask:
    """Send a request as the operator does; status 0 when the connection breaks. A watch ends when it has begun."""

    def send(method: str, path: str, name: str = "") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", int(proxy.url.rpartition(":")[2]), timeout=10)
        body = json.dumps({"metadata": {"name": name}, "spec": {}}) if name else None
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, None if "watch=true" in path else json.loads(answer.read())
        except (ConnectionError, http.client.HTTPException):
            return 0, None
        finally:
            connection.close()

    return send


def names(api: FakeApi) -> list[str]:
    return [obj["metadata"]["name"] for obj in api.objects.select(LEASE, "n")]


def test_writes_are_passed_on_and_numbered_by_subject(proxy: FaultProxy, ask: Ask) -> None:
    proxy.arm(Fault(), SUBJECT)
    ask("POST", LEASES, "other-1")
    ask("POST", LEASES, "subject-1")
    ask("DELETE", f"{LEASES}/subject-1")

    assert [(write.number, write.method, write.status) for write in proxy.writes] == [
        (0, "POST", 201), (1, "POST", 201), (2, "DELETE", 200),
    ]  # fmt: skip
    assert proxy.hit is None


@pytest.mark.parametrize(
    ("kind", "is_carried_out", "kills"),
    [
        (FaultKind.KILL_BEFORE, False, True),
        (FaultKind.KILL_AFTER, True, True),
        (FaultKind.AWAY, True, True),
        (FaultKind.DROP_ANSWER, True, False),
    ],
)
def test_answer_of_the_chosen_write_is_lost(
    api: FakeApi, proxy: FaultProxy, ask: Ask, kind: FaultKind, is_carried_out: bool, kills: bool
) -> None:
    killed = []
    proxy.kill = lambda: killed.append(True)
    proxy.arm(Fault(kind, 2), SUBJECT)
    statuses = [ask("POST", LEASES, f"subject-{number}")[0] for number in (1, 2, 3)]

    assert statuses == [201, 0, 201]
    assert ("subject-2" in names(api)) == is_carried_out
    assert bool(killed) == kills
    assert proxy.hit is not None
    assert proxy.hit.number == 2


def test_fault_with_a_target_happens_at_that_write_in_any_order(proxy: FaultProxy, ask: Ask) -> None:
    proxy.arm(Fault(FaultKind.REFUSE, 2, 500, "POST-leases"), SUBJECT)
    requests = [
        ("POST", LEASES, "subject-1"),
        ("DELETE", f"{LEASES}/subject-1", ""),
        ("POST", LEASES, "subject-2"),
        ("POST", LEASES, "subject-3"),
    ]

    assert [ask(*request)[0] for request in requests] == [201, 200, 500, 201]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (LEASES, "POST-leases"),
        (f"{LEASES}/subject-1", "POST-leases"),
        ("/apis/flowcluster.dev/v1alpha1/namespaces/n/flowruns/subject/status", "POST-status"),
        ("/api/v1/namespaces/n/secrets", "POST-secrets"),
    ],
)
def test_target_is_the_collection_or_the_subresource(path: str, target: str) -> None:
    assert target_of("POST", path) == target


@pytest.mark.parametrize("status", REASONS)
def test_chosen_write_is_refused_with_a_status_object(api: FakeApi, proxy: FaultProxy, ask: Ask, status: int) -> None:
    proxy.arm(Fault(FaultKind.REFUSE, 1, status), SUBJECT)
    code, body = ask("POST", LEASES, "subject-1")

    assert code == status == body["code"]
    assert body["kind"] == "Status"
    assert names(api) == []


def test_restarted_operator_lists_the_past_after_a_delete(proxy: FaultProxy, ask: Ask) -> None:
    proxy.arm(Fault(FaultKind.STALE_LISTS, 1), SUBJECT)
    ask("POST", LEASES, "subject-1")
    ask("GET", LEASES)
    ask("DELETE", f"{LEASES}/subject-1")
    before_restart = ask("GET", LEASES)[1]["items"]
    proxy.operator_started()
    after_restart = ask("GET", LEASES)[1]["items"]

    assert before_restart == []
    assert [item["metadata"]["name"] for item in after_restart] == ["subject-1"]


def test_watches_cannot_be_opened_while_they_are_cut(proxy: FaultProxy, ask: Ask) -> None:
    proxy.arm(Fault(FaultKind.CUT_WATCHES, 1), SUBJECT)
    watch = f"{LEASES}?watch=true&resourceVersion=0"
    before = ask("GET", watch)[0]
    ask("POST", LEASES, "subject-1")

    assert (before, ask("GET", watch)[0], ask("GET", LEASES)[0]) == (200, 500, 200)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(),
        Fault(FaultKind.KILL_AFTER, 7),
        Fault(FaultKind.REFUSE, 3, 409),
        Fault(FaultKind.KILL_AFTER, 1, target="POST-jobs"),
        Fault(FaultKind.REFUSE, 2, 409, "PUT-status"),
    ],
)
def test_fault_is_read_as_it_is_written(fault: Fault) -> None:
    assert Fault.parse(str(fault)) == fault
