"""The proxy of the chaos rig injects what it says, at the write that it says, and nothing else."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from flowcluster_operator.model.failures import Rejection
from flowcluster_operator.model.plan import Create
from flowcluster_operator.policies.refusals import final_refusal
from flowcluster_operator.resources import JOB, LEASE
from tests.support.fake_api import Answer, FakeApi
from tests.support.rig.faults import REASONS, Fault, FaultKind, target_of
from tests.support.rig.proxies import FaultProxy
from tests.support.rig.proxy_loop import ProxyLoop
from tests.support.rig.rights import OPERATOR
from tests.support.rig.writes import Write

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


def test_fault_happens_at_the_first_write_that_the_caller_chooses(proxy: FaultProxy, ask: Ask) -> None:
    seen: list[str] = []

    def is_second(write: Write) -> bool:
        seen.append(write.target)
        return len(seen) == 2

    proxy.arm(Fault(FaultKind.REFUSE, 1, 500, "POST-jobs"), SUBJECT, is_second)
    statuses = [ask("POST", LEASES, f"{name}-1")[0] for name in ("other", SUBJECT, f"{SUBJECT}-2", f"{SUBJECT}-3")]

    assert statuses == [201, 201, 500, 201]
    assert seen == ["POST-leases"] * 2


@pytest.mark.parametrize(
    ("target", "counts"),
    [("DELETE-roles", True), ("DELETE-networkpolicies", True), ("POST-roles", False), ("DELETE-jobs", False)],
)
def test_fault_at_a_group_counts_each_deletion_of_the_group(target: str, counts: bool) -> None:
    fault = Fault(FaultKind.KILL_AFTER, 1, target="DELETE-access")

    assert fault.is_at(target) == counts


def test_fault_at_a_group_happens_at_the_first_deletion_that_is_made(proxy: FaultProxy, ask: Ask) -> None:
    proxy.arm(Fault(FaultKind.REFUSE, 1, 500, "DELETE-orphans"), SUBJECT)
    jobs = "/apis/batch/v1/namespaces/n/jobs/subject-1"

    assert [ask("DELETE", path)[0] for path in (f"{LEASES}/subject-1", jobs, jobs)] == [404, 500, 404]


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


def test_listings_from_the_past_are_of_one_version(api: FakeApi, proxy: FaultProxy, ask: Ask) -> None:
    proxy.arm(Fault(FaultKind.STALE_LISTS, 1), SUBJECT)
    ask("POST", LEASES, "subject-1")
    jobs, absent = LEASES.replace("coordination.k8s.io/v1", "batch/v1").replace("leases", "jobs"), f"{LEASES}es"
    for path in (f"{LEASES}?limit=500", jobs, f"{absent}?limit=500"):
        ask("GET", path)
    before = len(api.requests)
    ask("DELETE", f"{LEASES}/subject-1")
    proxy.operator_started()
    first, second = (request for request in api.requests[before:] if request.method == "GET")
    version = ask("GET", f"{LEASES}?limit=500")[1]["metadata"]["resourceVersion"]

    assert "resourceVersion" not in first.query
    assert second.query == {"resourceVersion": version, "resourceVersionMatch": "Exact"}
    assert ask("GET", f"{absent}?limit=500")[0] == 404


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
        Fault(FaultKind.REFUSE, 2, 409, "PUT-status-Running"),
    ],
)
def test_fault_is_read_as_it_is_written(fault: Fault) -> None:
    assert Fault.parse(str(fault)) == fault


STATUS = "/apis/flowcluster.dev/v1alpha1/namespaces/n/flowruns/subject/status"
WATCH = f"{LEASES}?watch=true&resourceVersion=0"
JOBS = "/apis/batch/v1/namespaces/n/jobs?watch=true&resourceVersion=0"


def opened(proxy: FaultProxy, path: str = WATCH) -> http.client.HTTPConnection:
    """Open a watch that stays."""
    connection = http.client.HTTPConnection("127.0.0.1", int(proxy.url.rpartition(":")[2]), timeout=10)
    connection.request("GET", path)
    assert connection.getresponse().status == 200
    return connection


def test_status_and_event_are_recorded_with_what_they_report(proxy: FaultProxy) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(proxy.url.rpartition(":")[2]), timeout=10)
    proxy.arm(Fault(), SUBJECT)
    for method, path, body in (
        ("PUT", STATUS, {"status": {"phase": "Stopping", "reason": "Succeeded", "message": "subject"}}),
        ("POST", "/api/v1/namespaces/n/events", {"reason": "NothingLeft", "message": "subject"}),
        ("POST", LEASES, {"metadata": {"name": "subject-1"}}),
    ):
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        connection.getresponse().read()
    connection.close()

    assert [(write.target, write.about) for write in proxy.numbered()] == [
        ("PUT-status-Stopping", "Stopping Succeeded"), ("POST-events-NothingLeft", "NothingLeft"), ("POST-leases", ""),
    ]  # fmt: skip


def test_write_is_recorded_with_the_process_that_made_it(proxy: FaultProxy, ask: Ask) -> None:
    proxy.arm(Fault(), SUBJECT)
    for number in (1, 2):
        proxy.operator_started()
        ask("POST", LEASES, f"subject-{number}")

    assert [write.process for write in proxy.numbered()] == [1, 2]


def test_reset_forgets_the_writes_and_ends_the_fault(proxy: FaultProxy, ask: Ask) -> None:
    proxy.arm(Fault(FaultKind.CUT_WATCHES, 1), SUBJECT)
    ask("POST", LEASES, "subject-1")
    cut = ask("GET", WATCH)[0]
    proxy.reset()
    proxy.arm(Fault(FaultKind.REFUSE, 1, 409), SUBJECT)

    assert (cut, ask("GET", WATCH)[0]) == (500, 200)
    assert proxy.writes == []
    assert ask("POST", LEASES, "subject-2")[0] == 409


@pytest.mark.parametrize("kind", [FaultKind.CUT_WATCHES, FaultKind.FREEZE_WATCHES])
def test_proxy_is_not_quiet_while_a_fault_lasts(proxy: FaultProxy, ask: Ask, kind: FaultKind) -> None:
    proxy.operator_started()
    watch = opened(proxy)
    proxy.arm(Fault(kind, 1), SUBJECT)
    before = proxy.is_quiet(0)
    ask("POST", LEASES, "subject-1")
    watch.close()

    assert (before, proxy.is_quiet(0)) == (True, False)


def test_proxy_is_not_quiet_until_a_new_operator_watches_as_the_one_before(proxy: FaultProxy, ask: Ask) -> None:
    proxy.operator_started()
    watches = [opened(proxy, WATCH), opened(proxy, JOBS)]
    proxy.arm(Fault(), SUBJECT)
    reasons = [proxy.unrest(0)]
    proxy.operator_started()
    reasons.append(proxy.unrest(0))
    ask("GET", LEASES)
    reasons.append(proxy.unrest(0))
    for path in (WATCH, JOBS):
        watches.append(opened(proxy, path))
        reasons.append(proxy.unrest(0))
    for watch in watches:
        watch.close()

    assert reasons == [
        "",
        "the operator has made no request since it was started",
        "the operator watches 0 of 2 kinds",
        "the operator watches 1 of 2 kinds",
        "",
    ]


def test_proxy_counts_a_watch_once_that_its_client_left_and_opened_again(proxy: FaultProxy, ask: Ask) -> None:
    ask("GET", WATCH)
    ask("GET", WATCH)
    proxy.arm(Fault(), SUBJECT)
    proxy.operator_started()
    watch = opened(proxy)
    is_quiet = proxy.is_quiet(0)
    watch.close()

    assert is_quiet


def test_422_has_the_words_of_an_admission_policy_and_ends_no_run(ask: Ask, proxy: FaultProxy) -> None:
    """The same object is accepted later. The API server's own validation would refuse it again."""
    job: dict[str, Any] = {"metadata": {"name": "subject-1"}, "spec": {}}
    proxy.arm(Fault(FaultKind.REFUSE, 1, 422), SUBJECT)
    policy = ask("POST", LEASES, "subject-1")[1]["message"]
    own = 'Job.batch "subject-1" is invalid: spec.template.spec.containers: Required value'
    ends = [
        final_refusal([Rejection("Job", "subject-1", 422, message)], [Create(JOB, job)], {"flow": {}})
        for message in (policy, own)
    ]

    assert "ValidatingAdmissionPolicy" in policy
    assert [end is not None for end in ends] == [False, True]


def test_fault_happens_at_the_status_of_a_phase(proxy: FaultProxy) -> None:
    """How many statuses come before it is chance."""
    connection = http.client.HTTPConnection("127.0.0.1", int(proxy.url.rpartition(":")[2]), timeout=10)
    proxy.arm(Fault(FaultKind.REFUSE, 1, 409, "PUT-status-Running"), SUBJECT)
    for phase in ("Starting", "Starting", "Running", "Running"):
        body = json.dumps({"status": {"phase": phase, "reason": "x", "message": "subject"}})
        connection.request("PUT", STATUS, body, {"Content-Type": "application/json"})
        connection.getresponse().read()
    connection.close()

    assert proxy.hit is not None
    assert [write.status == 409 for write in proxy.writes] == [False, False, True, False]


@pytest.mark.parametrize(
    ("method", "message", "is_lacking"),
    [
        ("POST", f'leases is forbidden: User "{OPERATOR}" cannot create resource "leases"', True),
        ("POST", "leases is forbidden: exceeded quota", False),
        ("GET", f'leases is forbidden: User "{OPERATOR}" cannot list resource "leases"', True),
    ],
)
def test_request_that_the_operator_has_no_right_to_is_recorded(
    api: FakeApi, proxy: FaultProxy, ask: Ask, method: str, message: str, is_lacking: bool
) -> None:
    api.inject(Answer(403, message), method)
    ask(method, LEASES, "subject-1" if method == "POST" else "")

    assert proxy.forbidden == ([f"{method} {LEASES}"] if is_lacking else [])
