"""Image pull secrets of the ServiceAccounts that a run's templates name, or that its pods would have by default."""

from __future__ import annotations

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.inherited import accounts
from flowcluster_operator.errors import ApiError
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import PullSecrets
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import SERVICE_ACCOUNT


async def pull_secrets(kube: Kube, known: dict[RunId, PullSecrets], key: RunId, spec: FlowRunSpec) -> PullSecrets:
    """Return the names of image pull secrets by ServiceAccount; each account is read once for a run.

    An account that does not exist has none: the API server refuses its pods, which is a cause of its own.
    """
    if key not in known:
        found = {}
        for name in accounts(spec):
            try:
                account = await kube.get(SERVICE_ACCOUNT, key.namespace, name)
            except ApiError:
                continue
            found[name] = tuple(str(item["name"]) for item in account.get("imagePullSecrets") or [] if item.get("name"))
        known[key] = found
    return known[key]
