"""The children that a run which starts or runs must have and lacks: the operator creates them now."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

from flowcluster_api import names
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.desired.credentials import credentials_secret
from flowcluster_operator.desired.driver_access import driver_access, driver_user
from flowcluster_operator.desired.driver_job import driver_job
from flowcluster_operator.desired.metadata import controlled_by_lease, owner_of
from flowcluster_operator.desired.network_policy import network_policies
from flowcluster_operator.desired.parameters_config_map import parameters, parameters_text
from flowcluster_operator.desired.root_lease import root_lease
from flowcluster_operator.errors import SpecError
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Create
from flowcluster_operator.model.workers import Scale
from flowcluster_operator.policies.backoff_limit import job_limit
from flowcluster_operator.policies.cluster_name import cluster_name
from flowcluster_operator.policies.credential_exchange import pending_exchange
from flowcluster_operator.policies.shared_cluster import shared_uid
from flowcluster_operator.resources import CONFIG_MAP, JOB, LEASE, ROLE_BINDING, SECRET, SERVICE_ACCOUNT
from flowcluster_operator.settings import Settings


def missing_children(observed: Observed, settings: Settings, backend: Backend | None, workers: Scale) -> list[Create]:
    """Return the children to create now.

    Each pass creates the next step. The Lease is first, because it controls all others. Then come the objects that must
    exist before pods start: the driver's ServiceAccount, the run's credentials, the ConfigMap with the parameters, and
    the network policies. Cluster and driver start concurrently. The driver's rights are created with them, because the
    API server takes long to create those.

    Raises:
        SpecError: a child cannot be built.
    """
    # Build the pods even before the Lease exists, to report an error in a template before any object exists.
    secret = _given_credentials(observed, backend) or observed.credentials or ""
    pods = _pods(observed, settings, backend, workers, secret)
    config_map = _parameters(observed)
    if observed.lease is None:
        return [Create(LEASE, root_lease(observed.key))]
    if "deletionTimestamp" in observed.lease["metadata"]:
        return []  # what it controls would be deleted with it
    creates, key, lease = _of_lease(observed, settings, backend, pods, config_map), observed.key, observed.lease
    return [dataclasses.replace(create, body=controlled_by_lease(create.body, key, lease)) for create in creates]


def _of_lease(
    observed: Observed, settings: Settings, backend: Backend | None, pods: list[Create], config_map: list[Create]
) -> list[Create]:
    """Return what to create now of what the run's Lease controls."""
    given, rights = _given_credentials(observed, backend), _rights(observed)
    lacks_cluster = observed.uses_existing_cluster and observed.referenced is None
    if given is None and (observed.shares_parent_driver or lacks_cluster):
        return rights  # the parent run ends, and this run with it; or the cluster that the run names does not exist yet
    exchange = pending_exchange(observed)
    if exchange is not None and not exchange.is_decrypted:
        return rights
    needs_secret = given is None and observed.credentials is None and bool(pods)
    secret = (
        [Create(SECRET, credentials_secret(observed.key), exchange is not None)]
        if needs_secret or exchange is not None
        else []
    )
    accounts = [create for create in rights if create.resource is SERVICE_ACCOUNT]
    ahead = [*accounts, *secret, *config_map, *_network_policies(observed, settings, backend)]
    return ahead or [*pods, *rights]


def _parameters(observed: Observed) -> list[Create]:
    """Return the ConfigMap with the flow's parameters, unless it exists. The driver mounts it, so it is created before.

    Raises:
        SpecError: a ConfigMap cannot hold them.
    """
    flow = observed.spec.flow
    if flow is None or not flow.parameters or observed.job is not None or observed.parameters is not None:
        return []
    if observed.lease is None:
        parameters_text(flow)  # an error in them is reported before any object exists
        return []
    return [Create(CONFIG_MAP, parameters(observed.key, flow))]


def _pods(observed: Observed, settings: Settings, backend: Backend | None, workers: Scale, secret: str) -> list[Create]:
    """Return the cluster resource and the Job that are missing. Their pods mount the credentials in `secret`."""
    spec, creates = observed.spec, []
    address = known = None
    is_own = spec.cluster is not None and not observed.uses_existing_cluster
    if spec.cluster is not None and backend is not None:
        name = cluster_name(observed, backend)
        known = secret if is_own else _cluster_credentials(observed, backend)
        address = backend.address(name, _namespace(observed), settings, known)
        if is_own and observed.cluster is None:
            with _naming("spec.cluster"):
                body = backend.build(observed.key, spec, settings, workers, secret)
            creates.append(Create(backend.resource, body))
    if spec.flow is not None and observed.job is None:
        is_scaled = is_own and backend is not None and not backend.scales_itself
        with _naming("spec.flow"):
            job = driver_job(
                observed.key,
                spec,
                settings,
                secret,
                address,
                adapts=workers.minimum < workers.maximum if is_scaled else None,
                parameters=(observed.parameters or "") if spec.flow.parameters else None,
                backoff_limit=job_limit(observed),
                uses=shared_uid(observed),
                credentials_of=observed.reference.credentials if observed.reference.exchange is not None else None,
                is_open=address is not None and known is None,
            )
        creates.append(Create(JOB, job))
    return creates


def _namespace(observed: Observed) -> str:
    """Return the namespace of the cluster that the run uses."""
    shared = observed.reference.shared
    return str(shared["metadata"]["namespace"]) if shared is not None else observed.key.namespace


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Raise the exceptions of a builder as `SpecError`: the schema admits values from which no child can be built."""
    try:
        yield
    except SpecError:
        raise
    except Exception as error:
        raise SpecError(f"{field}: {error or type(error).__name__}") from error


def _rights(observed: Observed) -> list[Create]:
    if observed.driver is not None and observed.driver.holder is not None:
        return []  # the driver had its rights when it sent a heartbeat: a user who deletes them revokes them
    existing = {obj["kind"] for obj in observed.access}
    wanted = driver_access(observed.key, observed.spec, observed.parent, driver_user(observed.run))
    missing = [create for create in wanted if create.resource.kind not in existing]
    # The API server refuses a binding to a Role that does not exist.
    return [create for create in missing if create.resource is not ROLE_BINDING] or missing


def _network_policies(observed: Observed, settings: Settings, backend: Backend | None) -> list[Create]:
    """Return the network policies that are missing."""
    if not settings.network_policies:
        return []
    existing = {obj["metadata"]["name"] for obj in observed.network_policies}
    parent = observed.parent.uid if observed.parent is not None else None
    host, shared, members = None, None, None
    if backend is not None and observed.referenced is not None:
        owner = owner_of(backend.resource, observed.referenced)
        if owner is None:
            members = backend.members(observed.referenced["metadata"]["name"])
        elif owner.kind == names.KIND:
            host = owner.uid
        else:
            shared = owner
    wanted = network_policies(observed.key, parent, host, shared, members)
    return [create for create in wanted if create.body["metadata"]["name"] not in existing]


def _given_credentials(observed: Observed, backend: Backend | None) -> str | None:
    """Return the name of the Secret with credentials that another owner gives the run; None where there is none.

    That is the parent, whose driver the run shares, or the owner of the cluster that the run uses. Pods cannot mount a
    Secret of another namespace. So a run on a cluster there has a Secret of its own with the same content.
    """
    if observed.shares_parent_driver and observed.parent is not None:
        return observed.parent.credentials
    if observed.reference.exchange is not None:
        return observed.credentials if pending_exchange(observed) is None else None
    return _cluster_credentials(observed, backend)


def _cluster_credentials(observed: Observed, backend: Backend | None) -> str | None:
    """Return the name of the Secret with the credentials of the cluster that spec.cluster.ref names."""
    if backend is None or observed.referenced is None:
        return None
    return backend.credentials(observed.referenced)
