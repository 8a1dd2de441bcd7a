"""Which FlowRuns name which SharedCluster, in both directions."""

from __future__ import annotations

from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import FLOW_RUN, SHARED_CLUSTER, Object, Resource
from flowcluster_operator.shared_cluster_use import NamespacedName, SharedClusterUse, name_of, offer_of, use_of


class SharedClusterUsers:
    """Names of SharedClusters, and the FlowRuns that have them in `spec.cluster.ref`.

    The peers of a run are the SharedCluster that it names; those of a SharedCluster are the runs that name it.
    """

    def __init__(self) -> None:
        self._clusters: dict[NamespacedName, RunId] = {}
        self._runs: dict[NamespacedName, dict[RunId, SharedClusterUse]] = {}
        #: By FlowRun, the SharedCluster that it names; by SharedCluster, its own name.
        self._places: dict[RunId, NamespacedName] = {}

    def changed(self, resource: Resource, key: RunId, before: Object | None, after: Object | None) -> set[RunId]:
        """Record that an owner is new, has changed or is gone.

        Args:
            resource: its kind.
            key: its identity.
            before: its last known state; None where there is none.
            after: its present state; None where it is gone.

        Returns:
            The peers to wake, because what they read of it has changed.
        """
        if after is None:
            others = self.peers(key)
            self.forget(key)
            return others
        if resource is FLOW_RUN:
            return self._put_run(key, use_of(after))
        if resource is SHARED_CLUSTER:
            return self._put_cluster(key, before, after)
        return set()

    def cluster(self, place: NamespacedName) -> RunId | None:
        """Return the SharedCluster of that name."""
        return self._clusters.get(place)

    def runs(self, place: NamespacedName) -> dict[RunId, SharedClusterUse]:
        """Return the FlowRuns that name a SharedCluster."""
        return self._runs.get(place, {})

    def peers(self, key: RunId) -> set[RunId]:
        """Return the peers of an owner."""
        if (place := self._places.get(key)) is None:
            return set()
        if key.kind == SHARED_CLUSTER.kind:
            return set(self.runs(place))
        cluster = self._clusters.get(place)
        return {cluster} if cluster is not None else set()

    def forget(self, key: RunId) -> None:
        """Forget an owner that is gone."""
        if (place := self._places.pop(key, None)) is None:
            return
        if self._clusters.get(place) == key:
            del self._clusters[place]
        if (runs := self._runs.get(place)) is not None:
            runs.pop(key, None)
            if not runs:
                del self._runs[place]

    def _put_run(self, key: RunId, use: SharedClusterUse | None) -> set[RunId]:
        known = self._places.get(key)
        if (self._runs[known][key] if known is not None else None) == use:
            return set()
        others = self.peers(key)
        self.forget(key)
        if use is not None:
            self._places[key] = use.cluster
            self._runs.setdefault(use.cluster, {})[key] = use
        return others | self.peers(key)

    def _put_cluster(self, key: RunId, before: Object | None, after: Object) -> set[RunId]:
        place = name_of(after)
        self._clusters[place] = self._clusters.get(place, key) if before is not None else key
        self._places[key] = place
        is_same = before is not None and offer_of(before) == offer_of(after)
        return set() if is_same else self.peers(key)
