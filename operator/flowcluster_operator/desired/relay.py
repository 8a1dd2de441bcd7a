"""The container that keeps a far driver's connections to its cluster while their path is broken."""

from __future__ import annotations

import importlib.resources
from typing import Any

import flowcluster_api
from flowcluster_operator.desired.pods import container
from flowcluster_operator.settings import Settings

#: Runs in the cluster's own image, which need not have flowcluster in it, but has Python.
_SOURCE = (importlib.resources.files(flowcluster_api) / "relay.py").read_text(encoding="utf-8")
#: Where `flowcluster_api.relay` listens, and what a target begins with there that speaks TLS, or that is a file.
PORT, TLS_MARK, FILE_MARK = 8790, "tls:", "file:"
_RESOURCES = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}


def relay(image: str, targets: list[str], settings: Settings) -> dict[str, Any]:
    """The container, which leads to these ports of its pod, written as `flowcluster_api.relay` reads them."""
    command = ["python", "-c", _SOURCE, str(PORT), *targets]
    # Past the image's entrypoint, which may install packages first.
    return {**container("relay", image, None, settings), "command": command, "resources": _RESOURCES}
