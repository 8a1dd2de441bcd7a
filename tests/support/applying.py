"""A run on the fake API server, to which tests apply plans of the operator."""

from __future__ import annotations

from typing import Any

from flowcluster_api import names
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model.failures import Rejection
from flowcluster_operator.model.plan import Create, Plan
from flowcluster_operator.reconcile.apply import apply
from flowcluster_operator.resources import (
    FLOW_RUN,
    JOB,
    LEASE,
    Object,
    Resource,
)
from tests.support.fake_api import FakeApi
from tests.support.makers import KEY, NOW, job, lease, run

NAME = names.child_name(KEY.name, KEY.uid)


class Rig:
    """A run with its Lease on the fake API server, and the operator's store and memory.

    Attributes:
        run: the FlowRun as the operator observed it.
        lease: its Lease.
    """

    def __init__(self, api: FakeApi, kube: Kube) -> None:
        self.api, self._kube = api, kube
        self.store, self.memory = Store(), Memory()
        self.run = api.objects.create(FLOW_RUN, KEY.namespace, run())
        self.store.put(FLOW_RUN, self.run)
        self.lease = api.objects.create(LEASE, KEY.namespace, lease())
        self.store.put(LEASE, self.lease)

    async def apply(self, *actions: Any, **plan: Any) -> list[Rejection]:
        """Apply a plan of these actions to the run as the operator observed it."""
        return await apply(Plan(actions, **plan), KEY, self.run, self.store, self.memory, self._kube, NOW)

    def known(self, resource: Resource, body: Object) -> Object:
        """Create an object on the API server and put it into the operator's store."""
        made = self.api.objects.create(resource, KEY.namespace, without_identity(body))
        self.store.put(resource, made)
        return made

    def status(self) -> Object | None:
        """Return the status of the FlowRun on the API server."""
        found: Object | None = self.api.objects.get(FLOW_RUN, KEY.namespace, KEY.name).get("status")
        return found


def without_identity(body: Object) -> Object:
    """Return an object as a client sends it: without the fields that the API server sets."""
    given = ("uid", "resourceVersion", "creationTimestamp")
    return {**body, "metadata": {name: value for name, value in body["metadata"].items() if name not in given}}


def creating(resource: Resource = JOB, body: Object | None = None) -> Create:
    """Return the action that creates a child."""
    return Create(resource, without_identity(body or job()))


def uid(obj: Object) -> str:
    """Return the UID of an object."""
    return str(obj["metadata"]["uid"])
