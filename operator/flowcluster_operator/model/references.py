"""Other objects that a run depends on: its parent, and the cluster that `spec.cluster.ref` names."""

from __future__ import annotations

from typing import NamedTuple

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.model.pods import PodFacts
from flowcluster_operator.resources import Object


class Parent(NamedTuple):
    """The parent of a child run: the FlowRun that owns it.

    Attributes:
        name: of that FlowRun.
        account: ServiceAccount of its driver.
        credentials: name of the Secret with its driver's credentials; None when there is no driver any more.
        is_over: whether it has finished.
        uid: of that FlowRun.
        spec: of that FlowRun; None where it is not known.
    """

    name: str
    account: str
    credentials: str | None
    is_over: bool
    uid: str = ""
    spec: FlowRunSpec | None = None


class CredentialExchangeState(NamedTuple):
    """How far the exchange is that gives a run's driver the credentials of a SharedCluster in another namespace.

    Attributes:
        copied_from: name of the cluster's Secret that the run's own Secret is a copy of; None while the run has none.
        is_decrypted: whether this process has decrypted the keeper's answer, so that it can create the Secret.
        requested: seconds since the operator requested the credentials from the keeper; None while the operator has
            not, because the requests of other runs come first.
        silent_for: seconds since the last heartbeat of the keeper.
        problem: why the keeper's answer cannot be used; None where there is no answer yet, or it was decrypted.
        has_same_operator: whether one operator handles the run and the cluster.
    """

    copied_from: str | None = None
    is_decrypted: bool = False
    requested: float | None = None
    silent_for: float = 0.0
    problem: str | None = None
    has_same_operator: bool = True


class Reference(NamedTuple):
    """The cluster that `spec.cluster.ref` names.

    Attributes:
        cluster: its DaskCluster or RayCluster; None when there is none of that name.
        head_pods: pods of its scheduler or head.
        has_service: whether the Service exists to which drivers connect.
        shared: the SharedCluster that it belongs to, where the run names one that allows the run's namespace.
        credentials: name of the Secret with the credentials of a SharedCluster.
        exchange: how the run's driver gets those credentials, where that Secret is in another namespace.
    """

    cluster: Object | None = None
    head_pods: tuple[PodFacts, ...] = ()
    has_service: bool = False
    shared: Object | None = None
    credentials: str | None = None
    exchange: CredentialExchangeState | None = None
