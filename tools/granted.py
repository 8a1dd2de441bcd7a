"""Compare the rights that the chart and the operator grant with those that were used: ``python -m tools.granted``.

Run it after the tests on a cluster: the API server's audit log then has what the operator, the drivers and the users
needed. It fails when a right was granted and never used, or when a request was forbidden.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.driver_access import driver_access
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import ROLE

Object = dict[str, Any]


class Right(NamedTuple):
    """One verb on one kind: `resource` includes the subresource, as in ``flowruns/status``."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")


_RECOVERY = "after a write whose answer was lost, the object that exists is read"
_GONE = "after a write that found no object, or another state of it, the object is looked for again"
_OUTLIVED = "an object that outlived its owner is deleted: how often that happens depends on other controllers"
_BLOCKING = "admission requires it for an owner reference with blockOwnerDeletion"
#: Rights that can stay unused in tests of an installed operator, and why the operator has them.
UNUSED = {
    Right(names.GROUP, f"{names.PLURAL}/finalizers", "update"): _BLOCKING,
    Right(names.GROUP, f"{names.SHARED_PLURAL}/finalizers", "update"): _BLOCKING,
    Right("coordination.k8s.io", "leases/finalizers", "update"): _BLOCKING,
    Right("batch", "jobs", "patch"): "a finalizer that holds a Job is removed; an edited backoffLimit",
    Right("apps", "replicasets", "delete"): "a ReplicaSet that outlived its Deployment is deleted",
    Right("", "services", "delete"): "a Service that an upstream operator made too late is deleted",
    Right("networking.k8s.io", "networkpolicies", "get"): _RECOVERY,
    Right("networking.k8s.io", "networkpolicies", "patch"): "an edited spec.allowedNamespaces of a shared cluster",
    Right("kubernetes.dask.org", "daskworkergroups", "get"): _RECOVERY,
    Right("apps", "deployments", "get"): _RECOVERY,
    Right(names.GROUP, names.SHARED_PLURAL, "get"): _RECOVERY,
    Right("", "serviceaccounts", "list"): _GONE,
    Right("rbac.authorization.k8s.io", "roles", "list"): _GONE,
    Right("rbac.authorization.k8s.io", "rolebindings", "list"): _GONE,
    Right("", "pods", "delete"): _OUTLIVED,
    Right("apps", "deployments", "delete"): _OUTLIVED,
    Right("kubernetes.dask.org", "daskworkergroups", "delete"): _OUTLIVED,
    Right("kubernetes.dask.org", "daskclusters", "delete"): _OUTLIVED,
    Right("ray.io", "rayclusters", "delete"): _OUTLIVED,
    Right("batch", "jobs", "delete"): _OUTLIVED,
    Right("", "serviceaccounts", "delete"): _OUTLIVED,
    Right("rbac.authorization.k8s.io", "roles", "delete"): _OUTLIVED,
    Right("rbac.authorization.k8s.io", "rolebindings", "delete"): _OUTLIVED,
    Right("networking.k8s.io", "networkpolicies", "delete"): _OUTLIVED,
}
#: Roles of the chart that are aggregated into Kubernetes' own roles `view` and `edit`.
USER_ROLES = ("view", "edit")
#: The users in tests: administrators by certificate, and the ServiceAccount of a test with the role `edit`.
#: The components of Kubernetes are users whose names begin with `system:`.
USERS = re.compile(r"(?!system:).+|system:serviceaccount:.+:engineer")
#: Rights of users that can stay unused in tests, and why users have them.
UNUSED_BY_USERS = {Right(names.GROUP, names.PLURAL, "update"): "kubectl replace sends it; kubectl edit sends a patch"}


def granted(roles: Iterable[Object]) -> set[Right]:
    """Return the rights in Roles and ClusterRoles."""
    return {
        Right(group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule.get("apiGroups", [])
        for resource in rule.get("resources", [])
        for verb in rule["verbs"]
    }


class Used(NamedTuple):
    """The rights that the requests of some users needed.

    Attributes:
        allowed: rights that were used.
        forbidden: rights that were refused.
    """

    allowed: set[Right]
    forbidden: set[Right]


def used(events: Iterable[Object], user: re.Pattern[str]) -> Used:
    """Return the rights that audit events show for users whose whole names match `user`."""
    allowed: set[Right] = set()
    forbidden: set[Right] = set()
    for event in events:
        where = event.get("objectRef")
        if where is None or event.get("stage") == "RequestReceived" or not user.fullmatch(_user(event)):
            continue
        resource = "/".join(filter(None, (where["resource"], where.get("subresource"))))
        right = Right(where.get("apiGroup", ""), resource, event["verb"])
        decision = (event.get("annotations") or {}).get("authorization.k8s.io/decision")
        (forbidden if decision == "forbid" else allowed).add(right)
    return Used(allowed, forbidden)


def _user(event: Object) -> str:
    """Return the name of the user that sent a request, empty without credentials."""
    return str((event.get("user") or {}).get("username") or "")


def report(holder: str, rights: set[Right], needs: Used, excused: Iterable[Right] = ()) -> list[str]:
    """Return a line for each right that was granted and not used, and for each that was needed and refused.

    Args:
        holder: the holder of the rights, for the lines.
        rights: the granted rights.
        needs: the needed rights.
        excused: rights that can stay unused.
    """
    unused = rights - needs.allowed - set(excused)
    lines = [f"{holder}: granted and never used: {right}" for right in sorted(unused)]
    return lines + [f"{holder}: forbidden: {right}" for right in sorted(needs.forbidden)]


def driver_rights() -> set[Right]:
    """Return what the operator grants to the driver of a run."""
    key, spec = RunId("any", "any", "any"), FlowRunSpec.model_validate({"flow": {"entrypoint": "any.py:flow"}})
    return granted(create.body for create in driver_access(key, spec, None) if create.resource is ROLE)


def read(log: Path) -> Iterator[Object]:
    """Read an audit log. The last line can be incomplete while the API server writes."""
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


def main() -> None:
    """Print the differences for the installed operator, for drivers and for users."""
    from tools.install import RELEASE, SYSTEM, install

    installed = install()
    if installed.audit_log is None:
        print("not compared: this Kubernetes has no audit log that can be read; the one-node cluster has one")
        return
    command = [str(installed.kubectl), "--kubeconfig", str(installed.kubeconfig), "get", "clusterrole", "-o", "json"]
    roles = [RELEASE, *(f"{RELEASE}-{role}" for role in USER_ROLES)]
    found = json.loads(subprocess.run([*command, *roles], check=True, stdout=-1).stdout)
    ours, *theirs = found["items"]
    operator = re.compile(re.escape(f"system:serviceaccount:{SYSTEM}:{RELEASE}"))
    driver = re.compile(rf"system:serviceaccount:.+:.+-{names.COMPONENT_DRIVER}")
    events = list(_relevant(read(installed.audit_log), operator, driver, USERS))
    lines = report("operator", granted([ours]), used(events, operator), UNUSED)
    lines += report("users", granted(theirs), used(events, USERS), UNUSED_BY_USERS)
    # Tests let drivers send forbidden requests, so a refusal of these is not an error.
    needs = used(events, driver)
    lines += report("driver", driver_rights(), needs._replace(forbidden=set()))
    print("\n".join(lines) or "every granted right was used")
    sys.exit(1 if lines else 0)


def _relevant(events: Iterable[Object], *users: re.Pattern[str]) -> Iterator[Object]:
    for event in events:
        if any(user.fullmatch(_user(event)) for user in users):
            yield event


if __name__ == "__main__":
    main()
