"""The user's choice of a Kubernetes. The module imports no client, so processes that only pass it on stay small."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

#: The folder with the ServiceAccount token of a pod, if it has one.
TOKEN_FOLDER = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Choice(NamedTuple):
    """The choice of a Kubernetes. The rules of `flowcluster.kube.access` decide about None.

    Attributes:
        kubeconfig: path of the file, or several as in ``KUBECONFIG``.
        context: name of a context in it.
        namespace: the namespace to use.
    """

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
