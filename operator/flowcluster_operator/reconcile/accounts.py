"""Image pull secrets of the ServiceAccounts that a run's pods would have, or stand in for."""

from __future__ import annotations

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.inherited import accounts
from flowcluster_operator.errors import ApiError
from flowcluster_operator.kube import Kube
from flowcluster_operator.model import Key
from flowcluster_operator.resources import SERVICE_ACCOUNT

PullSecrets = dict[str, tuple[str, ...]]


async def pull_secrets(kube: Kube, known: dict[Key, PullSecrets], key: Key, spec: FlowRunSpec) -> PullSecrets:
    """Return the names of image pull secrets by account; each account is read once for a run.

    One that does not exist has none: its pods are refused, which is a cause of its own.
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
