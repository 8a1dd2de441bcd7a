"""Dask's annotations of a task run: those of the code that submits it, and those of the run's own options."""

from __future__ import annotations

from typing import Any

import dask

from flowcluster._util import texts
from flowcluster.runners.base import TaskCall
from flowcluster.runners.sharing import Share


def annotations_for(call: TaskCall, share: Share) -> dict[str, Any]:
    """Return the annotations of a run at its submission.

    Args:
        call: of the run.
        share: the FlowRun's share of a shared cluster.

    Raises:
        ValueError: UTF-8 cannot encode a text in them. The scheduler would close its connection to the worker that gets
            them.
    """
    annotations = dict(dask.get_annotations())
    if share.priority is not None:
        annotations["priority"] = share.ranked(annotations.get("priority") or 0)
    # The engine retries. Dask would only repeat runs whose function was never called.
    annotations.pop("retries", None)
    if resources := call.payload.spec.resources:
        annotations["resources"] = {**resources, **annotations.get("resources", {})}
    if (text := texts.first_not_utf8(annotations)) is not None:
        raise ValueError(f"Dask cannot send annotations with {text!r}, which has a character that UTF-8 does not have.")
    return annotations
