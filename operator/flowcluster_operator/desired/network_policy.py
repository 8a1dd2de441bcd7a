"""Network policies: the pods of a run, of its parent, and of runs that use its cluster can reach its pods.

Network policies add up. A run whose driver uses pods of another run therefore has a policy of its own that opens those
pods, and that is deleted with the run. This policy also admits the pods of the other run to each other: if no other
policy selects them, it would otherwise block them.

The policies are for ingress only. Port-forwards pass, because they end on the loopback address of the pod. Probes pass,
because a policy never blocks the pod's own node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flowcluster_api import names
from flowcluster_operator.desired.metadata import child_metadata
from flowcluster_operator.desired.template_hash import digest
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.plan import Create
from flowcluster_operator.resources import NETWORK_POLICY, Object

#: Components to which drivers of other runs connect.
_CLUSTER = (*names.HEAD_COMPONENTS.values(), names.COMPONENT_WORKER)

#: The label of every namespace with its name, which the API server sets and no client can change.
_NAMESPACE_NAME = "kubernetes.io/metadata.name"


def network_policies(
    key: RunId,
    parent: str | None = None,
    host: str | None = None,
    shared: RunId | None = None,
    members: Mapping[str, str] | None = None,
) -> list[Create]:
    """Return the policies of a run.

    Args:
        key: the run.
        parent: UID of the run whose driver uses the run's cluster. Ray's workers connect to that driver, too.
        host: UID of the run whose cluster the run's driver uses.
        shared: the SharedCluster that the run's driver uses. Its policy admits the driver. Ray's head and workers
            connect to the driver, too.
        members: labels of the pods of a cluster that no run and no SharedCluster owns, if these pods connect to the
            run's driver.
    """
    peers = [_pods_of(key.uid, *(uid for uid in (parent, host) if uid is not None))]
    if shared is not None:
        peers.append({**_in(shared.namespace, key), **_pods_of(shared.uid)})
    if members is not None:
        peers.append({"podSelector": {"matchLabels": dict(members)}})
    policies = [_policy(key, "", {names.LABEL_RUN_UID: key.uid}, None, peers)]
    if parent is not None:
        driver = (names.COMPONENT_DRIVER,)
        policies.append(_policy(key, "-parent", {names.LABEL_RUN_UID: parent}, driver, [_pods_of(parent, key.uid)]))
    if host is not None:
        policies.append(_policy(key, "-host", {names.LABEL_RUN_UID: host}, _CLUSTER, [_pods_of(host, key.uid)]))
    return [Create(NETWORK_POLICY, policy) for policy in policies]


def shared_network_policy(key: RunId, namespaces: Sequence[str]) -> Object:
    """Return the policy of a shared cluster: its pods, and those of the runs that use it, can reach its pods.

    A label has a hash of the namespaces, by which the operator notices an edit: its store keeps only the metadata of
    network policies.

    Args:
        key: the shared cluster.
        namespaces: further namespaces whose runs can use it.
    """
    user: Object = {"matchLabels": {names.LABEL_USES: key.uid}}
    sources: list[Object] = [
        {"podSelector": {"matchLabels": {names.LABEL_RUN_UID: key.uid}}},
        {"podSelector": user},
    ]
    if namespaces:
        named = {"matchExpressions": [_among(_NAMESPACE_NAME, sorted(namespaces))]}
        sources.append({"namespaceSelector": named, "podSelector": user})
    metadata = child_metadata(key, names.COMPONENT_CLUSTER)
    labels = {**metadata["labels"], names.LABEL_TEMPLATE: digest(sorted(namespaces))}
    return {
        "apiVersion": NETWORK_POLICY.api_version,
        "kind": NETWORK_POLICY.kind,
        "metadata": {**metadata, "labels": labels},
        "spec": {
            "podSelector": {"matchLabels": {names.LABEL_RUN_UID: key.uid}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": sources}],
        },
    }


def _in(namespace: str, key: RunId) -> Object:
    """Return the namespaceSelector of a peer in that namespace; nothing if it is the run's own namespace."""
    return {} if namespace == key.namespace else {"namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: namespace}}}


def _pods_of(*uids: str) -> Object:
    """Return a peer: the pods of these runs and shared clusters."""
    return {"podSelector": {"matchExpressions": [_among(names.LABEL_RUN_UID, uids)]}}


def _policy(
    key: RunId, suffix: str, labels: dict[str, str], components: Sequence[str] | None, peers: list[Object]
) -> Object:
    metadata = child_metadata(key, names.COMPONENT_CLUSTER)
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
