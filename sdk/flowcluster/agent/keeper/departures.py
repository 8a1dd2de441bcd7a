"""Which runs on a cluster are over. Pure."""

from __future__ import annotations

from collections.abc import Collection

from flowcluster_api.keeper import digest_of

#: Readings of the instructions, one after the other, that must not list a run.
READINGS = 2


class Departures:
    """Compares the runs that have something on the cluster with those that the operator lists.

    A run can connect before the keeper reads that it is listed. So only readings count that were made after the run
    was seen, or after the last one that listed it.
    """

    def __init__(self) -> None:
        #: By digest of a run, the last reading that listed it, or the first one after it was seen.
        self._last: dict[str, int] = {}

    def over(self, present: Collection[str], listed: Collection[str], reading: int) -> list[str]:
        """Return the runs to be released.

        Args:
            present: UIDs of the runs that have something on the cluster.
            listed: digests of the runs in the instructions.
            reading: the number of the reading that `listed` is from; each reading has a larger one.
        """
        by_digest = {digest_of(uid): uid for uid in present}
        unlisted = {digest: self._last.get(digest, reading) for digest in by_digest if digest not in listed}
        self._last = unlisted | dict.fromkeys(listed, reading)
        return sorted(by_digest[digest] for digest, last in unlisted.items() if reading - last >= READINGS)
