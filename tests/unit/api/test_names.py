"""Names of a run's children, for whatever the run is called."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster_api import names
from tests.support.strategies import TEXT

#: What the CRD lets a FlowRun be called.
RUN_NAMES = (
    st.integers(1, 63)
    .flatmap(lambda size: st.text("az09-", min_size=size, max_size=size))
    .map(lambda text: text.strip("-") or "0")
)
UIDS = st.uuids(version=4).map(str)
LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
#: What upstream operators append: dask-kubernetes, KubeRay, and the pods of a Job.
SUFFIXES = ["-default-worker-0123456789", "-scheduler", "-head-svc", "-workers-worker-abcde", "-abcde"]


@given(RUN_NAMES | TEXT, UIDS)
def test_child_name_is_a_dns_label(run: str, uid: str) -> None:
    assert LABEL.fullmatch(names.child_name(run, uid))
    assert len(names.child_name(run, uid)) <= names.CHILD_NAME_LIMIT


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(run=RUN_NAMES, uid=UIDS)
def test_child_name_leaves_room_for_a_suffix(suffix: str, run: str, uid: str) -> None:
    name = names.child_name(run, uid) + suffix

    assert len(name) <= 63
    assert LABEL.fullmatch(name)


@given(RUN_NAMES, UIDS, UIDS)
def test_ray_cluster_name_is_short_enough_for_kuberay(run: str, uid: str, lease: str) -> None:
    name = names.ray_cluster_name(run, uid, lease)

    assert LABEL.fullmatch(name)
    assert len(f"{name}-head-") <= 50, "KubeRay cuts the names of pods"


def test_ray_cluster_names_differ_between_starts() -> None:
    leases = [f"0c7f6a52-0000-4000-8000-{number:012}" for number in range(100)]

    assert len({names.ray_cluster_name("run", "uid", lease) for lease in leases}) == len(leases)


@given(RUN_NAMES, UIDS)
def test_driver_name_is_a_dns_label(run: str, uid: str) -> None:
    """KubeRay names the account of its autoscaler like the cluster, so the driver's needs another name."""
    name = names.driver_name(run, uid)

    assert LABEL.fullmatch(name)
    assert len(name) <= 63
    assert name != names.child_name(run, uid)


@given(RUN_NAMES, st.lists(UIDS, min_size=2, max_size=20, unique=True))
def test_child_names_differ_when_runs_of_one_name_follow_each_other(run: str, uids: list[str]) -> None:
    assert len({names.child_name(run, uid) for uid in uids}) == len(uids)


@given(st.lists(RUN_NAMES, min_size=2, max_size=20, unique=True), st.data())
def test_child_names_differ_when_runs_have_different_names(runs: list[str], data: st.DataObject) -> None:
    uids = data.draw(st.lists(UIDS, min_size=len(runs), max_size=len(runs), unique=True))

    assert len({names.child_name(run, uid) for run, uid in zip(runs, uids, strict=True)}) == len(runs)


@given(RUN_NAMES.map(lambda name: f"a{name[:25]}".rstrip("-")), UIDS)
def test_child_name_begins_with_the_name_of_the_run_when_that_is_short(run: str, uid: str) -> None:
    """`kubectl get pods` shows which run a pod belongs to."""
    assert names.child_name(run, uid).startswith(f"{run}-")


@given(RUN_NAMES, UIDS, st.sampled_from(["driver", "worker", "scheduler"]))
def test_child_labels_are_valid(run: str, uid: str, component: str) -> None:
    for value in names.child_labels(run, uid, component).values():
        assert re.fullmatch(r"[a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?", value)
