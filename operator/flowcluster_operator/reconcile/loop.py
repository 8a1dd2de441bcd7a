"""The reconcile loop: a run is due → observe → decide → apply → it is due again when the plan has a requeue time."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.errors import ApiError, ApiUnavailable, Conflict, NotFound, OperatorError
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model.failures import Rejection, RepeatedFailure
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.observed import Observed, Remains
from flowcluster_operator.model.plan import Plan
from flowcluster_operator.model.shared import SharedInvalid, SharedObserved, SharedRemains
from flowcluster_operator.operator_class import handles, with_installation
from flowcluster_operator.reconcile.apply import apply
from flowcluster_operator.reconcile.backoff import FIRST_CONFLICT_DELAY, Backoff
from flowcluster_operator.reconcile.decide import decide
from flowcluster_operator.reconcile.decide_failing import decide_failing, decide_failing_shared
from flowcluster_operator.reconcile.decide_shared import decide_shared
from flowcluster_operator.reconcile.intervals import RETRY_SECONDS, SHOWN_SECONDS
from flowcluster_operator.reconcile.observe import observe
from flowcluster_operator.reconcile.observe_shared import observe_shared
from flowcluster_operator.reconcile.verify_owner import is_current
from flowcluster_operator.settings import Settings
from flowcluster_operator.specs import parse
from flowcluster_operator.workqueue import Queue

_logger = logging.getLogger(__name__)

_SharedObservation = SharedObserved | SharedInvalid | SharedRemains


class Reconciler:
    """Takes runs from the queue, with `settings.concurrency` passes at a time."""

    def __init__(self, settings: Settings, store: Store, kube: Kube) -> None:
        self._settings, self._store, self._kube = settings, store, kube
        self._backoff = Backoff()
        self._rejections: dict[RunId, tuple[dt.datetime, list[Rejection]]] = {}
        self._memory = Memory()
        self.queue: Queue[RunId] = Queue()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.concurrency):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self.queue.take()
            try:
                wait = await self._pass(key)
            finally:
                self.queue.done(key)
            if wait is not None:
                self.queue.add_later(key, wait)

    async def _pass(self, key: RunId) -> float | None:
        """Make one pass; return the seconds until the next one, None for never. An error of one run stops no other."""
        run, clock = f"{key.namespace}/{key.name}", asyncio.get_running_loop().time
        try:
            wait = await self._reconcile(key)
        except (Conflict, NotFound) as error:
            # Another client wrote in between, or the API server does not know an object yet that the operator created.
            return self._backoff.next_delay(key, c.API_ERROR, str(error), clock(), first=FIRST_CONFLICT_DELAY)
        except ApiUnavailable as error:
            wait = self._backoff.next_delay(key, c.API_ERROR, str(error), clock(), at_least=error.retry_after)
            _logger.warning("%s: %s; retry in %.1f s", run, error, wait)
            return wait
        except OperatorError as error:
            reason = c.API_ERROR if isinstance(error, ApiError) else c.RECONCILE_ERROR
            wait = self._backoff.next_delay(key, reason, str(error), clock())
            _logger.error("%s: %s; retry in %.1f s", run, error, wait)
            return wait
        except Exception as error:
            wait = self._backoff.next_delay(key, c.RECONCILE_ERROR, f"{type(error).__name__}: {error}", clock())
            _logger.exception("%s: a bug; retry in %.1f s", run, wait)
            return wait
        self._backoff.reset(key)
        return wait

    async def _reconcile(self, key: RunId) -> float | None:
        known = self._store.owner(key)
        if known is not None and not handles(known, self._settings):
            self._leave(key)
            return None
        now = dt.datetime.now(dt.UTC)
        failure = self._backoff.failure(key, asyncio.get_running_loop().time())
        try:
            peer_view = self._store.peer_view(key)
            seen = await self._observe(key, now, failure)
            observed = seen if isinstance(seen, Remains) else seen.base
            if observed.run is not None and not handles(observed.run, self._settings):
                self._leave(key)  # only its children were known
                return None
            plan = with_installation(self._decide(seen, now), self._settings)
            written = (observed.written if isinstance(observed, Observed) else None) or {}
            clock = asyncio.get_running_loop().time()
            plan = self._memory.pending_statuses.rate_limited(key, plan, written, clock)
        except Exception:
            await self._report(key, failure, now)
            raise
        if not await is_current(plan, observed, self._store, self._memory, self._kube):
            return 0.0  # decide again
        revision = self._store.revision(key)
        rejections = await apply(plan, key, observed.run, self._store, self._memory, self._kube, now)
        if self._store.revision(key) != revision:
            # The pass decided on the state before its writes. Their watch events find no change, and wake no run.
            self._wake(key)
        for due in self._store.affected_peers(key, peer_view):
            self.queue.add(due)
        if rejections:
            # Earlier rejections stay: the next pass leaves the refused kinds out, and may create others.
            again = {(rejection.kind, rejection.name) for rejection in rejections}
            earlier = [item for item in self._refused(key, now) if (item.kind, item.name) not in again]
            self._rejections[key] = (now, [*earlier, *rejections])
        if plan.requeue is None:
            self.queue.cancel_timer(key)
            if observed.run is None:
                self._rejections.pop(key, None)
                self._memory.forget(key)
        return plan.requeue

    async def _observe(
        self, key: RunId, now: dt.datetime, failure: RepeatedFailure | None
    ) -> Observed | Remains | _SharedObservation:
        """Return everything about one run or shared cluster that a decision can read."""
        refused = self._refused(key, now)
        if key.kind == names.SHARED_KIND:
            return await observe_shared(key, self._store, self._kube, self._memory, refused, now, failure)
        return await observe(key, self._store, self._kube, self._memory, refused, now, failure)

    def _decide(self, seen: Observed | Remains | _SharedObservation, now: dt.datetime) -> Plan:
        if isinstance(seen, Remains):
            return decide(seen, self._settings, now)
        return decide_shared(seen, self._settings, now)

    def _leave(self, key: RunId) -> None:
        """Leave a run or a shared cluster to the operator that handles it."""
        self.queue.cancel_timer(key)
        self._rejections.pop(key, None)
        self._memory.forget(key)

    def _wake(self, key: RunId) -> None:
        for due in (key, *self._store.child_runs(key)):
            self.queue.add(due)

    async def _report(self, key: RunId, failure: RepeatedFailure | None, now: dt.datetime) -> None:
        """Write into status why passes over a run have failed, if they have for some seconds. This one failed, too."""
        owner = self._store.owner(key)
        if owner is None or failure is None or failure.seconds < SHOWN_SECONDS:
            return
        try:
            if key.kind == names.SHARED_KIND:
                plan = decide_failing_shared(owner, failure, now)
            else:
                plan = decide_failing(owner, parse(owner)[0], failure, now)
            plan = with_installation(plan, self._settings)
            await apply(plan, key, owner, self._store, self._memory, self._kube, now)
        except Exception as error:
            _logger.warning("%s/%s: the status was not written: %s", key.namespace, key.name, error)

    def _refused(self, key: RunId, now: dt.datetime) -> list[Rejection]:
        """Return the children that the API server refused a moment ago. It forgets older refusals, for a retry."""
        when, rejections = self._rejections.get(key, (now, []))
        if (now - when).total_seconds() >= RETRY_SECONDS:
            del self._rejections[key]
            return []
        return rejections
