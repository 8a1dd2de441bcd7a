"""What a run that starts or runs shall have and does not: children to create."""

from __future__ import annotations

from flowcluster_operator.backends.base import Backend
from flowcluster_operator.desired.driver_access import driver_access
from flowcluster_operator.desired.driver_job import driver_job
from flowcluster_operator.desired.lease import lease
from flowcluster_operator.desired.parameters import parameters, parameters_text
from flowcluster_operator.desired.tls import keys, keys_name
from flowcluster_operator.model import Create, Observed
from flowcluster_operator.policies.scaling import scale
from flowcluster_operator.reconcile import progress
from flowcluster_operator.resources import CONFIG_MAP, JOB, LEASE, ROLE_BINDING, SECRET, SERVICE_ACCOUNT
from flowcluster_operator.settings import Settings


def missing(observed: Observed, settings: Settings, backend: Backend | None) -> list[Create]:
    """The children to create now. Raises `SpecError` for a spec that cannot be built.

    What pods cannot start without is there before they are: the Lease and the driver's account, then the run's keys.
    Cluster and driver come up side by side, and the driver's rights with them: the API server takes long to make those.
    """
    given, own = _given_keys(observed, backend), _own_keys(observed)
    # Made in any case: what is wrong with a template is told before anything exists.
    pods = _pods(observed, settings, backend, given or own or "")
    _parameters(observed)
    rights = _rights(observed)
    accounts = [create for create in rights if create.resource is SERVICE_ACCOUNT]
    if observed.lease is None:
        # Whoever keeps it beneath another run shall not be refused when it is there.
        return rights if rights and observed.is_beneath else [Create(LEASE, lease(observed.key)), *accounts]
    if given is None and (observed.is_beneath or (observed.is_guest and observed.referenced is None)):
        return rights  # the run above is ending, and this one with it; or the other cluster is not there yet
    keyless = given is None and observed.keys != own and bool(pods)
    ahead = [*accounts, Create(SECRET, keys(observed.key, observed.lease))] if keyless else accounts
    ahead = [*ahead, *_parameters(observed)]
    return ahead or [*pods, *rights]


def _parameters(observed: Observed) -> list[Create]:
    """The ConfigMap with the flow's parameters, which is there before the driver. Raises `SpecError`."""
    flow = observed.spec.flow if observed.spec is not None else None
    if flow is None or not flow.parameters or observed.job is not None:
        return []
    if observed.lease is None:
        parameters_text(flow)  # what is wrong with them is reported before anything exists
        return []
    if observed.parameters is not None:
        return []
    return [Create(CONFIG_MAP, parameters(observed.key, flow, observed.lease))]


def _pods(observed: Observed, settings: Settings, backend: Backend | None, secret: str) -> list[Create]:
    spec = observed.spec
    assert spec is not None
    creates = []
    address = None
    is_own = spec.cluster is not None and not observed.is_guest
    if spec.cluster is not None and backend is not None:
        name = progress.cluster_name(observed)
        known = secret if is_own else _given_keys(observed, backend)
        address = backend.address(name, observed.key.namespace, settings, known)
        if is_own and observed.cluster is None:
            body = backend.build(observed.key, spec, settings, scale(observed, settings), secret)
            creates.append(Create(backend.resource, body))
    if spec.flow is not None and observed.job is None:
        bounds = scale(observed, settings)
        config_map = (observed.parameters or "") if spec.flow.parameters else None
        adapts = is_own and bounds.minimum < bounds.maximum and not (backend and backend.scales_itself)
        creates.append(Create(JOB, driver_job(observed.key, spec, settings, secret, address, adapts, config_map)))
    return creates


def _rights(observed: Observed) -> list[Create]:
    assert observed.spec is not None
    if observed.driver is not None and observed.driver.holder is not None:
        return []  # a driver that was heard had them; who takes them away afterwards means it
    there = {obj["kind"] for obj in observed.access}
    wanted = driver_access(observed.key, observed.spec, observed.parent)
    lacking = [create for create in wanted if create.resource.kind not in there]
    # A binding to a Role that does not exist is refused.
    return [create for create in lacking if create.resource is not ROLE_BINDING] or lacking


def _given_keys(observed: Observed, backend: Backend | None) -> str | None:
    """The Secret with keys of another run, whose driver or whose cluster is this one's, too."""
    if observed.is_beneath and observed.parent is not None:
        return observed.parent.keys
    return backend.keys(observed.referenced) if backend is not None and observed.referenced is not None else None


def _own_keys(observed: Observed) -> str | None:
    """The Secret with the run's own keys; None while its name is not known."""
    return keys_name(observed.key, observed.lease) if observed.lease is not None else None
