"""Several operators in one Kubernetes cluster: which of them handles a run, and what the others leave alone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.inherited import Inheritance, with_inherited
from flowcluster_operator.handlers import Operator
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.plan import Create, Plan
from flowcluster_operator.operator_class import handles, is_of_class
from flowcluster_operator.policies.parent_bounds import beyond
from flowcluster_operator.reconcile.loop import Reconciler
from flowcluster_operator.resources import BY_KIND, CONFIG_MAP, FLOW_RUN, JOB, SECRET, Object
from flowcluster_operator.run_defaults import RunDefaults
from flowcluster_operator.settings import Settings, SettingsError
from tests.support.built import BUILT
from tests.support.fake_api import FakeApi
from tests.support.makers import KEY, SETTINGS, run, spec
from tests.support.passes import Passes

CLASSES = ["", "a", "b"]
PAIRS = list(itertools.product(CLASSES, CLASSES))
WRITES = ("POST", "PUT", "PATCH", "DELETE")


def of_class(operator_class: str, status: Object | None = None, **metadata: Any) -> Object:
    """A run of that class; empty for none."""
    return run({**spec(), **({"operatorClass": operator_class} if operator_class else {})}, status, **metadata)


@asynccontextmanager
async def operators(kube: Kube, *settings: Settings) -> AsyncIterator[list[Passes]]:
    """Operators that make passes side by side."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Passes(kube, each).running()) for each in settings]


def operator(operator_class: str = "", installation: str = "", namespace: str = "") -> Settings:
    """The settings of an operator."""
    return Settings(
        operator_class=operator_class, installation=installation, namespace=namespace, network_policies=False
    )


def writes(api: FakeApi) -> list[str]:
    """What was written."""
    return [f"{item.method} {item.resource.kind}" for item in api.requests if item.method in WRITES]


@pytest.mark.parametrize(("mine", "its_class"), PAIRS)
def test_operator_handles_the_runs_of_its_own_class(mine: str, its_class: str) -> None:
    assert handles(of_class(its_class), operator(mine)) is (mine == its_class)


@pytest.mark.parametrize(
    ("installation", "recorded", "handled"),
    [
        ("system/one", None, True),
        ("system/one", "system/one", True),
        ("system/one", "system/two", False),
        ("", "system/two", True),
    ],
)
def test_operator_leaves_the_runs_of_another_installation_alone(
    installation: str, recorded: str | None, handled: bool
) -> None:
    status = {"phase": "Running", **({"operator": recorded} if recorded else {})}

    assert handles(of_class("", status), operator(installation=installation)) is handled


@pytest.mark.parametrize("name", ["A", "a.b", "-a", "a-", "a" * 64, "a b"])
def test_settings_refuse_a_class_that_is_not_a_dns_label(name: str) -> None:
    with pytest.raises(SettingsError, match="FLOWCLUSTER_OPERATOR_CLASS"):
        Settings.from_environment({"FLOWCLUSTER_OPERATOR_CLASS": name})


@pytest.mark.parametrize(("mine", "its_class"), [pair for pair in PAIRS if len({*pair}) > 1])
async def test_operator_writes_nothing_of_a_run_of_another_class(
    api: FakeApi, kube: Kube, mine: str, its_class: str
) -> None:
    """In every stage of its life: new, over and past its time, cancelled, being deleted."""
    over = {
        "phase": "Succeeded", "finishTime": "2020-01-01T00:00:00Z",
        "conditions": [
            {"type": kind, "status": "True", "reason": "Succeeded"} for kind in ("Finished", "ClusterDeleted")
        ],
    }  # fmt: skip
    bodies = [
        of_class(its_class, name="new", uid="uid-new"),
        of_class(its_class, over, name="over", uid="uid-over"),
        of_class(
            its_class, name="deleted", uid="uid-deleted", deletionTimestamp="2020-01-01T00:00:00Z", finalizers=["x"]
        ),
    ]
    bodies.append({**of_class(its_class, name="cancelled", uid="uid-cancelled")})
    bodies[-1]["spec"]["cancel"] = True
    for body in bodies:
        api.objects.create(FLOW_RUN, KEY.namespace, body)
    keys = [KEY._replace(name=body["metadata"]["name"], uid=body["metadata"]["uid"]) for body in bodies]
    async with operators(kube, operator(mine)) as (theirs,):
        theirs.watch(api.objects)
        await theirs.make(*keys)
        await theirs.resync.once()
        await theirs.settle()

    assert writes(api) == []


@pytest.mark.parametrize("its_class", CLASSES)
async def test_only_the_operator_of_its_class_deletes_what_a_run_left(api: FakeApi, kube: Kube, its_class: str) -> None:
    """The FlowRun, which names the class, is gone: the label of the children has it."""
    api.objects.collects_garbage = False
    api.objects.create(FLOW_RUN, KEY.namespace, of_class(its_class))
    deleted = {}
    async with operators(kube, *(operator(name) for name in CLASSES)) as all_three:
        await all_three[CLASSES.index(its_class)].make()
        api.objects.delete(FLOW_RUN, KEY.namespace, KEY.name)
        snapshot = api.objects.snapshot()
        for name, passes in zip(CLASSES, all_three, strict=True):
            api.objects = snapshot.snapshot()
            api.requests.clear()
            passes.watch(api.objects)
            await passes.settle()
            deleted[name] = "DELETE Job" in writes(api)

    assert [name for name, was_deleted in deleted.items() if was_deleted] == [its_class]


async def test_operator_knows_nothing_of_the_children_of_another_class(api: FakeApi, kube: Kube) -> None:
    api.objects.create(FLOW_RUN, KEY.namespace, of_class("a"))
    async with operators(kube, operator("a"), operator()) as (ours, theirs):
        await ours.make()
        await theirs.resync.once()

    assert api.objects.all(JOB) != []
    assert theirs.store.run_ids() == []


async def test_passes_leave_a_run_alone_of_which_only_a_child_was_known(api: FakeApi, kube: Kube) -> None:
    """A child whose label names another class than its FlowRun."""
    api.objects.create(FLOW_RUN, KEY.namespace, of_class("a"))
    async with operators(kube, operator()) as (theirs,):
        assert await theirs.make() is None

    assert writes(api) == []


def test_watch_events_of_runs_of_another_class_are_not_kept() -> None:
    ours = Operator(operator("a"))
    kube: Any = None
    ours.reconciler = Reconciler(ours.settings, ours.store, kube)
    for name in CLASSES:
        ours.seen(FLOW_RUN, "ADDED", of_class(name, name=f"of-{name}", uid=f"uid-of-{name}"))

    known = ours.store.run_ids()
    assert [key.name for key in known] == ["of-a"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_namespaced_and_cluster_wide_installations_share_no_run(
    api: FakeApi, kube: Kube, order: tuple[int, int]
) -> None:
    """The second one has seen the new run before the first one made a pass."""
    created = api.objects.create(FLOW_RUN, KEY.namespace, run())
    everywhere, team = operator(installation="system/all"), operator(installation="team/own", namespace=KEY.namespace)
    async with operators(kube, everywhere, team) as both:
        first, second = (both[index] for index in order)
        second.store.put(FLOW_RUN, created)
        await first.make()
        api.requests.clear()
        await second.make()
        await second.make()
        second.watch(api.objects)
        await second.settle()

    # The one write is refused: it was decided on an older FlowRun.
    assert writes(api) == ["PUT FlowRun"]
    assert api.objects.get(FLOW_RUN, KEY.namespace, KEY.name)["status"]["operator"] == (
        "system/all" if order == (0, 1) else "team/own"
    )


async def test_installations_that_write_at_the_same_time_share_no_run(api: FakeApi, kube: Kube) -> None:
    api.objects.create(FLOW_RUN, KEY.namespace, run())
    async with operators(kube, operator(installation="a/a"), operator(installation="b/b")) as both:
        await asyncio.gather(*(passes.make() for passes in both))

    assert sorted(obj["kind"] for obj in api.objects.all() if obj["kind"] in ("Job", "Lease", "DaskCluster")) == [
        "DaskCluster",
        "Job",
        "Lease",
    ]
    jobs = [item for item in api.requests if item.method == "POST" and item.resource is JOB]
    assert len(jobs) == 1


def broken(*_: object) -> Plan:
    """Decide, with a bug."""
    raise KeyError("a bug")


async def test_status_of_failing_passes_names_the_installation(
    api: FakeApi, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowcluster_operator.reconcile.loop.SHOWN_SECONDS", 0)
    api.objects.create(FLOW_RUN, KEY.namespace, run())
    monkeypatch.setattr("flowcluster_operator.reconcile.loop.decide", broken)
    async with operators(kube, operator(installation="a/a")) as (passes,):
        passes.watch(api.objects)
        for _ in range(3):
            await passes.make()

    assert api.objects.get(FLOW_RUN, KEY.namespace, KEY.name)["status"]["operator"] == "a/a"


@pytest.mark.parametrize(("operator_class", "theirs"), PAIRS)
@pytest.mark.parametrize("name", sorted(BUILT))
def test_children_carry_the_class_of_their_run(name: str, operator_class: str, theirs: str) -> None:
    """On all objects and all pods, also where a template names another class."""
    known = {**BY_KIND, "Secret": SECRET, "ConfigMap": CONFIG_MAP}
    parsed = FlowRunSpec.model_validate(of_class(operator_class)["spec"])
    source = Inheritance({}, parsed, RunDefaults(), {})
    for body in BUILT[name]():
        for metadata in [body["metadata"], *(template["metadata"] for template in pod_templates(body))]:
            metadata["labels"] = {
                **metadata.get("labels", {}),
                **({names.LABEL_OPERATOR_CLASS: theirs} if theirs else {}),
            }
        child = with_inherited(Create(known[body["kind"]], body), source).body
        found = [child["metadata"], *(template["metadata"] for template in pod_templates(child))]

        assert {each["labels"].get(names.LABEL_OPERATOR_CLASS) for each in found} == {operator_class or None}


def pod_templates(value: Any) -> list[Object]:
    """The pod templates in an object."""
    if isinstance(value, list):
        return [found for item in value for found in pod_templates(item)]
    if not isinstance(value, dict):
        return []
    own = [value] if "metadata" in value and "containers" in (value.get("spec") or {}) else []
    return own + [found for item in value.values() for found in pod_templates(item)]


@pytest.mark.parametrize(("mine", "theirs"), PAIRS)
def test_child_run_of_another_class_than_its_parent_is_refused(mine: str, theirs: str) -> None:
    parent, child = (FlowRunSpec.model_validate(of_class(name)["spec"]) for name in (mine, theirs))

    assert (beyond(child, parent, SETTINGS) is not None) is (mine != theirs)


@pytest.mark.parametrize("name", CLASSES)
def test_class_of_a_run_is_absent_or_a_name(name: str) -> None:
    assert is_of_class(of_class(name), operator(name))
