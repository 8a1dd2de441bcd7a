"""Edits of live runs: each has its effect, or the API server refuses it and names the field."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from flowcluster_api.edits import EDITS, Edit
from tests.support.edited import changed, valid
from tests.support.waiting import wait_until
from tests.support.world import FlowRun, World

pytestmark = pytest.mark.timeout(240)

#: What a user might want for new workers: other threads, more memory, another environment.
OTHER_WORKERS: dict[str, dict[str, Any]] = {
    "threads": {"threads": 2},
    "resources.requests": {"resources": {"requests": {"cpu": "15m"}}},
    "template": {"template": {"spec": {"containers": [{"name": "worker", "env": [{"name": "MARK", "value": "new"}]}]}}},
}


def refusal(world: World, name: str, spec: dict[str, Any]) -> str:
    """Return the answer to a patch, which the API server must refuse as invalid."""
    with pytest.raises(ApiException) as refused:
        world.patch(name, spec)
    assert refused.value.status == 422
    return str(refused.value.body)


@pytest.mark.parametrize("kind", ["Dask", pytest.param("Ray", marks=pytest.mark.long)])
def test_live_run_of_one_worker_gets_a_second_one_when_its_maximum_is_raised(world: World, kind: str) -> None:
    """Minimum and maximum were equal at the start."""
    cluster = {"kind": kind, "workers": {"minimum": 1, "maximum": 1, "resources": {"requests": {"cpu": "10m"}}}}
    world.create(FlowRun(flow=world.flow("endless.py:crowd"), more={"cluster": cluster}).body())
    world.wait_phase("run", "Running", seconds=150)

    for field, workers in OTHER_WORKERS.items():
        assert f"spec.cluster.workers.{field} cannot change while the run is live" in refusal(
            world, "run", {"cluster": {"workers": workers}}
        )
    world.patch("run", {"cluster": {"workers": {"maximum": 2}}})
    wait_until(lambda: world.live_workers() == 2, "a second worker is requested", 60)
    world.end("run", "cancel")


def test_suspended_run_accepts_edits_of_its_pods_only(world: World) -> None:
    """Every field that cannot change while a run is live is edited in the phase Suspended."""
    for number, (path, edit) in enumerate(EDITS.items()):
        if edit in (Edit.ACTS, Edit.NEVER):
            continue
        name = f"run-{number}"
        spec = {**valid(path), "suspend": True}
        spec.pop("operatorClass", None)  # the installed operator handles runs without a class
        world.create({**FlowRun(name=name).body(), "spec": spec})
        world.wait_phase(name, "Suspended")
        if edit is Edit.FIXED:
            assert f"spec.{path} cannot change once the run is accepted" in refusal(world, name, changed(spec, path))
        else:
            world.patch(name, changed(spec, path, larger=False))
        world.delete(name)
