"""The child objects, compared with what upstream operators and Kubernetes need."""

from __future__ import annotations

import pytest

from flowcluster_api import driver, names, relay
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired import relay as made
from flowcluster_operator.desired.dask_cluster import dask_cluster
from flowcluster_operator.desired.driver_job import driver_job
from flowcluster_operator.desired.overlay import overlay
from flowcluster_operator.settings import Settings, SettingsError
from tests.support.makers import KEY, KEYS, SETTINGS, spec


def parsed(body: dict[str, object]) -> FlowRunSpec:
    return FlowRunSpec.model_validate(body)


def test_workers_are_told_threads_memory_and_resources() -> None:
    """Each worker field of the spec reaches the worker's command line."""
    workers = {
        "minimum": 1,
        "maximum": 1,
        "threads": 3,
        "taskResources": {"GPU": 1},
        "resources": {"limits": {"memory": "1Gi"}},
    }
    built = dask_cluster(KEY, parsed(spec(cluster={"kind": "Dask", "workers": workers})), SETTINGS, 1, KEYS)
    args = " ".join(built["spec"]["worker"]["spec"]["containers"][0]["args"])

    assert "--nthreads 3" in args
    assert "--resources GPU=1" in args
    assert f"--memory-limit {2**30}" in args
    assert "--name $(DASK_WORKER_NAME)" in args


def test_driver_and_workers_run_the_same_image() -> None:
    """Without spec.cluster.image the cluster runs the flow's image."""
    body = spec(flow=False) | {"flow": {"entrypoint": "a.py:b", "image": "mine:1"}}
    built = dask_cluster(KEY, parsed(body), SETTINGS, 1, KEYS)

    assert built["spec"]["scheduler"]["spec"]["containers"][0]["image"] == "mine:1"
    assert built["spec"]["worker"]["spec"]["containers"][0]["image"] == "mine:1"


def test_the_relay_is_called_by_its_own_words() -> None:
    """It runs as a program, which imports nothing: what it shares with others is written there once more."""
    assert (made.PORT, made.TLS_MARK, made.FILE_MARK) == (relay.PORT, relay.TLS_MARK, relay.FILE_MARK)
    assert driver.ENV_KEYS == relay.ENV_KEYS


def test_all_pods_pass_the_restricted_profile() -> None:
    """No pod of a run needs more than Pod Security `restricted` allows."""
    cluster = dask_cluster(KEY, parsed(spec()), SETTINGS, 1, KEYS)["spec"]
    pods = [cluster["scheduler"]["spec"], cluster["worker"]["spec"]]
    pods.append(driver_job(KEY, parsed(spec()), SETTINGS, KEYS, None)["spec"]["template"]["spec"])
    for body in pods:
        security = body["containers"][0]["securityContext"]

        assert security["runAsNonRoot"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}

    *others, driver = pods
    assert not any(body["automountServiceAccountToken"] for body in others)
    assert driver["serviceAccountName"] == names.driver_name(KEY.name, KEY.uid)


def test_a_template_is_laid_over_the_driver() -> None:
    """A person's template adds to ours: variables join, fields of the pod are set."""
    template = {
        "spec": {"nodeSelector": {"a": "b"}, "containers": [{"name": "driver", "env": [{"name": "X", "value": "1"}]}]}
    }
    body = spec(flow=False) | {"flow": {"entrypoint": "a.py:b", "template": template}}
    pod = driver_job(KEY, parsed(body), SETTINGS, KEYS, None)["spec"]["template"]["spec"]

    assert pod["nodeSelector"] == {"a": "b"}
    assert {"name": "X", "value": "1"} in pod["containers"][0]["env"]
    assert pod["containers"][0]["args"] == ["flowcluster", "run", "a.py:b"]


def test_a_template_cannot_hide_a_pod_from_its_run() -> None:
    """Labels of a template join the run's labels and replace none of them."""
    template = {"metadata": {"labels": {"mine": "1", names.LABEL_RUN_UID: "another"}}}
    body = spec(flow=False) | {"flow": {"entrypoint": "a.py:b", "template": template}}
    labels = driver_job(KEY, parsed(body), SETTINGS, KEYS, None)["spec"]["template"]["metadata"]["labels"]

    assert labels["mine"] == "1"
    assert labels[names.LABEL_RUN_UID] == KEY.uid


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        ({"a": 1, "b": 2}, {"b": None}, {"a": 1}),
        (
            {"env": [{"name": "a", "value": "1"}]},
            {"env": [{"name": "a", "value": "2"}]},
            {"env": [{"name": "a", "value": "2"}]},
        ),
        (
            {"tolerations": [{"key": "a"}]},
            {"tolerations": [{"key": "b"}]},
            {"tolerations": [{"key": "a"}, {"key": "b"}]},
        ),
        ({"args": ["a"]}, {"args": ["b"]}, {"args": ["b"]}),
    ],
)
def test_an_overlay_merges_as_kubectl_patch_does(base: object, over: object, merged: object) -> None:
    """Objects merge, keyed lists merge by key, other lists are replaced, null removes."""
    assert overlay(base, over) == merged


def test_a_setting_that_makes_no_sense_is_named() -> None:
    """A wrong environment variable is refused by its name."""
    with pytest.raises(SettingsError, match="FLOWCLUSTER_MAX_WORKERS"):
        Settings.from_environment({"FLOWCLUSTER_MAX_WORKERS": "many"})
