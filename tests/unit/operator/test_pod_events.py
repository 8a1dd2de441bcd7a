"""Events complete what the status of a pod that waits reports."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import itertools
from typing import Any

import pytest

from flowcluster_operator.kube import Kube
from flowcluster_operator.pod_events import with_events
from flowcluster_operator.pod_status import pod_facts
from flowcluster_operator.policies.causes import cause
from flowcluster_operator.reconcile.observe import observe
from flowcluster_operator.reconcile.waiting_objects import preparing
from flowcluster_operator.resources import EVENT, Object
from flowcluster_operator.trackers.event_reader import FIRST_PAUSE, LONGEST_PAUSE, EventReader
from tests.support.fake_api import Answer, FakeApi
from tests.support.makers import KEY, NOW, ago, cluster, job, lease, observed, pod, run, spec
from tests.support.observing import Rig, labelled_pod
from tests.support.plans import started

#: A run without a cluster.
ALONE = spec(workers=None)
#: What the kubelet reports while a pod is in ContainerCreating, and what the message of the run must have.
FAILURES: dict[str, tuple[str, str, str]] = {
    "missing ConfigMap": (
        "FailedMount",
        'MountVolume.SetUp failed for volume "settings" : configmap "absent" not found',
        "create ConfigMap absent",
    ),
    "missing code": (
        "FailedMount",
        'MountVolume.SetUp failed for volume "code" : configmap "absent" not found',
        "spec.flow.source.configMap.name",
    ),
    "missing Secret": (
        "FailedMount",
        'MountVolume.SetUp failed for volume "login" : secret "absent" not found',
        "create Secret absent",
    ),
    "missing key of a ConfigMap": (
        "FailedMount",
        'MountVolume.SetUp failed for volume "settings" : references non-existent config key: a.yaml',
        "add key a.yaml",
    ),
    "missing key of a Secret": (
        "FailedMount",
        'MountVolume.SetUp failed for volume "login" : references non-existent secret key: token',
        "add key token",
    ),
    "volume of another node": (
        "FailedAttachVolume",
        'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) other',
        "ReadWriteMany",
    ),
    "network": (
        "FailedCreatePodSandBox",
        "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox: no IP",
        "administrator",
    ),
    "runtime class": (
        "FailedCreatePodSandBox",
        'Failed to create pod sandbox: rpc error: failed to get sandbox runtime: no runtime for "gvisor" is configured',
        "runtimeClassName",
    ),
}


def event(reason: str, message: str = "", seconds: float = 5, kind: str = "Warning", uid: str = "pod-driver") -> Object:
    """An Event about a pod, that long ago."""
    return {
        "metadata": {"name": f"{uid}.{reason}.{seconds}", "namespace": KEY.namespace},
        "involvedObject": {"uid": uid},
        "type": kind,
        "reason": reason,
        "message": message,
        "lastTimestamp": ago(seconds),
    }


def creating(component: str = "driver", **more: Any) -> Object:
    """A pod whose node prepares it."""
    return of_the_run(pod(component, {"waiting": {"reason": "ContainerCreating"}}, phase="Pending", **more), component)


def of_the_run(made: Object, component: str) -> Object:
    """A pod as the API server returns it."""
    return {**made, "kind": "Pod", "metadata": labelled_pod(component)["metadata"] | made["metadata"]}


@pytest.fixture
def rig(api: FakeApi, kube: Kube) -> Rig:
    """Nothing known, and nothing there."""
    return Rig(api, kube)


@pytest.mark.parametrize("component", ["driver", "scheduler", "worker"])
@pytest.mark.parametrize("name", FAILURES)
async def test_cause_of_a_pod_in_container_creating_is_read_from_its_events(
    rig: Rig, name: str, component: str
) -> None:
    reason, message, advice = FAILURES[name]
    rig.known(run(status=started()), job(), cluster(), creating(component))
    rig.api.objects.create(EVENT, KEY.namespace, event(reason, message, uid=f"pod-{component}"))
    found = cause(await rig.observe(), None, NOW)

    assert found is not None
    assert (found.reason, found.part) == (reason, component)
    assert message in found.message
    assert advice in found.message or component != "driver"


@pytest.mark.parametrize(
    "events",
    [
        [event("FailedMount", "failed to sync configmap cache: timed out waiting for the condition")],
        [event("FailedMount", 'object "team"/"code" not registered')],
        [event("FailedMount", 'secret "x" not found', 9), event("Pulling", kind="Normal", seconds=9)],
        [event("FailedScheduling", "0/1 nodes are available", 9)],
        [event("Scheduled", kind="Normal")],
        [],
    ],
    ids=["cache", "not registered", "over", "scheduled since", "none", "nothing"],
)
def test_pod_that_gets_on_has_no_cause(events: list[Object]) -> None:
    assert with_events(pod_facts(creating()), events).blocked is None


def test_event_with_the_cause_wins_over_a_later_one_that_only_waits() -> None:
    missing = event("FailedMount", 'secret "x" not found', 9)
    vague = event("FailedMount", "Unable to attach or mount volumes: timed out waiting for the condition", 1)
    found = with_events(pod_facts(creating()), [missing, vague]).blocked

    assert found is not None
    assert 'secret "x" not found' in found.message


def test_pull_that_backs_off_names_its_error_and_the_missing_secret() -> None:
    state = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}}
    secrets = "Unable to retrieve some image pull secrets (login); attempting to pull the image may not succeed."
    events = [
        event("Failed", 'Failed to pull image "x": unauthorized'),
        event("FailedToRetrieveImagePullSecret", secrets),
    ]
    found = with_events(pod_facts(pod("driver", state, phase="Pending")), events)
    named = cause(dataclasses.replace(observed(status=started()), pods=(found,)), None, NOW)

    assert named is not None
    assert "unauthorized" in named.message
    assert "create Secret login" in named.message


class TestListings:
    async def test_events_of_a_pod_are_not_listed_in_its_first_seconds(self, rig: Rig) -> None:
        rig.known(run(ALONE, started()), lease(), job(ALONE), creating(age=1))
        seen = await rig.observe()

        assert rig.api.requests == []
        assert seen.events_due == pytest.approx(2)

    async def test_events_of_pods_that_run_are_not_listed(self, rig: Rig) -> None:
        rig.known(run(ALONE, started()), lease(), job(ALONE), of_the_run(pod("driver"), "driver"))
        seen = await rig.observe()

        assert (rig.api.requests, seen.events_due) == ([], None)

    async def test_pauses_between_listings_grow(self, api: FakeApi, kube: Kube) -> None:
        looks, waiting = EventReader(), preparing([pod_facts(creating())])
        times: list[float] = []
        for tenth in range(1000):
            before = len(api.requests)
            await looks.read(kube, KEY, waiting, NOW + dt.timedelta(seconds=tenth / 10))
            times += [tenth / 10] * (len(api.requests) - before)
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]

        assert pauses == sorted(pauses)
        assert pauses[-1] == LONGEST_PAUSE
        assert len(times) < 15

    async def test_one_pass_lists_events_of_many_pods_together(self, rig: Rig) -> None:
        pods = [creating("worker", uid=f"w{number}", name=f"w{number}") for number in range(20)]
        rig.known(run(status=started()), cluster(), *pods)
        await rig.observe()

        assert len(rig.api.seen("GET", EVENT)) == 1

    async def test_runs_of_one_namespace_share_a_listing(self, api: FakeApi, kube: Kube) -> None:
        api.objects.create(EVENT, KEY.namespace, event("FailedMount", "no volume", uid="pod-7"))
        api.objects.create(EVENT, KEY.namespace, event("FailedMount", "no network", uid="pod-8"))
        looks = EventReader()

        async def read(number: int) -> list[str]:
            waiting = preparing([pod_facts(creating(uid=f"pod-{number}"))])
            found = await looks.read(kube, KEY._replace(uid=f"run-{number}"), waiting, NOW)
            return [item["message"] for item in found[f"pod-{number}"]]

        first = await asyncio.gather(*map(read, range(50)))

        assert (first[7], first[8], first[9]) == (["no volume"], ["no network"], [])
        assert len(api.seen("GET", EVENT)) == 1

    async def test_object_that_waits_since_after_a_listing_is_in_the_next_one(self, api: FakeApi, kube: Kube) -> None:
        looks = EventReader()
        await looks.read(kube, KEY, preparing([pod_facts(creating())]), NOW)
        other = KEY._replace(uid="other")
        waiting = preparing([pod_facts(creating(uid="pod-2"))])
        await looks.read(kube, other, waiting, NOW)
        wait = looks.next_read(other, NOW)
        api.objects.create(EVENT, KEY.namespace, event("FailedMount", "no volume", uid="pod-2"))
        found = await looks.read(kube, other, waiting, NOW + dt.timedelta(seconds=FIRST_PAUSE))

        assert wait == FIRST_PAUSE
        assert [item["message"] for item in found["pod-2"]] == ["no volume"]

    async def test_namespaces_are_listed_apart(self, api: FakeApi, kube: Kube) -> None:
        looks = EventReader()
        for namespace in ("a", "b"):
            await looks.read(kube, KEY._replace(namespace=namespace), preparing([pod_facts(creating())]), NOW)

        assert [request.namespace for request in api.requests] == ["a", "b"]

    async def test_known_events_stay_when_a_listing_fails(self, rig: Rig, kube: Kube) -> None:
        rig.known(run(ALONE, started()), job(ALONE), creating())
        rig.api.objects.create(EVENT, KEY.namespace, event("FailedMount", 'secret "x" not found'))
        rig.api.inject(Answer(500), "GET", EVENT, skip=1)
        first = await rig.observe()
        later = NOW + dt.timedelta(seconds=FIRST_PAUSE)
        second = await observe(KEY, rig.store, kube, rig.memory, (), later)

        assert len(rig.api.seen("GET", EVENT)) == 2
        assert first.pods == second.pods
        assert first.pods[0].blocked is not None
