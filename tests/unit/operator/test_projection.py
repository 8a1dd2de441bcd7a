"""What the store keeps of objects: what decisions read, and little else."""

from __future__ import annotations

from typing import Any

import pytest

from flowcluster_api import names
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.desired.credentials import credentials_in
from flowcluster_operator.informer.projection import projected
from flowcluster_operator.informer.store import Store
from flowcluster_operator.operator_class import handles
from flowcluster_operator.pod_status import pod_facts
from flowcluster_operator.policies.backoff_limit import update_backoff_limit
from flowcluster_operator.resources import (
    DASK_CLUSTER,
    DASK_WORKER_GROUP,
    FLOW_RUN,
    JOB,
    LAST_HANDLED,
    POD,
    SERVICE,
    WATCHED,
    Resource,
)  # fmt: skip
from flowcluster_operator.settings import Settings
from tests.support import shared
from tests.support.makers import KEY, KEYS, ago, cluster, deployment, job, observed, run, spec
from tests.support.observing import labelled_pod
from tests.support.plans import plan_for
from tests.support.pod_statuses import CASES, blocked_pod
from tests.unit.operator.test_decide_worlds import ray

FINISHED: dict[str, Any] = {
    "phase": "Succeeded",
    "startTime": ago(200),
    "finishTime": ago(100),
    "reason": "Succeeded",
    "story": [{"time": ago(100), "reason": "Succeeded", "message": "done"}],
    "conditions": [
        {"type": kind, "status": "True", "reason": "x", "message": "", "lastTransitionTime": ago(100)}
        for kind in ("Finished", "ClusterDeleted", "Ready")
    ],
}


@pytest.mark.parametrize("component", ["driver", "scheduler", "worker"])
@pytest.mark.parametrize("case", sorted(CASES))
def test_projection_has_the_facts_of_every_pod(component: str, case: str) -> None:
    made = blocked_pod(component, CASES[case])

    assert pod_facts(projected(POD, made)) == pod_facts(made)


@pytest.mark.parametrize("made", [cluster(), ray()], ids=["Dask", "Ray"])
def test_projection_has_what_backends_read_of_clusters(made: dict[str, Any]) -> None:
    backend = BACKENDS["Dask" if made["kind"] == "DaskCluster" else "Ray"]
    kept = projected(backend.resource, made)

    assert backend.credentials(kept) == backend.credentials(made) == KEYS
    assert backend.requested_workers(kept) == backend.requested_workers(made)


def test_projection_has_the_credentials_of_a_job() -> None:
    assert credentials_in(projected(JOB, job())["spec"]["template"]["spec"]) == KEYS


@pytest.mark.parametrize("resource", WATCHED, ids=lambda item: item.kind)
def test_projection_has_the_kind_when_only_metadata_was_listed(resource: Resource) -> None:
    partial = {
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": deployment()["metadata"]
    }  # fmt: skip
    kept = projected(resource, partial)

    assert (kept["kind"], kept["apiVersion"]) == (resource.kind, resource.api_version)


def test_projection_of_a_pod_has_no_environment_or_image() -> None:
    made = labelled_pod("worker")
    made["spec"] = {"containers": [{"name": "worker", "image": "x", "env": [{"name": "A", "value": "B"}]}]}

    assert projected(POD, made)["spec"] == {"containers": [{"name": "worker"}]}


def test_projection_does_not_change_the_object() -> None:
    made = cluster()
    projected(DASK_CLUSTER, made)

    assert made == cluster()


def test_projection_of_a_live_run_is_whole() -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "a"}
    made = run(status={"phase": "Running"}, managedFields=[{"manager": "x"}], annotations=annotations)

    assert projected(FLOW_RUN, made) == run(status={"phase": "Running"}, annotations={"team": "a"})


@pytest.mark.parametrize("seconds", [50, 86400], ids=["expired", "waits"])
def test_projection_of_a_record_leads_to_the_same_plan(seconds: int) -> None:
    made = run(spec(ttlSecondsAfterFinished=seconds), FINISHED)
    kept = projected(FLOW_RUN, made)

    assert "story" not in kept["status"]
    assert plan_for(observed(run=kept)) == plan_for(observed(run=made))


@pytest.mark.parametrize("operator_class", [None, "blue"])
@pytest.mark.parametrize("installation", [None, "system/ours", "system/theirs"])
@pytest.mark.parametrize("settings", [Settings(), Settings(operator_class="blue", installation="system/ours")])
def test_projection_of_a_record_names_the_operator_that_handles_it(
    settings: Settings, installation: str | None, operator_class: str | None
) -> None:
    body = {**spec(), **({"operatorClass": operator_class} if operator_class else {})}
    made = run(body, {**FINISHED, **({"operator": installation} if installation else {})})

    assert handles(projected(FLOW_RUN, made), settings) is handles(made, settings)


@pytest.mark.parametrize("limits", [(0, 1), (1, 0), (1, 1)])
def test_projection_of_a_job_leads_to_the_same_limit_of_attempts(limits: tuple[int, int]) -> None:
    body = {**spec(), "flow": {"entrypoint": "a.py:b", "backoffLimit": limits[0]}}
    made = job(body)
    made["spec"]["backoffLimit"] = limits[1]

    assert update_backoff_limit(observed(body, job=projected(JOB, made))) == update_backoff_limit(
        observed(body, job=made)
    )
    assert bool(update_backoff_limit(observed(body, job=made)).actions) is (limits[0] != limits[1])


@pytest.mark.parametrize("field", ["finishTime", "phase", "conditions"])
def test_projection_is_whole_when_the_status_of_a_record_may_be_written(field: str) -> None:
    status = {name: value for name, value in FINISHED.items() if name != field}
    made = run(status=status)

    assert projected(FLOW_RUN, made) == made


def handled(resource: Resource) -> dict[str, Any]:
    """The DaskCluster or DaskWorkerGroup of a SharedCluster, whose parts dask-kubernetes has made."""
    made, (group,) = shared.objects(shared.spec(**shared.GROUPS))
    return made if resource is DASK_CLUSTER else group


@pytest.mark.parametrize("resource", [DASK_CLUSTER, DASK_WORKER_GROUP], ids=lambda resource: resource.kind)
def test_store_wakes_no_owner_when_nothing_changes_that_a_decision_reads(resource: Resource) -> None:
    store = Store()
    made = handled(resource)
    store.put(resource, made)
    annotations = {"a": "b", LAST_HANDLED: '{"spec": {}}'}
    newer = {**made, "metadata": {**made["metadata"], "resourceVersion": "6", "annotations": annotations}}

    assert store.put(resource, newer) == set()
    assert store.children(shared.KEY, resource)[0]["metadata"]["resourceVersion"] == "6"


@pytest.mark.parametrize("resource", [DASK_CLUSTER, DASK_WORKER_GROUP], ids=lambda resource: resource.kind)
def test_store_wakes_the_owner_when_dask_kubernetes_has_handled_an_object(resource: Resource) -> None:
    store = Store()
    made = handled(resource)
    store.put(resource, {**made, "metadata": {**made["metadata"], "annotations": {}}})

    assert store.put(resource, made) == {shared.KEY}


def test_store_counts_changes_of_a_run() -> None:
    store, made = Store(), job()
    store.put(FLOW_RUN, run())
    before = store.revision(KEY)
    store.put(JOB, made)
    store.put(JOB, made)

    assert store.revision(KEY) == before + 1


def test_store_forgets_the_count_of_a_run_that_is_gone() -> None:
    store = Store()
    store.put(FLOW_RUN, run())
    store.remove(FLOW_RUN, KEY.uid)

    assert store.revision(KEY) == 0


def test_store_shares_the_texts_that_objects_of_a_run_have_in_common() -> None:
    store = Store()
    texts = []
    for number in range(2):
        labels = {names.LABEL_RUN: "".join(["greet", "ings"])}
        body = {"metadata": {**deployment()["metadata"], "uid": f"s{number}", "name": f"s{number}", "labels": labels}}
        texts.append(projected(SERVICE, body)["metadata"]["labels"][names.LABEL_RUN])
        store.put(SERVICE, body)

    assert texts[0] is texts[1]
