"""Since when drivers that run elsewhere have been silent, by a monotonic clock of this process.

Not by the times in their Leases: clocks differ and are set, and an operator that was away, or could not reach the
API server, has not heard what was said meanwhile. After a restart everybody is heard anew.
"""

from __future__ import annotations

import dataclasses

from flowcluster_operator.model import Key

#: Seconds that may lie between two questions to the API server that count as one asking.
_GAP_SECONDS = 3.0


@dataclasses.dataclass
class _Heard:
    renewed: str | None
    since: float
    asked: tuple[float, float] | None = None


class Silences:
    """What was last heard, by run. `now` is in seconds."""

    def __init__(self) -> None:
        self._heard: dict[Key, _Heard] = {}

    def seconds(self, key: Key, renewed: str | None, now: float) -> float:
        """Seconds since this renewal was first seen."""
        heard = self._heard.get(key)
        if heard is None or heard.renewed != renewed:
            heard = self._heard[key] = _Heard(renewed, now)
        return now - heard.since

    def asked(self, key: Key, now: float) -> float:
        """The API server has just confirmed what `seconds` was told: for how long, without a gap, it has."""
        heard = self._heard[key]
        first, last = heard.asked or (now, now)
        if now - last > _GAP_SECONDS:
            first = now
        heard.asked = first, now
        return now - first

    def forget(self, key: Key) -> None:
        """The run is gone."""
        self._heard.pop(key, None)
