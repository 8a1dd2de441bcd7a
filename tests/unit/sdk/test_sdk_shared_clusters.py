"""How a Python program names a SharedCluster, and the FlowRun with which it uses one."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster import clusters, flow
from flowcluster.agent import __main__ as agent_program
from flowcluster.agent import protocol
from flowcluster.agent.protocol import Lost
from flowcluster.clusters.claim import Claim
from flowcluster.clusters.manifest import cluster_run
from flowcluster.clusters.ray import access
from flowcluster.clusters.shared_ref import check_kind, shared_ref
from flowcluster.clusters.temporary import find_class
from flowcluster.errors import ClusterError
from flowcluster.kube.access import Access
from flowcluster.kube.choice import Choice
from flowcluster.submit.packing import FlowLocation
from flowcluster.submit.prepare import prepare
from flowcluster.submit.runner_cluster import cluster_of_runner
from flowcluster.task_runners import ConcurrentTaskRunner, DaskTaskRunner, RayTaskRunner
from flowcluster_api import tags
from flowcluster_api.v1alpha1 import FlowRunSpec

DASK, RAY = "flowcluster.clusters.SharedKubernetesCluster", "flowcluster.clusters.SharedRayKubernetesCluster"
RUNNERS: dict[str, Any] = {"Dask": DaskTaskRunner, "Ray": RayTaskRunner}
CLASSES: list[Any] = [clusters.SharedKubernetesCluster, clusters.SharedRayKubernetesCluster]

LABELS = st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")


@flow
def greetings() -> None: ...


def manifest(ref: dict[str, Any], name: str | None = None) -> dict[str, Any]:
    return cluster_run(
        name, {"ref": ref}, start_deadline_seconds=None, active_deadline_seconds=None, lease_duration_seconds=60
    )


@given(
    LABELS,
    st.none() | LABELS,
    st.none() | st.integers(-100, 100),
    st.none() | st.builds(lambda threads: {"threads": threads}, st.integers(1, 100_000)),
)
def test_reference_is_valid_in_a_flow_run(
    name: str, namespace: str | None, priority: int | None, share: dict[str, int] | None
) -> None:
    text = name if namespace is None else f"{name}/{namespace}"
    spec = FlowRunSpec.model_validate(manifest(shared_ref(text, priority, share))["spec"])

    assert spec.flow is None
    assert spec.cluster is not None
    assert spec.cluster.uses_shared
    found = spec.cluster.ref
    assert found is not None
    assert (found.name, found.namespace, found.priority) == (name, namespace, priority)
    assert (found.share and {"threads": found.share.threads}) == share


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("",), "NAME/NAMESPACE"),
        (("Analytics",), "'Analytics'"),
        (("analytics/",), "'analytics/'"),
        (("a/b/c",), "'a/b/c'"),
        ((None,), "None"),
        (("analytics", 101), "priority"),
        (("analytics", True), "priority"),
        (("analytics", 1.0), "priority"),
        (("analytics", None, 4), "share"),
        (("analytics", None, {}), "share"),
        (("analytics", None, {"threads": 0}), "share"),
        (("analytics", None, {"threads": True}), "share"),
        (("analytics", None, {"threads": 1, "memory": 1}), "share"),
    ],
)
def test_reference_is_refused_when_it_is_invalid_in_a_flow_run(arguments: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        shared_ref(*arguments)


@pytest.mark.parametrize(("seconds", "found"), [(None, {}), (0, {"ttlSecondsAfterFinished": 0})])
def test_flow_run_is_kept_for_the_given_time(seconds: int | None, found: dict[str, int]) -> None:
    made = cluster_run(
        None,
        {"ref": {"name": "analytics"}},
        start_deadline_seconds=None,
        active_deadline_seconds=None,
        lease_duration_seconds=60,
        ttl_seconds_after_finished=seconds,
    )
    kwargs = {"name": "analytics", "ttl_seconds_after_finished": seconds}
    runner = DaskTaskRunner(cluster_class=DASK, cluster_kwargs=kwargs)

    for spec in (made["spec"], cluster_of_runner(runner, None).spec):
        assert {name: value for name, value in spec.items() if name.startswith("ttl")} == found


def test_flow_run_is_named_after_the_shared_cluster_when_there_is_no_flow() -> None:
    assert manifest(shared_ref("analytics"))["metadata"] == {"generateName": "analytics-"}
    assert manifest(shared_ref("analytics"), "mine")["metadata"] == {"name": "mine"}


@pytest.mark.parametrize(("found", "expected", "named"), [("Ray", "Dask", RAY), ("Dask", "Ray", DASK)])
def test_class_of_the_other_kind_is_named_when_the_kind_differs(found: str, expected: str, named: str) -> None:
    check_kind(expected, expected, shared_ref("analytics"))
    with pytest.raises(ClusterError, match=rf"SharedCluster analytics of namespace data is a {found}.*{named}\.$"):
        check_kind(found, expected, shared_ref("analytics/data"))


@pytest.mark.parametrize("named", [DASK, f"{DASK.rpartition('.')[0]}.shared_dask.SharedKubernetesCluster", CLASSES[0]])
def test_one_name_is_the_class_for_both_kinds_of_runners(named: Any) -> None:
    assert find_class(named) is clusters.SharedKubernetesCluster
    assert find_class(named, "Ray") is clusters.SharedRayKubernetesCluster


def test_class_for_ray_needs_no_dask_when_a_runner_for_ray_names_the_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("flowcluster.clusters.shared_dask.SharedKubernetesCluster")

    assert find_class(DASK, "Ray") is clusters.SharedRayKubernetesCluster


@pytest.mark.parametrize("make", CLASSES)
@pytest.mark.parametrize(("method", "arguments"), [("scale", (3,)), ("adapt", ())])
def test_client_cannot_scale_a_shared_cluster(make: Any, method: str, arguments: Any) -> None:
    async def use() -> None:
        cluster = make("analytics", asynchronous=True)  # the cluster does not start before `async with`
        try:
            getattr(cluster, method)(*arguments)
        finally:
            closing = cluster.close()
            if closing is not None:
                await closing

    with pytest.raises(ClusterError, match=rf"{method}\(\).*SharedCluster analytics.*spec\.workers"):
        asyncio.run(use())


class RecordedAgent:
    """The agent of a claim, which records the requests of the claim."""

    def __init__(self) -> None:
        self.forwarded: list[Any] = []

    def forward(self, *arguments: Any) -> dict[int, int]:
        self.forwarded.append(arguments)
        return {}


@pytest.mark.parametrize(("cluster", "namespace"), [("analytics", None), ("analytics/data", "data")])
def test_ports_are_forwarded_from_the_namespace_of_the_shared_cluster(
    cluster: str, namespace: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = RecordedAgent()
    claim = Claim(manifest(shared_ref(cluster)), Choice(namespace="team"), adapts=False)
    monkeypatch.setattr(claim, "_started", lambda: (None, agent))
    claim.forward("pod", [8786])

    assert agent.forwarded == [("pod", [8786], namespace)]


@pytest.mark.parametrize(("given_namespace", "found"), [(None, "team"), ("data", "data")])
def test_agent_forwards_from_the_given_namespace(
    given_namespace: str | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespaces: list[str] = []

    class RecordedTunnel:
        def __init__(self, access: Access, pod: str, before_end: Any) -> None:
            namespaces.append(access.namespace)

        async def open(self, ports: dict[int, int]) -> dict[int, int]:
            return ports

    async def listen() -> None:
        agent = object.__new__(agent_program.Agent)
        agent._access, agent._stdin = Access(None, "team", False), asyncio.StreamReader()
        agent._stdin.feed_data(protocol.write(protocol.Forward("pod", {8786: 0}, given_namespace)).encode())
        agent._stdin.feed_eof()
        await agent._listen()

    monkeypatch.setattr(agent_program, "Tunnel", RecordedTunnel)
    monkeypatch.setattr(agent_program, "send", lambda message: None)
    asyncio.run(listen())

    assert namespaces == [found]


def test_agent_gets_no_cluster_to_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Claim(manifest(shared_ref("analytics")), Choice(), adapts=False)
    job = claim._job(cast("Any", type("Access", (), {"namespace": "team"})))

    assert (job.kind, job.adapts, job.choice.namespace) == (None, False, "team")


def test_loss_and_remedy_name_the_shared_cluster() -> None:
    claim = Claim(manifest(shared_ref("analytics/data")), Choice(), adapts=False)
    claim._on_lost(Lost("ClusterLost", "its scheduler restarted"))

    assert "SharedCluster analytics of namespace data" in str(claim.lost)
    assert (
        claim.remedy("Ray 2")
        == "have an image with Ray 2 set as spec.image of SharedCluster analytics of namespace data"
    )


@pytest.mark.parametrize("kind", RUNNERS)
@pytest.mark.parametrize("named", [DASK, RAY, *CLASSES])
def test_runner_on_a_shared_cluster_becomes_a_reference(kind: str, named: Any) -> None:
    kwargs = {
        "name": "analytics/data",
        "priority": 5,
        "share": {"threads": 4},
        "run_name": "daily",
        "start_deadline_seconds": 30,
        "namespace": "team",
    }
    found = cluster_of_runner(RUNNERS[kind](cluster_class=named, cluster_kwargs=kwargs), None)

    assert found.spec["cluster"] == {"ref": shared_ref("analytics/data", 5, {"threads": 4})}
    assert (found.name, found.choice, found.spec["startDeadlineSeconds"]) == ("daily", Choice(namespace="team"), 30)


@pytest.mark.parametrize(
    ("kwargs", "adapt_kwargs", "workers", "named"),
    [
        ({}, {}, None, "SharedCluster is named"),
        ({"name": "analytics", "image": "mine:1"}, {}, None, r"cluster_kwargs\['image'\]"),
        ({"name": "analytics", "n_workers": 1}, {}, None, r"cluster_kwargs\['n_workers'\]"),
        ({"name": "analytics", "idle_timeout_seconds": 60}, {}, None, r"cluster_kwargs\['idle_timeout_seconds'\]"),
        ({"name": "analytics"}, {"maximum": 3}, None, "adapt_kwargs"),
        ({"name": "analytics"}, {}, 2, "SharedCluster analytics has its own workers"),
    ],
)
def test_argument_is_refused_when_a_flow_run_on_a_shared_cluster_cannot_have_it(
    kwargs: Any, adapt_kwargs: Any, workers: Any, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        cluster_of_runner(DaskTaskRunner(cluster_class=DASK, cluster_kwargs=kwargs, adapt_kwargs=adapt_kwargs), workers)


def test_named_cluster_replaces_that_of_the_runner() -> None:
    own = DaskTaskRunner(cluster_class="flowcluster.clusters.DaskKubernetesCluster", cluster_kwargs={"n_workers": 2})
    for runner in (own, ConcurrentTaskRunner()):
        assert cluster_of_runner(runner, None, "analytics").spec == {"cluster": {"ref": {"name": "analytics"}}}
    with pytest.raises(ValueError, match="either"):
        cluster_of_runner(own, 2, "analytics")


@pytest.mark.parametrize("storage", [None, "s3://results"])
def test_submitted_run_does_not_change_the_shared_cluster(storage: str | None, tmp_path: Path) -> None:
    file = tmp_path / "flows.py"
    file.write_text("")
    made = prepare(
        greetings,
        {},
        location=FlowLocation(str(file), "greetings", is_file=True),
        image="registry/flows:1",
        cluster="analytics",
        result_storage=storage,
    )

    assert made.flow_run["spec"]["cluster"] == {"ref": {"name": "analytics"}}
    assert made.flow_run["spec"]["flow"]["image"] == "registry/flows:1"
    FlowRunSpec.model_validate(made.flow_run["spec"])


@pytest.mark.parametrize("before", [None, '{"metadata": {"a": "b"}, "runtime_env": {"env_vars": {"c": "d"}}}'])
def test_job_of_ray_is_tagged_with_the_run_only_in_the_block(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    name = "RAY_JOB_CONFIG_JSON_ENV_VAR"
    monkeypatch.delenv(name, raising=False)
    if before is not None:
        monkeypatch.setenv(name, before)
    with access.tagged("uid"):
        config = json.loads(os.environ[name])
        metadata = config.pop("metadata")
        assert (metadata.pop(tags.RAY_METADATA), metadata) == ("uid", {"a": "b"} if before else {})
        assert config == ({"runtime_env": {"env_vars": {"c": "d"}}} if before else {})
    assert os.environ.get(name) == before
