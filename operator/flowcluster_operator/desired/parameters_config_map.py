"""The ConfigMap with a flow's parameters, which its driver reads from a file.

The driver gets the text of a file unchanged. In an environment variable, the kubelet would expand ``$(NAME)``, and
Linux allows no more than 128 KiB.
"""

from __future__ import annotations

import json
from typing import Any

from flowcluster_api import driver, names
from flowcluster_api.v1alpha1 import Flow
from flowcluster_operator.desired.metadata import child_metadata
from flowcluster_operator.errors import SpecError
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import CONFIG_MAP, Object

#: Path of the file in the driver's container.
_FOLDER, _FILE = "/etc/flowcluster/parameters", "parameters.json"
_VOLUME = "flowcluster-parameters"


def parameters(key: RunId, flow: Flow) -> Object:
    """Return the ConfigMap with a flow's parameters.

    The run's Lease owns it, as it owns the Secret with the credentials (`desired.credentials`). So the ConfigMap is
    deleted with the Lease when the run ends or is suspended, and the operator needs no right to read, list or delete
    ConfigMaps. The API server chooses the name when the operator creates the ConfigMap, and the Job mounts the
    ConfigMap of that name. So no ConfigMap of another client reaches the driver.

    Raises:
        SpecError: a ConfigMap cannot hold the parameters.
    """
    metadata = child_metadata(key, names.COMPONENT_DRIVER)
    return {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.kind,
        "metadata": {
            "generateName": f"{metadata.pop('name')}-",
            **metadata,
        },
        "immutable": True,
        "data": {_FILE: parameters_text(flow)},
    }


def parameters_text(flow: Flow) -> str:
    """Return a flow's parameters as JSON.

    Raises:
        SpecError: a ConfigMap cannot hold them.
    """
    text = json.dumps(flow.parameters, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode(errors="surrogatepass"))
    if size > driver.PARAMETERS_LIMIT:
        raise SpecError(
            f"spec.flow.parameters has {size} bytes as JSON, and {driver.PARAMETERS_LIMIT} can be passed: keep large "
            "values in a storage that the flow can read, such as a bucket or a volume, and pass their URL or path"
        )
    return text


def with_parameters(pod: dict[str, Any], config_map: str) -> dict[str, Any]:
    """Return the driver's pod with the ConfigMap's file, and with the environment variable that names the file."""
    main, *others = pod["containers"]
    main = {
        **main,
        "env": [*main["env"], {"name": driver.ENV_PARAMETERS_PATH, "value": f"{_FOLDER}/{_FILE}"}],
        "volumeMounts": [
            *main.get("volumeMounts", []), {"name": _VOLUME, "mountPath": _FOLDER, "readOnly": True}
        ],
    }  # fmt: skip
    volume = {"name": _VOLUME, "configMap": {"name": config_map}}
    return {**pod, "containers": [main, *others], "volumes": [*pod.get("volumes", []), volume]}
