"""Smooth the demand for workers: it follows the work with delays. Without I/O and clocks."""

from __future__ import annotations


class SmoothedDemand:
    """A demand that follows the needed number of workers, with a delay in each direction.

    Args:
        up_delay: seconds for which more workers must be needed before the demand rises.
        down_delay: seconds for which fewer workers must be needed before the demand falls.
    """

    def __init__(self, up_delay: float, down_delay: float) -> None:
        self._delays = up_delay, down_delay
        self._history: list[tuple[float, int]] = []
        self.value = 0

    def follow(self, needed: int, now: float) -> int:
        """Return the demand after another observation.

        It rises to the least needed number of the last `up_delay` seconds, and falls to the largest needed number of
        the last `down_delay` seconds.

        Args:
            needed: the number of workers that the work needs now.
            now: the time in seconds.
        """
        up, down = self._delays
        self._history.append((now, needed))
        while len(self._history) > 1 and self._history[1][0] <= now - max(up, down):
            self._history.pop(0)
        least = min(number for _, number in self._recent(now - up))
        most = max(number for _, number in self._recent(now - down))
        self.value = least if least > self.value else min(self.value, most)
        return self.value

    def _recent(self, since: float) -> list[tuple[float, int]]:
        recent = [item for item in self._history if item[0] > since]
        earlier = [item for item in self._history if item[0] <= since]
        return [*earlier[-1:], *recent]  # the number at the start of the period counts
