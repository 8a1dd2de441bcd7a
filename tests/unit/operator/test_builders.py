"""The child objects, compared with what upstream operators and Kubernetes need."""

from __future__ import annotations

import pytest

from flowcluster_api import driver, ports, relay
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired import relay_container as made
from flowcluster_operator.desired.dask_cluster import dask_cluster
from flowcluster_operator.desired.overlay import strategic_merge
from flowcluster_operator.settings import Settings, SettingsError
from tests.support.makers import KEY, KEYS, SETTINGS, spec


def parsed(body: dict[str, object]) -> FlowRunSpec:
    return FlowRunSpec.model_validate(body)


def test_driver_and_workers_run_the_same_image() -> None:
    """Without spec.cluster.image the cluster runs the flow's image."""
    body = spec(flow=False) | {"flow": {"entrypoint": "a.py:b", "image": "mine:1"}}
    built = dask_cluster(KEY, parsed(body), SETTINGS, 1, KEYS)

    assert built["spec"]["scheduler"]["spec"]["containers"][0]["image"] == "mine:1"
    assert built["spec"]["worker"]["spec"]["containers"][0]["image"] == "mine:1"


def test_operator_and_relay_have_equal_constants() -> None:
    """The relay runs from its source text and cannot import the constants, so it repeats them."""
    assert (ports.RELAY, made.TLS_MARK, made.FILE_MARK) == (relay.PORT, relay.TLS_MARK, relay.FILE_MARK)
    assert driver.ENV_KEYS == relay.ENV_KEYS


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
def test_overlay_merges_as_kubectl_patch_does(base: object, over: object, merged: object) -> None:
    """Objects merge, keyed lists merge by key, other lists are replaced, null removes."""
    assert strategic_merge(base, over) == merged


def test_invalid_setting_raises_an_error_with_its_name() -> None:
    """The error names the environment variable."""
    with pytest.raises(SettingsError, match="FLOWCLUSTER_MAX_WORKERS"):
        Settings.from_environment({"FLOWCLUSTER_MAX_WORKERS": "many"})
