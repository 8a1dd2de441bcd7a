"""The whole story on one page: a key is due → observe → decide → apply → due again when the plan says so."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import random
from typing import NamedTuple

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.classes import handles, signed
from flowcluster_operator.errors import ApiError, ApiUnavailable, Conflict, NotFound, OperatorError
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model import Key, Observed, Plan, Rejection, Trouble
from flowcluster_operator.reconcile.apply import apply
from flowcluster_operator.reconcile.current import is_current
from flowcluster_operator.reconcile.decide import decide
from flowcluster_operator.reconcile.decide_shared import decide_shared
from flowcluster_operator.reconcile.failing import failing, failing_shared
from flowcluster_operator.reconcile.observe import observe
from flowcluster_operator.reconcile.observe_shared import observe_shared
from flowcluster_operator.reconcile.pauses import RETRY_SECONDS, SHOWN_SECONDS
from flowcluster_operator.reconcile.queue import Queue
from flowcluster_operator.settings import Settings
from flowcluster_operator.shared_model import SharedObserved
from flowcluster_operator.specs import parse
from flowcluster_operator.store import Store

_logger = logging.getLogger(__name__)
#: Seconds that a pass that failed waits at most before it is made again.
_MAX_BACKOFF = 10.0
#: Seconds that it waits at most the first time: after an error, and after a conflict, which passes sooner.
_FIRST_ERROR, _FIRST_CONFLICT = 0.4, 0.05
#: From here on the wait is `_MAX_BACKOFF` in any case. A float holds no more than 1,023 doublings.
_MAX_DOUBLINGS = 16


class _Failures(NamedTuple):
    """Passes that failed one after the other: why the last one did, when the first one did, and how many."""

    reason: str
    message: str
    since: float
    number: int


class Reconciler:
    """Works off the queue with `settings.concurrency` passes at a time."""

    def __init__(self, settings: Settings, store: Store, kube: Kube) -> None:
        self._settings, self._store, self._kube = settings, store, kube
        self._failures: dict[Key, _Failures] = {}
        self._rejections: dict[Key, tuple[dt.datetime, list[Rejection]]] = {}
        self._memory = Memory()
        self.queue: Queue[Key] = Queue()

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

    async def _pass(self, key: Key) -> float | None:
        """Make one pass; return seconds until the next one, None for never. No error of a run may stop the others."""
        try:
            wait = await self._reconcile(key)
        except (Conflict, NotFound) as error:
            # Another client wrote in between, or the API server does not know an object of ours yet.
            return self._backoff(key, c.API_ERROR, str(error), first=_FIRST_CONFLICT)
        except ApiUnavailable as error:
            wait = self._backoff(key, c.API_ERROR, str(error), error.retry_after)
            _logger.warning("%s/%s: %s; again in %.1f s", key.namespace, key.name, error, wait)
            return wait
        except OperatorError as error:
            wait = self._backoff(key, c.API_ERROR if isinstance(error, ApiError) else c.RECONCILE_ERROR, str(error))
            _logger.error("%s/%s: %s; again in %.1f s", key.namespace, key.name, error, wait)
            return wait
        except Exception as error:
            wait = self._backoff(key, c.RECONCILE_ERROR, f"{type(error).__name__}: {error}")
            _logger.exception("%s/%s: a bug; again in %.1f s", key.namespace, key.name, wait)
            return wait
        self._failures.pop(key, None)
        return wait

    async def _reconcile(self, key: Key) -> float | None:
        known = self._store.owner(key)
        if known is not None and not handles(known, self._settings):
            self._leave(key)
            return None
        now = dt.datetime.now(dt.UTC)
        trouble = self._trouble(key)
        try:
            outlook = self._store.outlook(key)
            seen = await self._seen(key, now, trouble)
            observed = seen.base if isinstance(seen, SharedObserved) else seen
            if observed.run is not None and not handles(observed.run, self._settings):
                self._leave(key)  # only its children were known
                return None
            plan = signed(self._decided(seen, now), self._settings)
            plan = self._memory.reports.paced(key, plan, observed.written or {}, asyncio.get_running_loop().time())
        except Exception:
            await self._report(key, trouble, now)
            raise
        if not await is_current(plan, observed, self._store, self._memory, self._kube):
            return 0.0  # decide again
        revision = self._store.revision(key)
        rejections = await apply(plan, observed, self._store, self._memory, self._kube, now)
        if self._store.revision(key) != revision:
            self._wake(key)  # the pass decided on what was before its writes, and no watch event follows from them
        for due in self._store.affected(key, outlook):
            self.queue.add(due)
        if rejections:
            # Those that are known stay: a pass that leaves a refused child out may create another kind.
            again = {(rejection.kind, rejection.name) for rejection in rejections}
            earlier = [item for item in observed.rejections if (item.kind, item.name) not in again]
            self._rejections[key] = (now, [*earlier, *rejections])
        if plan.requeue is None:
            self.queue.cancel_timer(key)
            if observed.run is None:
                self._rejections.pop(key, None)
                self._memory.forget(key)
        return plan.requeue

    async def _seen(self, key: Key, now: dt.datetime, trouble: Trouble | None) -> Observed | SharedObserved:
        """Return the world as far as one run or shared cluster is concerned."""
        look = observe_shared if key.kind == names.SHARED_KIND else observe
        return await look(key, self._store, self._kube, self._memory, self._refused(key, now), now, trouble)

    def _decided(self, seen: Observed | SharedObserved, now: dt.datetime) -> Plan:
        if isinstance(seen, SharedObserved):
            return decide_shared(seen, self._settings, now)
        return decide(seen, self._settings, now)

    def _leave(self, key: Key) -> None:
        """Leave a run or a shared cluster to the operator that handles it."""
        self.queue.cancel_timer(key)
        self._rejections.pop(key, None)
        self._memory.forget(key)

    def _wake(self, key: Key) -> None:
        for due in (key, *self._store.child_runs(key)):
            self.queue.add(due)

    async def _report(self, key: Key, trouble: Trouble | None, now: dt.datetime) -> None:
        """Write into status why the last passes failed in the same way as this one."""
        owner = self._store.owner(key)
        if owner is None or trouble is None or trouble.seconds < SHOWN_SECONDS:
            return
        try:
            is_shared = key.kind == names.SHARED_KIND
            plan = failing_shared(owner, trouble, now) if is_shared else failing(owner, parse(owner)[0], trouble, now)
            plan = signed(plan, self._settings)
            await apply(plan, Observed(key=key, run=owner), self._store, self._memory, self._kube, now)
        except Exception as error:
            _logger.warning("%s/%s: the status was not written: %s", key.namespace, key.name, error)

    def _trouble(self, key: Key) -> Trouble | None:
        known = self._failures.get(key)
        if known is None:
            return None
        return Trouble(known.reason, known.message, asyncio.get_running_loop().time() - known.since)

    def _refused(self, key: Key, now: dt.datetime) -> list[Rejection]:
        """What was refused a moment ago; later it is forgotten, and so tried again."""
        when, rejections = self._rejections.get(key, (now, []))
        if (now - when).total_seconds() >= RETRY_SECONDS:
            del self._rejections[key]
            return []
        return rejections

    def _backoff(
        self, key: Key, reason: str, message: str, at_least: float | None = None, first: float = _FIRST_ERROR
    ) -> float:
        known = self._failures.get(key)
        since = known.since if known else asyncio.get_running_loop().time()
        failures = self._failures[key] = _Failures(reason, message, since, known.number + 1 if known else 1)
        doublings = min(failures.number - 1, _MAX_DOUBLINGS)
        wait: float = min(first * 2.0**doublings, _MAX_BACKOFF) * random.uniform(0.5, 1.0)
        return max(wait, min(at_least or 0, _MAX_BACKOFF))
