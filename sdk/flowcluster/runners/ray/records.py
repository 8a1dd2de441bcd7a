"""Log records on their way from Ray workers to the driver.

Most go with the news of a run's end, for nothing. Those of a run that takes longer are put into the
key-value store of Ray's head once a second, where the driver looks as often: no process is needed for
that, and it works through a Ray client as well. A run that takes longer and says nothing sends a batch
without records, so that the driver knows that it goes on.
"""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Iterable
from typing import Any

from flowcluster import logs

#: Seconds after which a record is sent although its run goes on, and between two looks of the driver.
INTERVAL = 1.0

#: Keeps the keys apart from those that others use.
_NAMESPACE = b"flowcluster"


class Outbox:
    """On a worker: the records of the run that its process executes. Used from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._records: list[dict[str, Any]] = []
        self._key = ""
        self._batches = 0
        self._number = 0
        self._is_untold = False
        self._sender: threading.Thread | None = None

    @property
    def is_in_use(self) -> bool:
        """Whether this process is a worker's, which has executed a run or executes one."""
        return bool(self._key)

    def begin(self, key: str) -> None:
        """A run begins; records that are sent while it goes on are kept under keys that begin with `key`."""
        with self._changed:
            self._key = key
            self._batches = 0
            self._is_untold = True
            self._wake()

    def put(self, record: dict[str, Any]) -> None:
        """Take a record, to be sent soon or with the news of the run's end."""
        with self._changed:
            self._records.append(record)
            self._wake()

    def end(self) -> tuple[list[dict[str, Any]], int]:
        """The run ends: the records that were not sent, and how many batches were."""
        with self._changed:
            self._is_untold = False
            records, self._records = self._records, []
            return records, self._batches

    def _wake(self) -> None:
        if self._sender is None:
            self._sender = threading.Thread(target=self._send, name="flowcluster-records", daemon=True)
            self._sender.start()
        else:  # nobody waits for it more than once a second, however short the runs are
            self._changed.notify()

    def _send(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._records or self._is_untold)
                key = self._key
            time.sleep(INTERVAL)
            with self._changed:
                goes_on = self._is_untold and self._key == key
                if (self._records or goes_on) and self._put(pickle.dumps(self._records, protocol=5)):
                    self._records = []

    def _put(self, batch: bytes) -> bool:
        from ray.experimental import internal_kv

        # Within one process the number makes the order; what a thread tells after its run's end comes last.
        key = f"{self._key}{self._number:09d}-{os.getpid()}"
        try:
            internal_kv._internal_kv_put(key.encode(), batch, namespace=_NAMESPACE)
        except Exception:
            return False  # they go with the news, if those arrive
        self._number += 1
        self._batches += 1
        self._is_untold = False
        return True


#: The records of this process, if it is a worker.
outbox = Outbox()


class Inbox:
    """In the driver: shows the records of a flow run's task runs, in order for each of them.

    Attributes:
        onward: on a worker, for runs that a task submitted: what leads their records on to the driver.
    """

    def __init__(self, topic: str) -> None:
        self.onward: str | None = None
        self._topic = topic
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}

    def look(self) -> set[str]:
        """Show what has been sent of runs that go on. Returns the keys of those that sent something."""
        with self._lock:
            return self._take(f"{self._topic}/")

    def ended(self, key: str, batches: int, records: Iterable[dict[str, Any]]) -> None:
        """Show what is left of a run that has ended, of which `batches` were sent while it went on."""
        with self._lock:
            if self._seen.pop(key, 0) < batches:
                self._take(key)
                self._seen.pop(key, None)
            for record in records:
                logs.replay(record, self.onward)

    def _take(self, prefix: str) -> set[str]:
        from ray.experimental import internal_kv

        runs = set()
        for key in sorted(internal_kv._internal_kv_list(prefix.encode(), namespace=_NAMESPACE)):
            batch = internal_kv._internal_kv_get(key, namespace=_NAMESPACE)
            internal_kv._internal_kv_del(key, namespace=_NAMESPACE)
            if batch:
                run = key.decode().rpartition("/")[0] + "/"
                runs.add(run)
                self._seen[run] = self._seen.get(run, 0) + 1
                for record in pickle.loads(batch):
                    logs.replay(record, self.onward)
        return runs
