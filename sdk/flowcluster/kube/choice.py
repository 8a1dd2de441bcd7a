"""What a person says about which Kubernetes is meant. Light: a process that only says it imports no client."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

#: Where a pod finds what it may use, if it may use any.
TOKEN_FOLDER = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Choice(NamedTuple):
    """None is left to the rules of `flowcluster.kube.access`.

    Attributes:
        kubeconfig: path of the file, or several as in ``KUBECONFIG``.
        context: a name in it.
        namespace: where to look and to create.
    """

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
