"""The output of tasks on Ray workers. Ray shows it with a delay, and must show all of it before the end.

Ray reads the lines from files of the workers, ten times a second. Workers report the number of written bytes, and this
module counts the received bytes.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: Seconds to wait for written lines that have not been received.
TIMEOUT = 5.0

_NAME = "flowcluster"

#: The head's mark for a worker's output to stderr.
_STDERR = -2

#: A worker's line as the head sends it to a Ray client: ``(NAME pid=PROCESS, ip=NODE)``, in color, and the text.
_LINE = re.compile(r"(?:\x1b\[\d+m)?\([^)]*\bpid=(\d+)[^)]*\)(?:\x1b\[0m)? (.*)", re.DOTALL)


class Prints:
    """Counts the bytes that workers of this process's Ray have written, and the bytes that were shown."""

    def __init__(self) -> None:
        self._close: Callable[[], object] = lambda: None
        self._changed = threading.Condition()
        # By process and stream. Processes with the same id on two nodes are counted as one, on both sides.
        self._missing: Counter[tuple[str, bool]] = Counter()

    @classmethod
    def listen(cls, init_arguments: Mapping[str, Any]) -> Prints | None:
        """Return an object that counts from now on; None if Ray does not show the output of workers."""
        import ray
        from ray._private import ray_constants, ray_logging

        shows = init_arguments.get("log_to_driver")
        if not (ray_constants.RAY_LOG_TO_DRIVER if shows is None else shows):
            return None
        prints = cls()
        if ray.util.client.ray.is_connected():
            prints._count_of_client(ray.util.client.ray.get_context().client_worker.log_client)
        else:
            dispatcher = ray_logging.global_worker_stdstream_dispatcher
            # After Ray's own handler, which prints: counted bytes have been shown.
            dispatcher.add_handler(_NAME, prints._shown)
            prints._close = lambda: dispatcher.remove_handler(_NAME)
        return prints

    def _count_of_client(self, log_client: Any) -> None:
        """Count the output that the head sends to a Ray client, after the client has shown it."""
        show = log_client.stdstream

        def stdstream(level: int, msg: str) -> None:
            show(level=level, msg=msg)
            for line in msg.split("\n")[:-1]:
                if found := _LINE.fullmatch(line):
                    self._arrived(found[1], level == _STDERR, [found[2]])

        log_client.stdstream = stdstream
        self._close = lambda: delattr(log_client, "stdstream")

    def written(self, process: int, out: int, err: int) -> None:
        """Record the number of bytes that a worker has written to its stdout and its stderr."""
        with self._changed:
            # A negative number means that the worker has started a new file.
            self._missing[str(process), False] += max(0, out)
            self._missing[str(process), True] += max(0, err)

    def _shown(self, data: Mapping[str, Any]) -> None:
        self._arrived(str(data.get("pid")), bool(data.get("is_err")), data["lines"])

    def _arrived(self, process: str, is_err: bool, lines: Sequence[str]) -> None:
        size = sum(len(line.encode("utf-8", "replace")) + 1 for line in lines)
        with self._changed:
            self._missing[process, is_err] -= size
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until Ray has shown all written bytes."""
        with self._changed:
            self._changed.wait_for(lambda: all(left <= 0 for left in self._missing.values()), TIMEOUT)

    def close(self) -> None:
        """Stop counting."""
        self._close()
