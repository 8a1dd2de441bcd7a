"""Which FlowRuns name which SharedCluster, and which objects get a pass when one of them changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster_operator.informer.store import Store
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import FLOW_RUN, SHARED_CLUSTER, Object
from flowcluster_operator.shared_cluster_use import NamespacedName, offer_of, use_of

CLUSTER = RunId("team", "analytics", "uid-shared-analytics", "SharedCluster")
PLACE = NamespacedName("team", "analytics")


def flow_run(name: str, ref: Object | None = None, status: Object | None = None, **spec: Any) -> Object:
    """A FlowRun that names a SharedCluster."""
    meta = {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": "1"}
    body = {"cluster": {"ref": {"name": "analytics"} if ref is None else ref}, **spec}
    return {"metadata": meta, "spec": body, "status": status or {}}


def shared(name: str = "analytics", namespace: str = "team", status: Object | None = None, **spec: Any) -> Object:
    """A SharedCluster."""
    meta = {"name": name, "namespace": namespace, "uid": f"uid-shared-{name}", "resourceVersion": "1"}
    return {"metadata": meta, "spec": {"kind": "Dask", **spec}, "status": status or {}}


def later(obj: Object, **changes: Any) -> Object:
    """The object as another write leaves it."""
    version = str(int(obj["metadata"]["resourceVersion"]) + 1)
    return {**obj, **changes, "metadata": {**obj["metadata"], "resourceVersion": version}}


def key_of(obj: Object, kind: str = "FlowRun") -> RunId:
    meta = obj["metadata"]
    return RunId(meta["namespace"], meta["name"], meta["uid"], kind)


def both() -> tuple[Store, Object, Object]:
    """A store with a run and the SharedCluster that it names."""
    store, run, cluster = Store(), flow_run("report"), shared()
    store.put(SHARED_CLUSTER, cluster)
    store.put(FLOW_RUN, run)
    return store, run, cluster


@pytest.mark.parametrize("first", [FLOW_RUN, SHARED_CLUSTER], ids=lambda resource: resource.kind)
def test_second_of_a_run_and_its_cluster_wakes_the_first(first: Any) -> None:
    store = Store()
    objects = {FLOW_RUN: flow_run("report"), SHARED_CLUSTER: shared()}
    store.put(first, objects.pop(first))
    ((resource, obj),) = objects.items()

    assert store.put(resource, obj) == {CLUSTER, key_of(flow_run("report"))}


@pytest.mark.parametrize(
    "change",
    [
        {"status": {"phase": "Stopping"}},
        {"spec": {"cluster": {"ref": {"name": "analytics"}}, "suspend": True}},
        {"spec": {"cluster": {"ref": {"name": "analytics", "priority": 3}}}},
    ],
)
def test_run_wakes_its_cluster_when_it_ends_or_changes_its_use(change: Object) -> None:
    store, run, _ = both()

    assert store.put(FLOW_RUN, later(run, **change)) == {CLUSTER, key_of(run)}


def test_run_that_becomes_a_record_wakes_its_cluster_once() -> None:
    store, run, _ = both()
    true = [{"type": kind, "status": "True"} for kind in ("Finished", "ClusterDeleted")]
    record = {"phase": "Succeeded", "finishTime": "2026-01-01T00:00:00Z", "conditions": true}

    assert store.put(FLOW_RUN, later(run, status=record)) == {CLUSTER, key_of(run)}
    assert store.uses(PLACE) == {}


def test_run_wakes_no_cluster_when_only_its_progress_changes() -> None:
    store, run, _ = both()

    assert store.put(FLOW_RUN, later(run, status={"phase": "Running"})) == {key_of(run)}


@pytest.mark.parametrize("status", [{"phase": "Ready"}, {"name": "c"}, {"address": "a"}, {"scheduler": {"uid": "x"}}])
def test_cluster_wakes_its_runs_when_they_can_use_it_otherwise(status: Object) -> None:
    store, run, cluster = both()

    assert store.put(SHARED_CLUSTER, later(cluster, status=status)) == {CLUSTER, key_of(run)}


def test_cluster_wakes_no_run_when_only_its_number_of_workers_changes() -> None:
    store, _, cluster = both()
    counts = {"workers": [{"name": "default", "maximum": 3, "ready": 1}], "runs": 1}
    store.put(SHARED_CLUSTER, first := later(cluster, status=counts))
    more = {**counts, "workers": [{"name": "default", "maximum": 3, "ready": 2}]}

    assert store.put(SHARED_CLUSTER, later(first, status=more)) == {CLUSTER}


def test_cluster_wakes_its_runs_when_it_is_gone() -> None:
    store, run, _ = both()

    assert store.remove(SHARED_CLUSTER, CLUSTER.uid, 9, is_gone=True) == {CLUSTER, key_of(run)}
    assert store.shared_cluster(PLACE) is None


def test_run_that_names_a_cluster_of_another_party_uses_none() -> None:
    for cluster in ({"kind": "Dask", "ref": {"name": "analytics"}}, {"ref": {"name": "x", "kind": "RayCluster"}}):
        assert use_of({**flow_run("report"), "spec": {"cluster": cluster}}) is None


def test_namesake_takes_the_place_of_a_cluster_that_was_deleted() -> None:
    store, run, cluster = both()
    other = {**cluster, "metadata": {**cluster["metadata"], "uid": "uid-other", "resourceVersion": "5"}}
    store.put(SHARED_CLUSTER, other)
    store.remove(SHARED_CLUSTER, CLUSTER.uid, 4, is_gone=True)

    assert store.shared_key(PLACE) == CLUSTER._replace(uid="uid-other")
    assert store.peers(key_of(run)) == {CLUSTER._replace(uid="uid-other")}


NAMES = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), NAMES, NAMES, st.sampled_from(["Running", "Stopping"])),
        st.tuples(st.just("cluster"), NAMES, st.sampled_from(["Ready", "Sleeping"])),
        st.tuples(st.sampled_from(["no run", "no cluster", "invalidate", "invalidate cluster"]), NAMES),
    ),
    max_size=12,
)


@given(STEPS)
def test_index_agrees_with_the_objects_whatever_happens(steps: list[tuple[str, ...]]) -> None:
    """Also while the state of an owner is invalidated: it keeps its place until it is known to be gone."""
    store = Store()
    runs: dict[str, Object] = {}
    clusters: dict[str, Object] = {}
    for version, step in enumerate(steps, start=1):
        what, name = step[:2]
        if what == "run":
            runs[name] = flow_run(name, {"name": step[2]}, {"phase": step[3]})
            runs[name]["metadata"]["resourceVersion"] = str(version)
            before = store.peer_view(key_of(runs[name]))
            woken = store.put(FLOW_RUN, runs[name])
            if before is not None and before.all != use_of(runs[name]):
                assert store.peers(key_of(runs[name])) <= woken
        elif what == "cluster":
            clusters[name] = shared(name, status={"phase": step[2]})
            clusters[name]["metadata"]["resourceVersion"] = str(version)
            before = store.peer_view(key_of(clusters[name], "SharedCluster"))
            woken = store.put(SHARED_CLUSTER, clusters[name])
            if before is not None and before.all[0] != offer_of(clusters[name]):
                assert store.peers(key_of(clusters[name], "SharedCluster")) <= woken
        elif what == "no run":
            runs.pop(name, None)
            store.remove(FLOW_RUN, f"uid-{name}", version, is_gone=True)
            store.forget_uses(RunId("team", name, f"uid-{name}"))
        elif what == "no cluster":
            clusters.pop(name, None)
            store.remove(SHARED_CLUSTER, f"uid-shared-{name}", version, is_gone=True)
            store.forget_uses(RunId("team", name, f"uid-shared-{name}", "SharedCluster"))
        else:
            store.invalidate(f"uid-{name}" if what == "invalidate" else f"uid-shared-{name}")

    for name in ("a", "b", "c"):
        place = NamespacedName("team", name)
        named = {key_of(run) for run in runs.values() if run["spec"]["cluster"]["ref"]["name"] == name}
        assert set(store.uses(place)) == named
        found = store.shared_key(place)
        assert found == (key_of(clusters[name], "SharedCluster") if name in clusters else None)
        assert all(store.peers(key) == ({found} if found else set()) for key in named)
