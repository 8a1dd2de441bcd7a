"""Which pods reach those of a run: pods of the same run, of its parent, of the cluster that it uses, and of its users.

Network policies add up. A run whose driver uses pods of another run therefore opens those pods by a policy of its own,
which is deleted with it. That policy names the other run, too: where it is the only one, it must not close pods to
their own run.

The policies are for ingress only. Port-forwards pass, because they end on the loopback address of the pod. Probes pass,
because a policy never closes a pod to its own node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flowcluster_api import names
from flowcluster_operator.desired.metadata import child_metadata
from flowcluster_operator.model import Create, Key
from flowcluster_operator.resources import NETWORK_POLICY, Object

#: Parts of a cluster that drivers of other runs connect to.
_CLUSTER = (*names.LEADERS.values(), names.COMPONENT_WORKER)


def network_policies(
    key: Key, parent: str | None = None, host: str | None = None, members: Mapping[str, str] | None = None
) -> list[Create]:
    """Return the policies of a run.

    Args:
        key: the run.
        parent: UID of the run whose driver uses the run's cluster. Ray's workers connect to that driver, too.
        host: UID of the run whose cluster the run's driver uses.
        members: labels of the pods of a cluster of no run, where these pods connect to the run's driver.
    """
    others = [uid for uid in (parent, host) if uid is not None]
    policies = [_policy(key, "", {names.LABEL_RUN_UID: key.uid}, None, [key.uid, *others], members)]
    if parent is not None:
        policies.append(
            _policy(key, "-parent", {names.LABEL_RUN_UID: parent}, (names.COMPONENT_DRIVER,), [parent, key.uid])
        )
    if host is not None:
        policies.append(_policy(key, "-host", {names.LABEL_RUN_UID: host}, _CLUSTER, [host, key.uid]))
    return [Create(NETWORK_POLICY, policy) for policy in policies]


def _policy(
    key: Key,
    suffix: str,
    labels: dict[str, str],
    components: Sequence[str] | None,
    sources: list[str],
    members: Mapping[str, str] | None = None,
) -> Object:
    metadata = child_metadata(key, names.COMPONENT_CLUSTER)
    peers: list[Object] = [{"podSelector": {"matchExpressions": [_among(names.LABEL_RUN_UID, sources)]}}]
    if members is not None:
        peers.append({"podSelector": {"matchLabels": dict(members)}})
    selector: Object = {"matchLabels": labels}
    if components is not None:
        selector["matchExpressions"] = [_among(names.LABEL_COMPONENT, components)]
    return {
        "apiVersion": NETWORK_POLICY.api_version,
        "kind": NETWORK_POLICY.kind,
        "metadata": {**metadata, "name": f"{metadata['name']}{suffix}"},  # one of metadata.POLICY_SUFFIXES
        "spec": {
            "podSelector": selector,
            "policyTypes": ["Ingress"],
            "ingress": [{"from": peers}],
        },
    }


def _among(label: str, values: Sequence[str]) -> Object:
    return {"key": label, "operator": "In", "values": list(values)}
