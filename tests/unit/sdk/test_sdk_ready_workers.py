"""The number of ready workers of a cluster on Kubernetes, from the status of its FlowRun."""

from __future__ import annotations

from typing import Any, cast

import pytest

from flowcluster.clusters.claim import Claim
from flowcluster.kube.flow_runs import FlowRuns


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        (None, 0),
        ({}, 0),
        ({"cluster": {"kind": "Ray"}}, 0),
        ({"cluster": {"kind": "Ray", "workers": {"ready": 2}}}, 2),
    ],
    ids=["no status", "no cluster", "suspended", "two workers"],
)
def test_ready_workers_are_counted_when_the_status_has_them(
    status: Any, ready: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Recorded:
        def get(self, _name: str) -> dict[str, Any]:
            return {"status": status}

    claim = Claim({}, cast("Any", None), adapts=False)
    monkeypatch.setattr(claim, "_started", lambda: (cast("FlowRuns", Recorded()), None))

    assert claim.ready_workers() == ready
