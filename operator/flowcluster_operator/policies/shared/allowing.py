"""Who may use a shared cluster, and whether its templates contain only what the administrator allows."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_api.v1alpha1 import SharedClusterSpec
from flowcluster_operator.desired.network_policy import shared_network_policy
from flowcluster_operator.model import Amend
from flowcluster_operator.policies.admission import Refusal
from flowcluster_operator.policies.templates import broken_rule
from flowcluster_operator.resources import NETWORK_POLICY
from flowcluster_operator.settings import Settings
from flowcluster_operator.shared_model import SharedObserved


def may_use(spec: SharedClusterSpec, namespace: str, user_namespace: str) -> bool:
    """Return whether runs of a namespace may use the cluster.

    Args:
        spec: of the cluster.
        namespace: of the cluster.
        user_namespace: of the run, as the API server has it.
    """
    return user_namespace == namespace or user_namespace in spec.allowed_namespaces


def opening(seen: SharedObserved) -> Amend | None:
    """Return the change by which the network policy follows an edit of `spec.allowedNamespaces`."""
    if seen.spec is None:
        return None
    wanted = shared_network_policy(seen.base.key, seen.spec.allowed_namespaces)
    for known in seen.base.network_policies:
        meta = known["metadata"]
        labels = meta.get("labels") or {}
        is_same = labels.get(names.LABEL_TEMPLATE) == wanted["metadata"]["labels"][names.LABEL_TEMPLATE]
        if meta["name"] == wanted["metadata"]["name"] and "deletionTimestamp" not in meta and not is_same:
            patch = {
                "metadata": {"labels": wanted["metadata"]["labels"]},
                "spec": {"ingress": wanted["spec"]["ingress"]},
            }
            return Amend(NETWORK_POLICY, meta["name"], meta["uid"], patch)
    return None


def broken_template(spec: SharedClusterSpec, settings: Settings) -> Refusal | None:
    """Return why a template of the cluster is not allowed; None if all are."""
    parts = {"scheduler": ("scheduler", spec.scheduler), "workers": ("workers", spec.workers)}
    parts |= {f"workerGroups[{group.name}]": ("workers", group) for group in spec.worker_groups}
    for field, (part, given) in parts.items():
        if given is not None and (broken := broken_rule(part, given.template, settings.template_policy)):
            return Refusal(c.TEMPLATE_NOT_ALLOWED, broken.replace(f"spec.cluster.{part}.", f"spec.{field}."))
    return None
