"""The demand that the next renewal of a Lease reports, and whether that renewal is urgent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from flowcluster_api.lease import Demand


class PendingReport:
    """The report of a driver or keeper that the next renewal of its Lease contains.

    The code that observes the work fills it. The code that renews the Lease sends it, immediately while `is_urgent`.
    """

    def __init__(self) -> None:
        self._demand: Demand | None = None
        self._urgent = asyncio.Event()

    @property
    def is_urgent(self) -> bool:
        """Return whether the next renewal must be immediate."""
        return self._urgent.is_set()

    def publish(self, demand: Demand) -> None:
        """Report this demand from now on. If it has changed, the next renewal is urgent."""
        if demand != self._demand:
            self._demand = demand
            self._urgent.set()

    def wake(self) -> None:
        """Make the next renewal urgent, for another reason than the demand."""
        self._urgent.set()

    @contextmanager
    def sending(self) -> Iterator[Demand | None]:
        """Yield the demand for the renewal that the block sends; None before the first demand.

        A change during the block makes another renewal urgent. If the block raises, an urgent renewal stays urgent.
        """
        was_urgent = self.is_urgent
        self._urgent.clear()
        try:
            yield self._demand
        except BaseException:
            if was_urgent:
                self._urgent.set()
            raise

    async def wait(self, seconds: float) -> None:
        """Return when the next renewal is urgent, and after these seconds at the latest."""
        try:
            async with asyncio.timeout(seconds):
                await self._urgent.wait()
        except TimeoutError:
            pass
