"""The heartbeat of a keeper: it renews the cluster's Lease, in which keeper and operator exchange all data."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from flowcluster.agent import micro_time
from flowcluster.agent.pending_report import PendingReport
from flowcluster.errors import KubernetesError
from flowcluster.kube.lease_client import OneLease
from flowcluster_api import handover, keeper, lease
from flowcluster_api.keeper import Instructions
from flowcluster_api.progress import Progress

logger = logging.getLogger("flowcluster.keeper")

#: Seconds between two readings of the instructions, and seconds to wait after a failed attempt.
READ_SECONDS, RETRY_SECONDS = 2.0, 1.0


class Heartbeat:
    """Renews the Lease, reads the instructions in it, and answers requests for credentials.

    Args:
        client: client for the Lease.
        holder: the name by which the keeper renews it.
        report: has the demand. While it is urgent, the renewal is immediate.
        progress: returns the progress to report with each renewal.
        answer: returns the answers to the requests in the Lease, as the text of their annotation, or None.

    Attributes:
        report: as above; the keeper publishes its demand in it.
        instructions: of the last reading; None before the Lease has instructions.
        reading: the number of that reading.
    """

    def __init__(
        self,
        client: OneLease,
        holder: str,
        report: PendingReport,
        progress: Callable[[], Progress | None],
        answer: Callable[[Mapping[str, Any]], str | None] = lambda _: None,
    ) -> None:
        self.report = report
        self.instructions: Instructions | None = None
        self.reading = 0
        self._client, self._holder, self._progress, self._answer = client, holder, progress, answer
        #: Annotations to write with the next renewal: answers that the Lease does not have, or has lost.
        self._answers: dict[str, str | None] = {}
        self._acquired = micro_time.now()
        self._has_failed = False

    async def run(self) -> None:
        """Renew and read until cancelled. Repeat failed requests."""
        due = 0.0
        while True:
            try:
                if self.report.is_urgent or time.monotonic() >= due:
                    await self._renew()
                    due = time.monotonic() + keeper.RENEW_SECONDS
                else:
                    self._read(await asyncio.to_thread(self._client.get))
                self._has_failed = False
            except KubernetesError as error:
                if not self._has_failed:
                    logger.warning("The Lease could not be read or renewed; trying again: %s", error)
                self._has_failed = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self.report.wait(READ_SECONDS)

    async def _renew(self) -> None:
        with self.report.sending() as demand:
            now, progress = micro_time.now(), self._progress()
            patch = lease.renewal(self._holder, keeper.SILENT_SECONDS, now, self._acquired, demand, progress)
            if self._answers:
                patch = {**patch, "metadata": {"annotations": {**_annotations(patch), **self._answers}}}
            self._read(await asyncio.to_thread(self._client.patch, patch), sent=self._answers)

    def _read(self, found: dict[str, Any], sent: dict[str, str | None] | None = None) -> None:
        """Read instructions and requests in the Lease.

        Args:
            found: the Lease.
            sent: the answers that this renewal has written; None for a reading without a renewal. If the Lease does not
                have them afterwards, the keeper writes them again only after the next reading.
        """
        instructions = keeper.read(found)
        if instructions is not None:
            self.instructions = instructions
            self.reading += 1
        answers = self._answer(found)
        is_there = handover.text_in(found, handover.ANNOTATION_ANSWERS) == answers
        self._answers = {} if is_there else {handover.ANNOTATION_ANSWERS: answers}
        if self._answers and self._answers != sent:
            self.report.wake()


def _annotations(patch: dict[str, Any]) -> dict[str, Any]:
    return dict((patch.get("metadata") or {}).get("annotations") or {})
