"""The run's own keys, by which its driver and the parts of its cluster know each other, and nobody else joins them.

Who runs beneath another run uses that one's: its driver has them already, and needs no right to read any Secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcluster_api import names
from flowcluster_api.driver import ENV_KEYS
from flowcluster_operator.desired.metadata import child_metadata
from flowcluster_operator.model import Key
from flowcluster_operator.resources import SECRET, Object

#: Where the keys are in the pods of a run.
FOLDER = "/etc/flowcluster/keys"

#: Name of the volume with the keys, in all pods of a run.
KEYS_VOLUME = "flowcluster-keys"
_FILES = {"CA_FILE": "ca.crt"} | {
    f"{role}__{what}": f"tls.{suffix}"
    for role in ("SCHEDULER", "WORKER", "CLIENT")
    for what, suffix in (("CERT", "crt"), ("KEY", "key"))
}
#: What tells Dask where the keys are, and what has it speak nothing but TLS.
DASK = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": f"{FOLDER}/{file}" for name, file in _FILES.items()}
DASK_TLS_ONLY = DASK | {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}


def keys(key: Key) -> Object:
    """Return the Secret without data, which is made when it is created.

    The run's Lease owns it and is gone only when the Secret is, so that the operator has to read, list and delete no
    Secret. The API server chooses its name at its creation: before that, no client can create a Secret in its place.
    The operator writes the name into the pod templates of the run, and finds it there after a restart.
    """
    metadata = child_metadata(key, names.COMPONENT_CLUSTER)
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.kind,
        "type": "kubernetes.io/tls",
        "metadata": {
            "generateName": f"{metadata.pop('name')}-",
            **metadata,
        },
        "immutable": True,
    }


def keys_in(pod: dict[str, Any]) -> str | None:
    """Name of the Secret whose keys a pod of that spec has, if it has any."""
    volumes = pod.get("volumes") or []
    return next((volume["secret"]["secretName"] for volume in volumes if volume["name"] == KEYS_VOLUME), None)


def with_keys(pod: dict[str, Any], secret: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """A pod's spec with the keys in all of its containers, which `environment` tells how to use them."""
    env = [{"name": name, "value": value} for name, value in {ENV_KEYS: FOLDER, **environment}.items()]
    mount = {"name": KEYS_VOLUME, "mountPath": FOLDER, "readOnly": True}
    containers = [
        {
            **container,
            "env": [*container.get("env", []), *env],
            "volumeMounts": [*container.get("volumeMounts", []), mount],
        }
        for container in pod["containers"]
    ]
    volume = {"name": KEYS_VOLUME, "secret": {"secretName": secret}}
    return {**pod, "containers": containers, "volumes": [*pod.get("volumes", []), volume]}
