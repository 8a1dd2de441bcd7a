"""What only this process knows of runs: how long a state has lasted, and names of objects that it cannot read."""

from __future__ import annotations

from flowcluster_operator.model.identity import RunId
from flowcluster_operator.trackers.credential_exchanges import CredentialExchanges
from flowcluster_operator.trackers.event_rate_limit import EventRateLimit
from flowcluster_operator.trackers.event_reader import EventReader
from flowcluster_operator.trackers.heartbeats import HeartbeatTracker
from flowcluster_operator.trackers.pending_statuses import PendingStatuses
from flowcluster_operator.trackers.referenced_clusters import ReferencedClusters
from flowcluster_operator.trackers.replica_stability import ReplicaStabilityTracker
from flowcluster_operator.trackers.upstream_activity import UpstreamActivity
from flowcluster_operator.trackers.worker_requests import WorkerRequests

#: Names of image pull secrets by ServiceAccount.
PullSecrets = dict[str, tuple[str, ...]]


class Memory:
    """The state of the operator's process. Losing it costs only time: a new process measures from its own start.

    Attributes:
        heartbeats: of drivers and keepers.
        idleness: since when the API server has confirmed that drivers and keepers report no work.
        stability: of the numbers of workers.
        worker_requests: to upstream operators.
        credentials: UID of a run's Lease, and name of the Secret that this process created for that Lease.
        parameters: UID of a run's Lease, and name of the ConfigMap that this process created for that Lease.
        credential_exchanges: for runs that use SharedClusters of other namespaces.
        pull_secrets: names of image pull secrets, by ServiceAccount, for each run.
        events: Events of objects that runs wait for.
        referenced_clusters: clusters that runs use by `spec.cluster.ref`.
        event_rate: rate limit of the Events that the operator writes.
        pending_statuses: statuses that wait to be written.
        upstream_activity: when upstream operators began to serve clusters.
        verified: suspended runs of which the API server confirmed that nothing is left.
    """

    def __init__(self) -> None:
        self.heartbeats, self.idleness = HeartbeatTracker(), HeartbeatTracker()
        self.stability, self.worker_requests = ReplicaStabilityTracker(), WorkerRequests()
        self.events, self.event_rate = EventReader(), EventRateLimit()
        self.referenced_clusters, self.upstream_activity = ReferencedClusters(), UpstreamActivity()
        self.pending_statuses, self.credential_exchanges = PendingStatuses(), CredentialExchanges()
        self._clusters: dict[RunId, str] = {}
        self.credentials: dict[RunId, tuple[str, str]] = {}
        self.parameters: dict[RunId, tuple[str, str]] = {}
        self.pull_secrets: dict[RunId, PullSecrets] = {}
        self.verified: set[RunId] = set()

    def set_cluster(self, key: RunId, uid: str) -> None:
        """Record the UID of a run's cluster. With another UID, after a suspension or a loss, measurements start again.

        A request that the upstream operator served for the earlier cluster says nothing about this one.
        """
        if self._clusters.get(key, uid) != uid:
            self.stability.forget(key)
            self.worker_requests.forget(key)
        self._clusters[key] = uid

    def forget(self, key: RunId) -> None:
        """Forget a run that is gone."""
        self.heartbeats.forget(key)
        self.idleness.forget(key)
        self.stability.forget(key)
        self.events.forget(key)
        self.event_rate.forget(key)
        self.worker_requests.forget(key)
        self.pending_statuses.forget(key)
        self.upstream_activity.forget(key)
        self.credential_exchanges.forget(key)
        self._clusters.pop(key, None)
        self.credentials.pop(key, None)
        self.parameters.pop(key, None)
        self.pull_secrets.pop(key, None)
        self.verified.discard(key)
