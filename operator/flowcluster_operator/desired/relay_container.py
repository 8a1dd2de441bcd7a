"""The sidecar that keeps the connections of a remote driver to its cluster open while the network path is broken."""

from __future__ import annotations

import importlib.resources
from typing import Any

import flowcluster_api
from flowcluster_api import ports
from flowcluster_operator.desired.pods import container
from flowcluster_operator.settings import Settings

#: Source of the program. It runs in the cluster's own image, which has Python but may lack flowcluster.
_SOURCE = (importlib.resources.files(flowcluster_api) / "relay.py").read_text(encoding="utf-8")
#: Prefixes of targets in `flowcluster_api.relay`: a port with TLS, and a file to serve.
TLS_MARK, FILE_MARK = "tls:", "file:"
_RESOURCES = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}


def relay(image: str, targets: list[str], settings: Settings) -> dict[str, Any]:
    """Return the container.

    Args:
        image: of the cluster.
        targets: the ports of its pod that it forwards to, and files that it serves, as `flowcluster_api.relay` reads
            them.
        settings: of the operator.
    """
    command = ["python", "-c", _SOURCE, str(ports.RELAY), *targets]
    # `command` replaces the image's entrypoint, which may install packages first.
    return {**container("relay", image, None, settings), "command": command, "resources": _RESOURCES}
