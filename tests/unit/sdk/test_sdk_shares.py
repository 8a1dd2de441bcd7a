"""The share of a run on a shared cluster before and after the keeper sets it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from flowcluster.runners.sharing import Share
from flowcluster_api.keeper import digest_of
from flowcluster_api.tags import RAY_SHARES

OWN, OTHER = "uid-own", "uid-other"
LEFT = {"part": 5, "own": {digest_of(OWN): [7, 3]}}


@pytest.mark.parametrize(
    ("run", "part", "threads", "share"),
    [
        (OWN, 5, (4, 4), (7, 3)),
        (OTHER, 5, (4, 4), (0, 5)),
        (OTHER, None, (4, 4), (0, 16)),
        (OTHER, None, (), (0, 2)),
    ],
    ids=["share of its own", "equal part", "no look yet", "no worker"],
)
def test_run_on_dask_has_a_limit(run: str, part: int | None, threads: tuple[int, ...], share: Any) -> None:
    pytest.importorskip("distributed")
    from flowcluster.agent.shared_runs_plugin import SharedRunsPlugin

    plugin = SharedRunsPlugin("-run-", 4)
    plugin.part, plugin.own = part, {digest_of(OWN): (7, 3)} if part is not None else {}
    plugin.scheduler = SimpleNamespace(workers={n: SimpleNamespace(nthreads=count) for n, count in enumerate(threads)})

    assert plugin.share_of(run) == share


@pytest.mark.parametrize(
    ("run", "left", "share"),
    [
        (None, LEFT, Share()),
        (OWN, LEFT, Share(7, 3)),
        (OTHER, LEFT, Share(0, 5)),
        (OTHER, None, Share()),
    ],
    ids=["not shared", "share of its own", "equal part", "no keeper"],
)
def test_run_on_ray_has_a_limit(monkeypatch: pytest.MonkeyPatch, run: str | None, left: Any, share: Share) -> None:
    pytest.importorskip("ray")
    from ray.experimental import internal_kv

    from flowcluster.runners.ray.shares import share_of

    def read(key: bytes, namespace: bytes) -> bytes | None:
        assert key == RAY_SHARES
        return None if left is None else json.dumps(left).encode()

    monkeypatch.setattr(internal_kv, "_internal_kv_get", read)

    assert share_of(run) == share
