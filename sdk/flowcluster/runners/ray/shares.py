"""What a flow run has on a shared Ray cluster: its tags, and its share."""

from __future__ import annotations

import json
import os
from typing import Any

from flowcluster.runners.sharing import Share
from flowcluster_api import tags
from flowcluster_api.keeper import digest_of


def topic_of(run: str | None) -> str:
    """Return a new topic, with the UID of the run on a shared cluster that it is of."""
    topic = os.urandom(8).hex()
    return topic if run is None else f"{run}{tags.RAY_SEPARATOR}{topic}"


def share_of(run: str | None) -> Share:
    """Return what a run can use, as the keeper of its cluster left it at the head.

    A run without a share of its own, also one that begins before the keeper has read that it is listed, has an equal
    part. Without a bound, its first tasks could be before all of others.
    """
    if run is None:
        return Share()
    from ray.experimental import internal_kv

    text = internal_kv._internal_kv_get(tags.RAY_SHARES, namespace=tags.RAY_NAMESPACES[0])
    if not text:
        return Share()  # no keeper has been there
    left = json.loads(text)
    return Share(*left["own"].get(digest_of(run), (0, left["part"])))


def tagged(job_config: Any, run: str) -> Any:
    """Return the configuration of a Ray job, given or new, with the UID of the run that it is of."""
    from flowcluster.clusters.ray.client import with_metadata

    return with_metadata(job_config, {tags.RAY_METADATA: run})
