"""What a run on a shared cluster can use before the keeper has read that it is listed, and after that."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from flowcluster.runners.sharing import Share
from flowcluster_api.tags import RAY_SHARES

LISTED, NEW = "uid-listed", "uid-new"


@pytest.mark.parametrize(
    ("run", "threads", "share"), [(LISTED, (4, 4), (7, 3)), (NEW, (4, 4), (0, 16)), (NEW, (), (0, 2))]
)
def test_run_on_dask_has_a_bound_before_it_is_listed(run: str, threads: tuple[int, ...], share: Any) -> None:
    pytest.importorskip("distributed")
    from flowcluster.agent.runs_side import RunsPlugin

    plugin = RunsPlugin("-run-", 4)
    plugin.shares = {LISTED: (7, 3)}
    plugin.scheduler = SimpleNamespace(workers={n: SimpleNamespace(nthreads=count) for n, count in enumerate(threads)})

    assert plugin.share_of(run) == share


@pytest.mark.parametrize(
    ("run", "left", "cpus", "share"),
    [
        (None, {LISTED: (7, 3)}, 8, Share()),
        (LISTED, {LISTED: (7, 3)}, 8, Share(7, 3)),
        (NEW, {LISTED: (7, 3)}, 8, Share(0, 16)),
        (NEW, {}, 0, Share(0, 2)),
        (NEW, None, 8, Share()),
    ],
    ids=["not shared", "listed", "new", "no worker", "no keeper"],
)
def test_run_on_ray_has_a_bound_before_it_is_listed(
    monkeypatch: pytest.MonkeyPatch, run: str | None, left: Any, cpus: int, share: Share
) -> None:
    ray = pytest.importorskip("ray")
    from ray.experimental import internal_kv

    from flowcluster.runners.ray.shares import share_of

    def read(key: bytes, namespace: bytes) -> bytes | None:
        assert key == RAY_SHARES
        return None if left is None else json.dumps(left).encode()

    monkeypatch.setattr(internal_kv, "_internal_kv_get", read)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": float(cpus)} if cpus else {})

    assert share_of(run) == share
