"""What a run that starts or runs shall have and does not: children to create."""

from __future__ import annotations

from flowcluster_operator.backends.base import Backend
from flowcluster_operator.desired.driver_access import driver_access
from flowcluster_operator.desired.driver_job import driver_job
from flowcluster_operator.desired.lease import lease
from flowcluster_operator.model import Create, Observed
from flowcluster_operator.policies.scaling import scale
from flowcluster_operator.reconcile import progress
from flowcluster_operator.resources import JOB, LEASE, ROLE_BINDING
from flowcluster_operator.settings import Settings


def missing(observed: Observed, settings: Settings, backend: Backend | None) -> list[Create]:
    """The children to create now. Raises `TemplateError` for a template that is none.

    A driver's rights are there before the driver is, and so never looked for again once that one exists; cluster and
    driver come up side by side.
    """
    spec = observed.spec
    assert spec is not None
    creates = []
    address = None
    if spec.cluster is not None and backend is not None:
        name = progress.cluster_name(observed)
        address = backend.address(name, observed.key.namespace, settings)
        if spec.cluster.ref is None and observed.cluster is None:
            body = backend.build(observed.key, spec, settings, scale(observed, settings).target)
            creates.append(Create(backend.resource, body))
    has_driver = observed.job is not None if spec.flow is not None else observed.lease is not None
    rights = [] if has_driver else _rights(observed)
    if observed.lease is None and (spec.flow is not None or not rights):
        creates.append(Create(LEASE, lease(observed.key)))
    if spec.flow is not None and observed.job is None:
        bounds = scale(observed, settings)
        adapts = spec.cluster is not None and spec.cluster.ref is None and bounds.minimum < bounds.maximum
        # Made in any case: what is wrong with its template is told before anything exists.
        job = driver_job(observed.key, spec, settings, address, adapts)
        if not rights:
            creates.append(Create(JOB, job))
    return [*creates, *rights]


def _rights(observed: Observed) -> list[Create]:
    assert observed.spec is not None
    there = {obj["kind"] for obj in observed.access}
    wanted = driver_access(observed.key, observed.spec, observed.parent)
    lacking = [create for create in wanted if create.resource.kind not in there]
    # A binding to a Role that does not exist is refused.
    return [create for create in lacking if create.resource is not ROLE_BINDING] or lacking
