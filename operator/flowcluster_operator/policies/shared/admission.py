"""Whether the templates of a shared cluster have only what the administrator allows, and which runs reach its pods."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_api.v1alpha1 import SharedClusterSpec
from flowcluster_operator.desired.network_policy import shared_network_policy
from flowcluster_operator.model.plan import PatchObject
from flowcluster_operator.model.shared import SharedObserved
from flowcluster_operator.policies.admission import Refusal
from flowcluster_operator.policies.templates import broken_rule
from flowcluster_operator.resources import NETWORK_POLICY
from flowcluster_operator.settings import Settings


def update_network_policy(seen: SharedObserved) -> PatchObject | None:
    """Return the patch that copies an edit of `spec.allowedNamespaces` into the network policy; None for no change."""
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
            return PatchObject(NETWORK_POLICY, meta["name"], meta["uid"], patch)
    return None


def broken_template(spec: SharedClusterSpec, settings: Settings) -> Refusal | None:
    """Return why a template of the cluster is not allowed; None if all are."""
    parts = {"scheduler": ("scheduler", spec.scheduler), "workers": ("workers", spec.workers)}
    parts |= {f"workerGroups[{group.name}]": ("workers", group) for group in spec.worker_groups}
    for field, (part, given) in parts.items():
        if given is not None and (broken := broken_rule(part, given.template, settings.template_policy)):
            return Refusal(c.TEMPLATE_NOT_ALLOWED, broken.replace(f"spec.cluster.{part}.", f"spec.{field}."))
    return None
