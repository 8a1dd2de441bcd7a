"""The children that a shared cluster must have and lacks: the operator creates them now."""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.desired.credentials import credentials_secret
from flowcluster_operator.desired.keeper_deployment import keeper_access, keeper_deployment
from flowcluster_operator.desired.metadata import controlled_by_lease
from flowcluster_operator.desired.network_policy import shared_network_policy
from flowcluster_operator.desired.root_lease import root_lease
from flowcluster_operator.desired.template_hash import template_hash
from flowcluster_operator.errors import SpecError
from flowcluster_operator.model.plan import Create
from flowcluster_operator.model.shared import SharedObserved
from flowcluster_operator.policies.shared.worker_groups import WorkerGroupState, groups_to_build, is_outdated
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


def missing_shared_children(
    seen: SharedObserved, settings: Settings, backend: Backend, groups: list[WorkerGroupState]
) -> list[Create]:
    """Return the children to create now.

    The Lease is first, because it controls all others. The credentials follow, as no pod starts without them. The
    keeper and further worker groups that are objects of their own come after the cluster that they join.

    Raises:
        SpecError: the cluster cannot be built.
    """
    base = seen.base
    if base.lease is None:
        return [Create(LEASE, root_lease(base.key))]
    if "deletionTimestamp" in base.lease["metadata"]:
        return []  # what it controls would be deleted with it
    secret = [Create(SECRET, credentials_secret(base.key))] if base.credentials is None else []
    creates = [*secret, *_network_policy(seen, settings)] or _with_credentials(seen, settings, backend, groups)
    return [Create(create.resource, controlled_by_lease(create.body, base.key, base.lease)) for create in creates]


def cluster_objects(
    seen: SharedObserved, settings: Settings, backend: Backend, groups: list[WorkerGroupState], secret: str
) -> tuple[Object, list[Object]]:
    """Return the cluster resource and further worker groups, as the spec describes them.

    Raises:
        SpecError: they cannot be built.
    """
    key, view, further_groups = seen.base.key, seen.base.spec, groups_to_build(seen, groups)
    try:
        cluster = backend.build(key, view, settings, groups[0].scale, secret, further_groups)
        further = backend.build_groups(key, view, settings, secret, further_groups)
    except SpecError:
        raise
    except Exception as error:  # the schema admits values from which no cluster can be built
        raise SpecError(f"spec.cluster: {error or type(error).__name__}") from error
    meta = cluster["metadata"]
    labels = {**meta["labels"], names.LABEL_TEMPLATE: template_hash(seen.spec, settings)}
    return {**cluster, "metadata": {**meta, "labels": labels}}, further


def _with_credentials(
    seen: SharedObserved, settings: Settings, backend: Backend, groups: list[WorkerGroupState]
) -> list[Create]:
    base = seen.base
    secret, creates = base.credentials or "", []
    if base.cluster is None:
        creates.append(Create(backend.resource, cluster_objects(seen, settings, backend, groups, secret)[0]))
    # An outdated cluster gets no group from the new spec: the upgrade replaces the whole cluster.
    elif "deletionTimestamp" not in base.cluster["metadata"] and not is_outdated(seen, settings):
        _, further = cluster_objects(seen, settings, backend, groups, secret)
        existing = {facts.group.name for facts in seen.groups if facts.resource is not None}
        missing = [body for body in further if body["metadata"]["labels"][names.LABEL_WORKER_GROUP] not in existing]
        creates += [Create(DASK_WORKER_GROUP, body) for body in missing]
    # The keeper comes after the cluster: after a restart, the operator reads the name of the Secret only in the
    # cluster.
    if seen.keeper is None and base.cluster is not None:
        address = backend.address(base.cluster["metadata"]["name"], base.key.namespace, settings, secret)
        creates.append(Create(DEPLOYMENT, keeper_deployment(base.key, base.spec, settings, secret, address)))
    return [*creates, *_rights(seen)]


def _rights(seen: SharedObserved) -> list[Create]:
    existing = {obj["kind"] for obj in seen.base.access}
    missing = [create for create in keeper_access(seen.base.key) if create.resource.kind not in existing]
    # The API server refuses a binding to a Role that does not exist.
    return [create for create in missing if create.resource is not ROLE_BINDING] or missing


def _network_policy(seen: SharedObserved, settings: Settings) -> list[Create]:
    if not settings.network_policies or seen.base.network_policies:
        return []
    return [Create(NETWORK_POLICY, shared_network_policy(seen.base.key, seen.spec.allowed_namespaces))]
