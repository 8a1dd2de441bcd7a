"""What a shared cluster must have and does not: children to create."""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.desired.fingerprint import fingerprint
from flowcluster_operator.desired.keeper import keeper_access, keeper_deployment
from flowcluster_operator.desired.lease import lease
from flowcluster_operator.desired.metadata import controlled_by, lease_reference
from flowcluster_operator.desired.network_policy import shared_network_policy
from flowcluster_operator.desired.tls import keys
from flowcluster_operator.errors import SpecError
from flowcluster_operator.model import Create
from flowcluster_operator.policies.shared.parts import WorkerPart, groups_to_build, is_outdated
from flowcluster_operator.resources import (
    DASK_WORKER_GROUP,
    DEPLOYMENT,
    LEASE,
    NETWORK_POLICY,
    ROLE_BINDING,
    SECRET,
    Object,
)  # fmt: skip
from flowcluster_operator.settings import Settings
from flowcluster_operator.shared_model import SharedObserved


def missing_shared(seen: SharedObserved, settings: Settings, backend: Backend, parts: list[WorkerPart]) -> list[Create]:
    """Return the children to create now. Raises `SpecError` for a cluster that cannot be built.

    The Lease is first, because it controls all others. The credentials follow, as no pod starts without them. The
    keeper and further worker groups that are objects of their own come after the cluster that they join.
    """
    base = seen.base
    if base.lease is None:
        return [Create(LEASE, lease(base.key))]
    if "deletionTimestamp" in base.lease["metadata"]:
        return []  # what it controls would be deleted with it
    owner = lease_reference(base.lease)
    secret = [Create(SECRET, keys(base.key))] if base.keys is None else []
    creates = [*secret, *_network_policy(seen, settings)] or _with_credentials(seen, settings, backend, parts)
    return [Create(create.resource, controlled_by(create.body, owner)) for create in creates]


def cluster_objects(
    seen: SharedObserved, settings: Settings, backend: Backend, parts: list[WorkerPart], secret: str
) -> tuple[Object, list[Object]]:
    """Return the cluster resource and further worker groups, as the spec describes them. Raises `SpecError`."""
    assert seen.spec is not None
    assert seen.base.spec is not None
    key, view, groups = seen.base.key, seen.base.spec, groups_to_build(seen, parts)
    try:
        cluster = backend.build(key, view, settings, parts[0].scale, secret, groups)
        further = backend.build_groups(key, view, settings, secret, groups)
    except SpecError:
        raise
    except Exception as error:  # the schema admits values that nothing can be built from
        raise SpecError(f"spec.cluster: {error or type(error).__name__}") from error
    meta = cluster["metadata"]
    labels = {**meta["labels"], names.LABEL_TEMPLATE: fingerprint(seen.spec, settings)}
    return {**cluster, "metadata": {**meta, "labels": labels}}, further


def _with_credentials(
    seen: SharedObserved, settings: Settings, backend: Backend, parts: list[WorkerPart]
) -> list[Create]:
    base = seen.base
    assert base.spec is not None
    secret, creates = base.keys or "", []
    if base.cluster is None:
        creates.append(Create(backend.resource, cluster_objects(seen, settings, backend, parts, secret)[0]))
    # Of a cluster that is outdated, no group is created from the new spec: the upgrade replaces all of it.
    elif "deletionTimestamp" not in base.cluster["metadata"] and not is_outdated(seen, settings):
        _, groups = cluster_objects(seen, settings, backend, parts, secret)
        there = {facts.group.name for facts in seen.groups if facts.resource is not None}
        lacking = [body for body in groups if body["metadata"]["labels"][names.LABEL_WORKER_GROUP] not in there]
        creates += [Create(DASK_WORKER_GROUP, body) for body in lacking]
    # After the cluster: an operator that starts again reads the name of the Secret in the cluster only.
    if seen.keeper is None and base.cluster is not None:
        name = names.child_name(base.key.name, base.key.uid)
        address = backend.address(name, base.key.namespace, settings, secret)
        creates.append(Create(DEPLOYMENT, keeper_deployment(base.key, base.spec, settings, secret, address)))
    return [*creates, *_rights(seen)]


def _rights(seen: SharedObserved) -> list[Create]:
    there = {obj["kind"] for obj in seen.base.access}
    lacking = [create for create in keeper_access(seen.base.key) if create.resource.kind not in there]
    # A binding to a Role that does not exist is refused.
    return [create for create in lacking if create.resource is not ROLE_BINDING] or lacking


def _network_policy(seen: SharedObserved, settings: Settings) -> list[Create]:
    if not settings.network_policies or seen.base.network_policies or seen.spec is None:
        return []
    return [Create(NETWORK_POLICY, shared_network_policy(seen.base.key, seen.spec.allowed_namespaces))]
