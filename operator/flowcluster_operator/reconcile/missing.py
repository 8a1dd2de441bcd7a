"""What a run that starts or runs must have and does not: children to create."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

from flowcluster_api import names
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.desired.driver_access import driver_access, driver_user
from flowcluster_operator.desired.driver_job import driver_job
from flowcluster_operator.desired.lease import lease
from flowcluster_operator.desired.metadata import controlled_by, lease_reference, owner_of
from flowcluster_operator.desired.network_policy import network_policies
from flowcluster_operator.desired.parameters import parameters, parameters_text
from flowcluster_operator.desired.tls import keys
from flowcluster_operator.errors import SpecError
from flowcluster_operator.model import Create, Observed
from flowcluster_operator.policies.handover import awaited
from flowcluster_operator.policies.retries import job_limit
from flowcluster_operator.policies.scaling import scale
from flowcluster_operator.policies.shared_use import shared_uid
from flowcluster_operator.reconcile import progress
from flowcluster_operator.resources import CONFIG_MAP, JOB, LEASE, ROLE_BINDING, SECRET, SERVICE_ACCOUNT
from flowcluster_operator.settings import Settings


def missing(observed: Observed, settings: Settings, backend: Backend | None) -> list[Create]:
    """Return the children to create now. Raises `SpecError` for what cannot be built.

    The Lease is first, because it controls all others. What pods cannot start without follows, the driver's account and
    the run's keys, and beside them the network policies: no pod exists without them. Cluster and driver come up side by
    side, and the driver's rights with them: the API server takes long to make those.
    """
    # Built in any case: what is wrong with a template is reported before any object exists.
    pods = _pods(observed, settings, backend, _given_keys(observed, backend) or observed.keys or "")
    config_map = _parameters(observed)
    if observed.lease is None:
        return [Create(LEASE, lease(observed.key))]
    if "deletionTimestamp" in observed.lease["metadata"]:
        return []  # what it controls would be deleted with it
    owner = lease_reference(observed.lease)
    creates = _of_lease(observed, settings, backend, pods, config_map)
    return [dataclasses.replace(create, body=controlled_by(create.body, owner)) for create in creates]


def _of_lease(
    observed: Observed, settings: Settings, backend: Backend | None, pods: list[Create], config_map: list[Create]
) -> list[Create]:
    """Return what to create now of what the run's Lease controls."""
    given, rights = _given_keys(observed, backend), _rights(observed)
    if given is None and (observed.is_beneath or (observed.is_guest and observed.referenced is None)):
        return rights  # the parent run is ending, and this one with it; or the other cluster is not there yet
    if (handover := awaited(observed)) is not None and not handover.is_open:
        return rights
    keyless = given is None and observed.keys is None and bool(pods)
    secret = [Create(SECRET, keys(observed.key), handover is not None)] if keyless or handover is not None else []
    accounts = [create for create in rights if create.resource is SERVICE_ACCOUNT]
    ahead = [*accounts, *secret, *config_map, *_network_policies(observed, settings, backend)]
    return ahead or [*pods, *rights]


def _parameters(observed: Observed) -> list[Create]:
    """Return the ConfigMap with the flow's parameters, unless it exists. Raises `SpecError`.

    It is created before the driver, which mounts it.
    """
    flow = observed.spec.flow if observed.spec is not None else None
    if flow is None or not flow.parameters or observed.job is not None or observed.parameters is not None:
        return []
    if observed.lease is None:
        parameters_text(flow)  # what is wrong with them is reported before anything exists
        return []
    return [Create(CONFIG_MAP, parameters(observed.key, flow))]


def _pods(observed: Observed, settings: Settings, backend: Backend | None, secret: str) -> list[Create]:
    spec = observed.spec
    assert spec is not None
    creates = []
    address = known = None
    is_own = spec.cluster is not None and not observed.is_guest
    if spec.cluster is not None and backend is not None:
        name = progress.cluster_name(observed)
        known = secret if is_own else _cluster_keys(observed, backend)
        address = backend.address(name, _namespace(observed), settings, known)
        if is_own and observed.cluster is None:
            with _naming("spec.cluster"):
                body = backend.build(observed.key, spec, settings, scale(observed, settings), secret)
            creates.append(Create(backend.resource, body))
    if spec.flow is not None and observed.job is None:
        bounds = scale(observed, settings)
        is_scaled = is_own and backend is not None and not backend.scales_itself
        adapts = bounds.minimum < bounds.maximum if is_scaled else None
        config_map = (observed.parameters or "") if spec.flow.parameters else None
        with _naming("spec.flow"):
            limit = job_limit(observed)
            uses = shared_uid(observed)
            origin = observed.reference.keys if observed.reference.handover is not None else None
            is_open = address is not None and known is None
            job = driver_job(
                observed.key, spec, settings, secret, address, adapts, config_map, limit, uses, origin, is_open
            )
        creates.append(Create(JOB, job))
    return creates


def _namespace(observed: Observed) -> str:
    """Return the namespace of the cluster that the run uses."""
    shared = observed.reference.shared
    return str(shared["metadata"]["namespace"]) if shared is not None else observed.key.namespace


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Raise what a builder raises as `SpecError`: the schema admits values that nothing can be built from."""
    try:
        yield
    except SpecError:
        raise
    except Exception as error:
        raise SpecError(f"{field}: {error or type(error).__name__}") from error


def _rights(observed: Observed) -> list[Create]:
    assert observed.spec is not None
    if observed.driver is not None and observed.driver.holder is not None:
        return []  # a driver that was heard had them; who takes them away afterwards means it
    there = {obj["kind"] for obj in observed.access}
    user = driver_user(observed.run) if observed.run is not None else None
    wanted = driver_access(observed.key, observed.spec, observed.parent, user)
    lacking = [create for create in wanted if create.resource.kind not in there]
    # A binding to a Role that does not exist is refused.
    return [create for create in lacking if create.resource is not ROLE_BINDING] or lacking


def _network_policies(observed: Observed, settings: Settings, backend: Backend | None) -> list[Create]:
    """Return the network policies that are missing."""
    if not settings.network_policies:
        return []
    there = {obj["metadata"]["name"] for obj in observed.network_policies}
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
    return [create for create in wanted if create.body["metadata"]["name"] not in there]


def _given_keys(observed: Observed, backend: Backend | None) -> str | None:
    """The Secret with keys of another run, whose driver or whose cluster is this one's, too.

    That of a cluster in another namespace cannot be mounted: the run has a Secret of its own with the same content.
    """
    if observed.is_beneath and observed.parent is not None:
        return observed.parent.keys
    if observed.reference.handover is not None:
        return observed.keys if awaited(observed) is None else None
    return _cluster_keys(observed, backend)


def _cluster_keys(observed: Observed, backend: Backend | None) -> str | None:
    """Return the name of the Secret with the credentials of the cluster that spec.cluster.ref names."""
    return backend.keys(observed.referenced) if backend is not None and observed.referenced is not None else None
