"""What this process alone knows of runs: since when something has been as it is, and what it made and cannot read."""

from __future__ import annotations

from flowcluster_operator.event_limits import EventLimits
from flowcluster_operator.handovers import Handovers
from flowcluster_operator.model import Key
from flowcluster_operator.reconcile.accounts import PullSecrets
from flowcluster_operator.reconcile.events import EventLooks
from flowcluster_operator.reconcile.references import References
from flowcluster_operator.reports import Reports
from flowcluster_operator.requests import Requests
from flowcluster_operator.settling import Settling
from flowcluster_operator.silences import Silences
from flowcluster_operator.upstream import UpstreamActivity


class Memory:
    """Nothing is lost with it but time: a new process begins to count anew, and tries again to make what is there.

    Attributes:
        silences: of drivers.
        idleness: of runs, as their drivers report it.
        settling: of numbers of workers.
        requests: for workers, to upstream operators.
        keys: UID of a run's Lease, and name of the Secret that this process created for that Lease.
        parameters: UID of a run's Lease, and name of the ConfigMap that this process created for that Lease.
        handovers: credentials of SharedClusters on their way to runs of other namespaces.
        pull_secrets: names of image pull secrets, by account, for each run.
        events: Events of what runs wait for.
        references: clusters that runs use by `spec.cluster.ref`.
        event_limits: of the Events that the operator writes.
        reports: statuses that wait to be written.
        upstream: when upstream operators began to serve clusters.
        verified: suspended runs of which the API server confirmed that nothing is left.
    """

    def __init__(self) -> None:
        self.silences, self.settling, self.requests = Silences(), Settling(), Requests()
        self.idleness = Silences()
        self.events, self.event_limits, self.references = EventLooks(), EventLimits(), References()
        self.reports, self.upstream = Reports(), UpstreamActivity()
        self.handovers = Handovers()
        self._clusters: dict[Key, str] = {}
        self.keys: dict[Key, tuple[str, str]] = {}
        self.parameters: dict[Key, tuple[str, str]] = {}
        self.pull_secrets: dict[Key, PullSecrets] = {}
        self.verified: set[Key] = set()

    def meet(self, key: Key, cluster: str) -> None:
        """Begin to count from the start when a run has a cluster of another UID, after a suspension or a loss.

        What was requested of the earlier cluster, and served to it, is no evidence for this one.
        """
        if self._clusters.get(key, cluster) != cluster:
            self.settling.forget(key)
            self.requests.forget(key)
        self._clusters[key] = cluster

    def forget(self, key: Key) -> None:
        """The run is gone."""
        self.silences.forget(key)
        self.idleness.forget(key)
        self.settling.forget(key)
        self.events.forget(key)
        self.event_limits.forget(key)
        self.requests.forget(key)
        self.reports.forget(key)
        self.upstream.forget(key)
        self.handovers.forget(key)
        self._clusters.pop(key, None)
        self.keys.pop(key, None)
        self.parameters.pop(key, None)
        self.pull_secrets.pop(key, None)
        self.verified.discard(key)
