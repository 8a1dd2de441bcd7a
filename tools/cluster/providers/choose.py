"""The choice of a provider: the requested one, else what this machine supports."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tools.cluster.docker import engine_answers, trouble
from tools.cluster.errors import ToolError
from tools.cluster.onenode.cluster import OneNode
from tools.cluster.onenode.layout import DEFAULT_NAME
from tools.cluster.providers.base import Provider
from tools.cluster.providers.existing import Existing
from tools.cluster.providers.kind import Kind

ENV_KUBECONFIG = "FLOWCLUSTER_KUBECONFIG"
ENV_CONTEXT = "FLOWCLUSTER_CONTEXT"
KINDS = ("existing", "kind", "one-node")


def choose(
    name: str = DEFAULT_NAME,
    *,
    provider: str = "",
    kubeconfig: Path | None = None,
    context: str = "",
) -> Provider:
    """Return the provider to use.

    The order is: an explicit kubeconfig or context (the parameters, else ``FLOWCLUSTER_KUBECONFIG`` and
    ``FLOWCLUSTER_CONTEXT``), kind if a Docker engine answers, one node on Linux as root.
    ``KUBECONFIG`` is never used: tests create and delete objects, and must not do so on a cluster that
    is configured for another purpose.

    Args:
        name: of the cluster, for a provider that starts one.
        kubeconfig: file with the cluster.
        context: of the kubeconfig.
        provider: one of `KINDS` overrides the order.

    Raises:
        ToolError: no provider fits. The message lists what to do.
    """
    if provider and provider not in KINDS:
        raise ToolError(f"--provider {provider!r}: use one of {', '.join(KINDS)}.")
    if not kubeconfig and (given := os.environ.get(ENV_KUBECONFIG)):
        kubeconfig = Path(given).expanduser()
    context = context or os.environ.get(ENV_CONTEXT, "")
    if provider == "existing" or (not provider and (kubeconfig or context)):
        if not kubeconfig and not context:
            raise ToolError(f"--provider existing needs --kubeconfig or --context, or {ENV_KUBECONFIG}.")
        return Existing(kubeconfig, context)
    if provider == "kind" or (not provider and engine_answers()):
        return Kind(name)
    if provider == "one-node" or (sys.platform == "linux" and os.geteuid() == 0):
        return OneNode(name)
    raise ToolError(
        "no cluster is available here. One of these is needed: a kubeconfig (--kubeconfig or "
        f"{ENV_KUBECONFIG}), a running Docker engine (for kind), or Linux and root (for one node). "
        f"No Docker engine answers: {trouble()}"
    )
