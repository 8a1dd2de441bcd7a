"""The tags and the share of a flow run on a shared Ray cluster."""

from __future__ import annotations

import json
import os
from typing import Any

from flowcluster.runners.sharing import Share
from flowcluster_api import tags
from flowcluster_api.keeper import digest_of


def topic_of(run: str | None) -> str:
    """Return a new topic for log records. On a shared cluster, it begins with the UID of the FlowRun."""
    topic = os.urandom(8).hex()
    return topic if run is None else f"{run}{tags.RAY_SEPARATOR}{topic}"


def share_of(run: str | None) -> Share:
    """Return the share of a run that the keeper of its cluster has written to the head.

    A run without a share of its own gets an equal part. So does a run that starts before the keeper has read the
    instructions that list it: without a limit, its first tasks could precede all tasks of other runs.
    """
    if run is None:
        return Share()
    from ray.experimental import internal_kv

    text = internal_kv._internal_kv_get(tags.RAY_SHARES, namespace=tags.RAY_NAMESPACE)
    if not text:
        return Share()  # the cluster has no keeper
    shares = json.loads(text)
    return Share(*shares["own"].get(digest_of(run), (0, shares["part"])))


def tagged(job_config: Any, run: str) -> Any:
    """Return the given or a new configuration of a Ray job, with the UID of its FlowRun."""
    from flowcluster.clusters.ray.client import with_metadata

    return with_metadata(job_config, {tags.RAY_METADATA: run})
