"""Whichever write fails, in whichever way, a run starts completely and ends completely."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator

import pytest

from flowcluster_api import names
from flowcluster_operator.desired.credentials import credentials_in, credentials_secret
from flowcluster_operator.kube import Kube
from flowcluster_operator.resources import BY_KIND, DASK_CLUSTER, FLOW_RUN, JOB, LEASE, SECRET, Object
from flowcluster_operator.timestamps import timestamp
from tests.support.fake_api import Answer, Drop, FakeApi
from tests.support.makers import KEY, SETTINGS, access, cluster, job, lease, of_lease, run, spec
from tests.support.passes import Passes

WRITES = "POST PUT PATCH DELETE"
#: Writes of an undisturbed start: the status, seven children and an Event; of an undisturbed end: the status twice, an
#: Event and the Lease; of a suspension; and of another start after the cluster was lost.
WRITES_OF_START, WRITES_OF_END, WRITES_OF_SUSPENSION, WRITES_OF_LOSS = 9, 4, 3, 12
CHILDREN = ["DaskCluster", "Job", "Lease", "Role", "RoleBinding", "Secret", "ServiceAccount"]
FAULTS = [
    pytest.param(Answer(500), id="error"),
    pytest.param(Drop(), id="lost request"),
    pytest.param(Drop(after_write=True), id="lost answer"),
]
#: Refusals that the API server, a policy or a proxy in front of it gives once.
REFUSALS = [pytest.param(Answer(status, "denied by a policy"), id=str(status)) for status in (403, 404, 409, 422, 429)]


class Operators:
    """Operators, one after the other. Each begins with what the API server holds then."""

    def __init__(self, api: FakeApi, kube: Kube) -> None:
        self._api, self._kube = api, kube
        self.passes = Passes(kube, SETTINGS)
        self._contexts = [self.passes.running()]

    async def begin(self) -> None:
        """Begin with the first one."""
        await self._contexts[-1].__aenter__()

    async def end(self) -> None:
        """End the one that runs."""
        await self._contexts[-1].__aexit__(None, None, None)

    async def restart(self) -> None:
        """Put another one in its place."""
        await self.end()
        self.passes = Passes(self._kube, SETTINGS)
        self._contexts.append(self.passes.running())
        await self.begin()

    async def work(self, rounds: int) -> None:
        """Make passes as if the watches had brought everything in between."""
        for _ in range(rounds):
            self.passes.watch(self._api.objects)
            await self.passes.make()


@pytest.fixture
def operators(loop_runner: asyncio.Runner, api: FakeApi, kube: Kube) -> Iterator[Operators]:
    """The first operator, at work."""
    operators = Operators(api, kube)
    loop_runner.run(operators.begin())
    yield operators
    loop_runner.run(operators.end())


def children(api: FakeApi) -> list[str]:
    """The kinds of the run's children."""
    return sorted(obj["kind"] for obj in api.objects.all() if obj["kind"] not in ("Event", "FlowRun"))


def status(api: FakeApi) -> Object:
    """The status of the run."""
    found: Object = api.objects.get(FLOW_RUN, KEY.namespace, KEY.name).get("status") or {}
    return found


def assert_started(api: FakeApi) -> None:
    """The run has all its children, and its pods have the keys that exist."""
    assert (sorted(set(children(api))), status(api)["phase"]) == (CHILDREN, "Starting")
    (dask,), (job,), (lease,) = (api.objects.all(resource) for resource in (DASK_CLUSTER, JOB, LEASE))
    secrets = {secret["metadata"]["name"]: secret for secret in api.objects.all(SECRET)}
    pods = (dask["spec"]["scheduler"]["spec"], dask["spec"]["worker"]["spec"], job["spec"]["template"]["spec"])
    (used,) = {credentials_in(pod) for pod in pods}
    assert used in secrets
    # A Secret whose creation was not answered is not used, and is deleted together with the Lease.
    for secret in secrets.values():
        assert secret["metadata"]["ownerReferences"][0]["uid"] == lease["metadata"]["uid"]


def started(api: FakeApi, **wish: bool) -> None:
    """Put a run that has all its children onto the API server, and ask for its end or its suspension."""
    name = names.child_name(KEY.name, KEY.uid)
    made = {"cluster": {"kind": "Dask", "name": name, "workerSeconds": 5}, "flow": {"job": name, "attempts": 1}}
    status = {"phase": "Starting", "startTime": timestamp(dt.datetime.now(dt.UTC)), **made}
    api.objects.create(FLOW_RUN, KEY.namespace, run(spec(**wish or {"cancel": True}), status))
    for child in (lease(), cluster(), job(), *access()):
        api.objects.create(BY_KIND[child["kind"]], KEY.namespace, child)
    api.objects.create(SECRET, KEY.namespace, of_lease(credentials_secret(KEY)))
    assert children(api) == CHILDREN


def lost(api: FakeApi) -> set[str]:
    """Put a run that can be tried twice onto the API server, without its cluster; the UIDs of what it has."""
    started(api, cancel=False)
    api.objects.merge(FLOW_RUN, KEY.namespace, KEY.name, {"spec": {"flow": {"backoffLimit": 1}}})
    api.objects.delete(DASK_CLUSTER, KEY.namespace, names.child_name(KEY.name, KEY.uid))
    return {obj["metadata"]["uid"] for obj in api.objects.all()} - {KEY.uid}


def assert_began_again(api: FakeApi, before: set[str]) -> None:
    """The run has a cluster and a driver that are new, and its loss counts once."""
    assert_started(api)
    assert before & {obj["metadata"]["uid"] for obj in api.objects.all()} == set()
    counts = {"attempts": 1, "endedAttempts": 1, "failedAttempts": 1, "lostClusters": 1}
    assert {name: status(api)["flow"][name] for name in counts} == counts
    assert "lostTime" not in status(api)
    (made,) = api.objects.all(JOB)
    assert made["spec"]["backoffLimit"] == 0, "one of the two attempts is used"


def resume(api: FakeApi) -> None:
    """Ask for the next life of a run that is suspended."""
    api.objects.merge(FLOW_RUN, KEY.namespace, KEY.name, {"spec": {"suspend": False}})


def writes(api: FakeApi) -> int:
    """How many writes arrived."""
    return sum(request.method != "GET" for request in api.requests)


async def test_start_takes_as_many_writes_as_are_tried(api: FakeApi, operators: Operators) -> None:
    api.objects.create(FLOW_RUN, KEY.namespace, run())
    await operators.work(1)

    assert_started(api)
    assert writes(api) == WRITES_OF_START


async def test_end_takes_as_many_writes_as_are_tried(api: FakeApi, operators: Operators) -> None:
    started(api)
    await operators.work(4)

    assert (children(api), status(api)["phase"]) == ([], "Cancelled")
    assert writes(api) == WRITES_OF_END


@pytest.mark.parametrize("number", range(WRITES_OF_START))
@pytest.mark.parametrize("fault", FAULTS)
async def test_run_starts_when_one_write_fails(
    api: FakeApi, operators: Operators, fault: Answer | Drop, number: int
) -> None:
    api.objects.create(FLOW_RUN, KEY.namespace, run())
    api.inject(fault, WRITES, skip=number)
    await operators.work(3)

    assert_started(api)


@pytest.mark.parametrize("number", range(WRITES_OF_START))
async def test_run_starts_when_the_operator_ends_after_a_write(api: FakeApi, operators: Operators, number: int) -> None:
    api.objects.create(FLOW_RUN, KEY.namespace, run())
    api.inject(Drop(after_write=True), WRITES, skip=number)
    await operators.work(1)
    await operators.restart()
    await operators.work(2)

    assert_started(api)


@pytest.mark.parametrize("number", range(WRITES_OF_END))
@pytest.mark.parametrize("fault", [*FAULTS, *REFUSALS])
async def test_run_ends_when_one_write_fails(
    api: FakeApi, operators: Operators, fault: Answer | Drop, number: int
) -> None:
    started(api)
    api.inject(fault, WRITES, skip=number)
    await operators.work(5)

    assert (children(api), status(api)["phase"]) == ([], "Cancelled")


@pytest.mark.parametrize("number", range(WRITES_OF_END))
async def test_run_ends_when_the_operator_ends_after_a_write(api: FakeApi, operators: Operators, number: int) -> None:
    started(api)
    api.inject(Drop(after_write=True), WRITES, skip=number)
    await operators.work(1)
    await operators.restart()
    await operators.work(4)

    assert (children(api), status(api)["phase"]) == ([], "Cancelled")


async def test_suspension_takes_as_many_writes_as_are_tried(api: FakeApi, operators: Operators) -> None:
    started(api, suspend=True)
    await operators.work(4)

    assert (children(api), status(api)["phase"]) == ([], "Suspended")
    assert writes(api) == WRITES_OF_SUSPENSION


@pytest.mark.parametrize("number", range(WRITES_OF_SUSPENSION))
async def test_suspended_run_has_nothing_when_the_operator_ends_after_a_write(
    api: FakeApi, operators: Operators, number: int
) -> None:
    started(api, suspend=True)
    api.inject(Drop(after_write=True), WRITES, skip=number)
    await operators.work(1)
    await operators.restart()
    await operators.work(4)

    assert (children(api), status(api)["phase"]) == ([], "Suspended")


@pytest.mark.parametrize("number", range(1, WRITES_OF_SUSPENSION))
@pytest.mark.parametrize("fault", [*FAULTS, *REFUSALS])
async def test_resumed_run_starts_afresh_when_the_operator_ended_during_the_suspension(
    api: FakeApi, operators: Operators, fault: Answer | Drop, number: int
) -> None:
    """Nothing of the suspended life is left, and nothing of it is taken for the next one."""
    started(api, suspend=True)
    before = {obj["metadata"]["uid"] for obj in api.objects.all()} - {KEY.uid}
    api.inject(fault, WRITES, skip=number)
    await operators.work(1)
    await operators.end()
    resume(api)
    await operators.restart()
    await operators.work(5)

    assert_started(api)
    assert before.isdisjoint(obj["metadata"]["uid"] for obj in api.objects.all() if obj["kind"] != "Event")
    assert status(api)["flow"]["attempts"] == 1


async def test_resumed_run_waits_for_children_that_are_being_deleted(api: FakeApi, operators: Operators) -> None:
    started(api, suspend=True)
    api.objects.merge(JOB, KEY.namespace, names.child_name(KEY.name, KEY.uid), {"metadata": {"finalizers": ["x/y"]}})
    await operators.work(4)
    resume(api)
    await operators.work(4)

    assert (children(api), status(api)["phase"]) == (["Job", "Lease"], "Suspended")


async def test_loss_takes_as_many_writes_as_are_tried(api: FakeApi, operators: Operators) -> None:
    before = lost(api)
    await operators.work(3)

    assert_began_again(api, before)
    assert writes(api) == WRITES_OF_LOSS


@pytest.mark.parametrize("number", range(WRITES_OF_LOSS))
@pytest.mark.parametrize("fault", FAULTS)
async def test_run_begins_again_after_a_loss_when_the_operator_ends_at_a_write(
    api: FakeApi, operators: Operators, fault: Answer | Drop, number: int
) -> None:
    """Nothing of the lost cluster is left, and nothing of it is taken for the next one."""
    before = lost(api)
    api.inject(fault, WRITES, skip=number)
    await operators.work(1)
    await operators.restart()
    await operators.work(5)

    assert_began_again(api, before)


@pytest.mark.parametrize(
    ("wish", "phase"), [({"suspend": True}, "Suspended"), ({"cancel": True}, "Cancelled"), (None, "")]
)
@pytest.mark.parametrize("number", range(1, WRITES_OF_LOSS, 4))
async def test_run_that_begins_again_can_be_stopped_at_every_write(
    api: FakeApi, operators: Operators, wish: Object | None, phase: str, number: int
) -> None:
    lost(api)
    api.inject(Answer(500), WRITES, skip=number)
    await operators.work(1)
    if wish is None:
        api.objects.delete(FLOW_RUN, KEY.namespace, KEY.name)
    else:
        api.objects.merge(FLOW_RUN, KEY.namespace, KEY.name, {"spec": wish})
    await operators.restart()
    await operators.work(5)

    assert children(api) == []
    if wish is not None:
        assert status(api)["phase"] == phase
