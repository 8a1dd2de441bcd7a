"""The rights of a driver: to read its FlowRun, and to renew the Lease of its run.

The driver has no right to create or change a FlowRun. It requests child runs, with a cluster for a part of its flow, in
that Lease (`flowcluster_api.child_runs`). The Role of each child run gives it the same rights to the child run.
"""

from __future__ import annotations

from typing import Any

from flowcluster_api import lease as leases
from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.metadata import child_metadata
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.plan import Create
from flowcluster_operator.model.references import Parent
from flowcluster_operator.resources import LEASE, ROLE, ROLE_BINDING, SERVICE_ACCOUNT, Object


def driver_account(key: RunId, spec: FlowRunSpec) -> str:
    """Return the name of the ServiceAccount of a run's driver: that in its template, or by default the run's own."""
    pod = ((spec.flow and spec.flow.template) or {}).get("spec")
    named = pod.get("serviceAccountName") if isinstance(pod, dict) else None
    return named if isinstance(named, str) and named else names.driver_name(key.name, key.uid)


def driver_access(key: RunId, spec: FlowRunSpec, parent: Parent | None, user: str | None = None) -> list[Create]:
    """Return the account and the rights that have to exist before the run's driver starts.

    Args:
        key: the run.
        spec: of the run.
        parent: of the run; its driver drives a child run without a flow.
        user: name of the user that runs the driver of a run without a flow and without a parent.
    """
    if spec.flow is not None:
        subject = _account(key, driver_account(key, spec))
    elif parent is not None:
        subject = _account(key, parent.account)
    elif user:
        subject = {"apiGroup": ROLE.group, "kind": "User", "name": user}
    else:
        return []
    name = names.child_name(key.name, key.uid)
    lease = {
        "apiGroups": [LEASE.group],
        "resources": [LEASE.plural],
        "resourceNames": [name],
        "verbs": ["get", "patch"],
    }
    creates = [
        Create(ROLE, _role(key, [lease, _flow_run(key.name)])),
        Create(ROLE_BINDING, _binding(key, subject)),
    ]
    if subject == _account(key, names.driver_name(key.name, key.uid)):
        creates.append(Create(SERVICE_ACCOUNT, _object(SERVICE_ACCOUNT, key)))
    return creates


def driver_user(run: Object) -> str | None:
    """Return the user that a FlowRun names as its driver; None where it names none that a RoleBinding can have."""
    user = (run["metadata"].get("annotations") or {}).get(leases.ANNOTATION_USER)
    return user if isinstance(user, str) and 0 < len(user) <= _USER_LIMIT else None


#: Maximum characters of a user's name.
_USER_LIMIT = 1024


def _account(key: RunId, name: str) -> Object:
    return {"kind": SERVICE_ACCOUNT.kind, "name": name, "namespace": key.namespace}


def _flow_run(name: str) -> dict[str, Any]:
    return {"apiGroups": [names.GROUP], "resources": [names.PLURAL], "resourceNames": [name], "verbs": ["get"]}


def _role(key: RunId, rules: list[dict[str, Any]]) -> Object:
    return _object(ROLE, key) | {"rules": rules}


def _binding(key: RunId, subject: Object) -> Object:
    name = names.driver_name(key.name, key.uid)
    return _object(ROLE_BINDING, key) | {
        "roleRef": {"apiGroup": ROLE.group, "kind": ROLE.kind, "name": name},
        "subjects": [subject],
    }


def _object(resource: Any, key: RunId) -> Object:
    metadata = {**child_metadata(key, names.COMPONENT_DRIVER), "name": names.driver_name(key.name, key.uid)}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
