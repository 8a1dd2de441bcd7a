"""Which FlowRuns name which SharedCluster, in both directions."""

from __future__ import annotations

from flowcluster_operator.model import Key
from flowcluster_operator.resources import FLOW_RUN, SHARED_CLUSTER, Object, Resource
from flowcluster_operator.sharing import Place, Use, offer_of, place_of, use_of


class Uses:
    """Names of SharedClusters, and the FlowRuns that have them in `spec.cluster.ref`."""

    def __init__(self) -> None:
        self._clusters: dict[Place, Key] = {}
        self._runs: dict[Place, dict[Key, Use]] = {}
        #: The SharedCluster that a FlowRun names, or where a SharedCluster is.
        self._places: dict[Key, Place] = {}

    def changed(self, resource: Resource, key: Key, before: Object | None, after: Object | None) -> set[Key]:
        """Take in that an owner is new, has changed or is gone.

        Args:
            resource: its kind.
            key: its identity.
            before: as it was; None where that is not known.
            after: as it is; None where it is gone.

        Returns:
            The owners on the other side to look at: what they read of it has changed.
        """
        if after is None:
            others = self.across(key)
            self.forget(key)
            return others
        if resource is FLOW_RUN:
            return self._put_run(key, use_of(after))
        if resource is SHARED_CLUSTER:
            return self._put_cluster(key, before, after)
        return set()

    def cluster(self, place: Place) -> Key | None:
        """Return the SharedCluster of that name."""
        return self._clusters.get(place)

    def runs(self, place: Place) -> dict[Key, Use]:
        """Return the FlowRuns that name a SharedCluster."""
        return self._runs.get(place, {})

    def across(self, key: Key) -> set[Key]:
        """Return the owners on the other side: the SharedCluster that a run names, or the runs that name it."""
        if (place := self._places.get(key)) is None:
            return set()
        if key.kind == SHARED_CLUSTER.kind:
            return set(self.runs(place))
        cluster = self._clusters.get(place)
        return {cluster} if cluster is not None else set()

    def forget(self, key: Key) -> None:
        """Take in that an owner is gone."""
        if (place := self._places.pop(key, None)) is None:
            return
        if self._clusters.get(place) == key:
            del self._clusters[place]
        if (runs := self._runs.get(place)) is not None:
            runs.pop(key, None)
            if not runs:
                del self._runs[place]

    def _put_run(self, key: Key, use: Use | None) -> set[Key]:
        known = self._places.get(key)
        if (self._runs[known][key] if known is not None else None) == use:
            return set()
        others = self.across(key)
        self.forget(key)
        if use is not None:
            self._places[key] = use.place
            self._runs.setdefault(use.place, {})[key] = use
        return others | self.across(key)

    def _put_cluster(self, key: Key, before: Object | None, after: Object) -> set[Key]:
        place = place_of(after)
        self._clusters[place] = self._clusters.get(place, key) if before is not None else key
        self._places[key] = place
        is_same = before is not None and offer_of(before) == offer_of(after)
        return set() if is_same else self.across(key)
