"""How fast a demand follows the work. Pure."""

from __future__ import annotations


class Smoothed:
    """A number that follows another one, with a delay in each direction."""

    def __init__(self, up_delay: float, down_delay: float) -> None:
        self._delays = up_delay, down_delay
        self._history: list[tuple[float, int]] = []
        self.value = 0

    def follow(self, wanted: int, now: float) -> int:
        """Return the least wanted throughout the last `up_delay` seconds, or the most in the last `down_delay`."""
        up, down = self._delays
        self._history.append((now, wanted))
        while len(self._history) > 1 and self._history[1][0] <= now - max(up, down):
            self._history.pop(0)
        least = min(number for _, number in self._recent(now - up))
        most = max(number for _, number in self._recent(now - down))
        self.value = max(self.value, least) if least > self.value else min(self.value, most)
        return self.value

    def _recent(self, since: float) -> list[tuple[float, int]]:
        recent = [item for item in self._history if item[0] > since]
        earlier = [item for item in self._history if item[0] <= since]
        return [*earlier[-1:], *recent]  # what held at that moment counts
