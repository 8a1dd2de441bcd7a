"""What a trial sees of the objects of its namespace."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

from flowcluster_api import names
from tests.support.chaos.trial import SUBJECT, Trial
from tests.support.rig.faults import UNDISTURBED
from tests.support.rig.ledger import View

RUN_UID = "1"


def body(name: str, uid: str, version: int, owner: str = "") -> dict[str, Any]:
    meta = {
        "name": f"{SUBJECT}-{name}",
        "uid": uid,
        "resourceVersion": str(version),
        "labels": names.child_labels(SUBJECT, RUN_UID, name),
        "ownerReferences": [{"uid": owner}] if owner else [],
    }
    return {"metadata": meta}


def test_worker_that_was_made_for_a_group_that_is_gone_is_not_left() -> None:
    """dask-kubernetes makes it, and garbage collection deletes it after the end of the trial."""
    view = View("n", threading.RLock())
    trial = Trial(cast("Any", SimpleNamespace(client=None)), "Dask", UNDISTURBED, view)
    view.take("DaskWorkerGroup", body("default", "2", 5), is_gone=True)
    view.take("Deployment", body("worker", "3", 6, owner="2"), is_gone=False)
    view.take("ReplicaSet", body("worker", "4", 7, owner="3"), is_gone=False)
    view.take("Job", body("driver", "5", 8), is_gone=False)

    assert [str(entry) for entry in trial.left()] == [f"Job {SUBJECT}-driver"]
    assert len(trial.children()) == 3
