"""Send log records from Ray workers to the driver.

Most records are in the report of their run's end, so they need no message of their own. During a longer run, a worker
puts records into the key-value store of Ray's head once a second, and the driver reads them there once a second. This
needs no other process, and works with a Ray client, too. A longer run without records sends one empty batch, so that
the driver observes its execution.
"""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Iterable
from typing import Any

from flowcluster._output import logs
from flowcluster._util import texts
from flowcluster_api import tags

#: Seconds after which a worker sends a record before the end of its run, and between two reads by the driver.
INTERVAL = 1.0


def run_key(topic: str, run_name: str, attempt: int) -> str:
    """Return the prefix of the keys for the records of one execution of a task run."""
    return f"{topic}/{texts.digest(run_name)}/{attempt}/"


class Outbox:
    """The records of the run that a worker's process executes. Any thread can use it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._records: list[dict[str, Any]] = []
        self._key = ""
        self._batches = 0
        self._number = 0
        self._is_unreported = False
        self._sender: threading.Thread | None = None

    @property
    def is_in_use(self) -> bool:
        """Return whether this process is a worker that executes or has executed a run."""
        return bool(self._key)

    def begin(self, key: str) -> None:
        """Record that a run starts. `key` is the prefix of the keys of records that are sent before its end."""
        with self._changed:
            self._key = key
            self._batches = 0
            self._is_unreported = True
            self._wake()

    def put(self, record: dict[str, Any]) -> None:
        """Add a record, to be sent soon or with the report of the run's end."""
        with self._changed:
            self._records.append(record)
            self._wake()

    def end(self) -> tuple[list[dict[str, Any]], int]:
        """Record that the run ends. Return the unsent records, and the number of sent batches."""
        with self._changed:
            self._is_unreported = False
            records, self._records = self._records, []
            return records, self._batches

    def _wake(self) -> None:
        if self._sender is None:
            self._sender = threading.Thread(target=self._send, name="flowcluster-records", daemon=True)
            self._sender.start()
        else:  # cheap: the thread waits at most once a second, even with short runs
            self._changed.notify()

    def _send(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._records or self._is_unreported)
                key = self._key
            time.sleep(INTERVAL)
            with self._changed:
                is_same = self._is_unreported and self._key == key
                if (self._records or is_same) and self._put(pickle.dumps(self._records, protocol=5)):
                    self._records = []

    def _put(self, batch: bytes) -> bool:
        from ray.experimental import internal_kv

        # The number orders the batches of one process. Records that a thread logs after its run's end come last.
        key = f"{self._key}{self._number:09d}-{os.getpid()}"
        try:
            internal_kv._internal_kv_put(key.encode(), batch, namespace=tags.RAY_NAMESPACE)
        except Exception:
            return False  # the report contains them, if it arrives
        self._number += 1
        self._batches += 1
        self._is_unreported = False
        return True


#: The records of this process if it is a worker.
outbox = Outbox()


class Inbox:
    """Shows the records of a flow run's task runs in the driver, in order for each task run.

    Attributes:
        onward: topic to which a worker forwards the records of runs that its task submitted; None in the driver.
    """

    def __init__(self, topic: str) -> None:
        self.onward: str | None = None
        self._topic = topic
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}

    def look(self) -> set[str]:
        """Show records of runs that have not ended. Return the keys of the runs that sent a batch."""
        with self._lock:
            return self._take(f"{self._topic}/")

    def ended(self, key: str, batches: int, records: Iterable[dict[str, Any]]) -> None:
        """Show the remaining records of a run that has ended.

        Args:
            key: of the run, from `run_key`.
            batches: number of batches that it sent before its end.
            records: in the report of its end.
        """
        with self._lock:
            if self._seen.pop(key, 0) < batches:
                self._take(key)
                self._seen.pop(key, None)
            for record in records:
                logs.replay(record, self.onward)

    def _take(self, prefix: str) -> set[str]:
        from ray.experimental import internal_kv

        runs = set()
        for key in sorted(internal_kv._internal_kv_list(prefix.encode(), namespace=tags.RAY_NAMESPACE)):
            batch = internal_kv._internal_kv_get(key, namespace=tags.RAY_NAMESPACE)
            internal_kv._internal_kv_del(key, namespace=tags.RAY_NAMESPACE)
            if batch:
                run = key.decode().rpartition("/")[0] + "/"
                runs.add(run)
                self._seen[run] = self._seen.get(run, 0) + 1
                for record in pickle.loads(batch):
                    logs.replay(record, self.onward)
        return runs
