"""The pods of a run's cluster as a user writes them by hand: the same image, commands and resources, no TLS."""

from __future__ import annotations

import secrets
from typing import Any

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.dask_cluster import dask_cluster
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.settings import Settings


def cluster(namespace: str, image: str, workers: int = 0, keys: str = "") -> dict[str, Any]:
    """Return the DaskCluster of a run, with the TLS keys in that Secret."""
    spec = FlowRunSpec.model_validate({"cluster": {"kind": "Dask"}})
    return dask_cluster(
        RunId(namespace, "bare", secrets.token_hex(4)), spec, Settings(default_image=image), workers, keys
    )


def plain_cluster(namespace: str, image: str, workers: int = 0) -> dict[str, Any]:
    """Return the same without TLS, and without the relay beside the scheduler."""
    built = cluster(namespace, image, workers)
    for part in ("scheduler", "worker"):
        pod = built["spec"][part]["spec"]
        (secret,) = (volume["name"] for volume in pod.pop("volumes"))
        container = pod["containers"][0]
        assert [mount["name"] for mount in container.pop("volumeMounts")] == [secret]
        container["env"] = [
            item for item in container["env"] if "TLS" not in item["name"] and "REQUIRE_ENC" not in item["name"]
        ]
        container["args"] = [
            arg for arg in container["args"] if arg not in ("--protocol", "tls") and "tls://" not in arg
        ]
        pod["containers"] = [container]
    return built
