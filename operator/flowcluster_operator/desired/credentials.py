"""The credentials of a run: a certificate with its key, and a token. Only processes with them can join the run.

A child run uses the credentials of its parent. Its driver, which is that of the parent, has them already, and needs no
right to read a Secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcluster_api import names
from flowcluster_api.driver import ENV_KEYS
from flowcluster_operator.desired.metadata import child_metadata
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import SECRET, Object

#: Path of the credentials in the pods of a run.
FOLDER = "/etc/flowcluster/keys"

#: Name of the volume with the credentials, in all pods of a run.
CREDENTIALS_VOLUME = "flowcluster-keys"
_FILES = {"CA_FILE": "ca.crt"} | {
    f"{role}__{what}": f"tls.{suffix}"
    for role in ("SCHEDULER", "WORKER", "CLIENT")
    for what, suffix in (("CERT", "crt"), ("KEY", "key"))
}
#: Environment variables by which Dask finds the credentials; and the same with one by which it refuses connections
#: without TLS.
DASK = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": f"{FOLDER}/{file}" for name, file in _FILES.items()}
DASK_TLS_ONLY = DASK | {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}


def credentials_secret(key: RunId) -> Object:
    """Return the Secret without its data. The operator adds the data when it creates the Secret.

    The run's Lease owns the Secret, so the operator does not have to read, list or delete Secrets. The API server
    chooses the name when the operator creates the Secret, so no other client can create a Secret of that name before.
    The operator writes the name into the pod templates of the run, and reads it there after a restart.
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


def credentials_in(pod: dict[str, Any]) -> str | None:
    """Return the name of the Secret whose credentials a pod with that spec mounts; None where it mounts none."""
    volumes = pod.get("volumes") or []
    return next((volume["secret"]["secretName"] for volume in volumes if volume["name"] == CREDENTIALS_VOLUME), None)


def with_credentials(pod: dict[str, Any], secret: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return a pod's spec with the credentials in all of its containers.

    Args:
        pod: the spec.
        secret: name of the Secret.
        environment: variables that make the containers use the credentials.
    """
    env = [{"name": name, "value": value} for name, value in {ENV_KEYS: FOLDER, **environment}.items()]
    mount = {"name": CREDENTIALS_VOLUME, "mountPath": FOLDER, "readOnly": True}
    containers = [
        {
            **container,
            "env": [*container.get("env", []), *env],
            "volumeMounts": [*container.get("volumeMounts", []), mount],
        }
        for container in pod["containers"]
    ]
    volume = {"name": CREDENTIALS_VOLUME, "secret": {"secretName": secret}}
    return {**pod, "containers": containers, "volumes": [*pod.get("volumes", []), volume]}
