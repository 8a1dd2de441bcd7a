"""Find ended runs on a shared cluster. Without I/O and clocks."""

from __future__ import annotations

from collections.abc import Collection

from flowcluster_api.keeper import digest_of

#: Number of consecutive readings of the instructions without a run after which the run has ended.
READINGS = 2


class EndedRuns:
    """Compares the runs that use the cluster with the runs that the operator lists.

    A run can connect before the keeper reads the instructions that list it. So a reading without the run counts only if
    it is later than the first observation of the run, and later than the last reading that listed the run.
    """

    def __init__(self) -> None:
        #: By digest of a run, the last reading that listed it, or the first one after its first observation.
        self._last: dict[str, int] = {}

    def over(self, present: Collection[str], listed: Collection[str], reading: int) -> list[str]:
        """Return the UIDs of the runs to release.

        Args:
            present: UIDs of the runs that use the cluster.
            listed: digests of the runs in the instructions.
            reading: the number of the reading with `listed`. Numbers increase.
        """
        by_digest = {digest_of(uid): uid for uid in present}
        unlisted = {digest: self._last.get(digest, reading) for digest in by_digest if digest not in listed}
        self._last = unlisted | dict.fromkeys(listed, reading)
        return sorted(by_digest[digest] for digest, last in unlisted.items() if reading - last >= READINGS)
