"""What tasks print on Ray workers, which Ray shows some time later: nothing of it may be lost at the end.

Ray reads the lines from files of the workers, ten times a second. Workers tell how many bytes they have
written, and here the bytes that arrived are counted.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

#: Seconds to wait for what was written and has not arrived.
TIMEOUT = 5.0

_NAME = "flowcluster"


class Prints:
    """Counts bytes that workers of this process's Ray have written, and those that were shown."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher
        self._changed = threading.Condition()
        # By process and stream. Processes of the same id on two nodes are counted as one, on both sides.
        self._missing: Counter[tuple[str, bool]] = Counter()

    @classmethod
    def listen(cls, init_arguments: Mapping[str, Any]) -> Prints | None:
        """Begin to count; None where Ray shows nothing, or in another way."""
        import ray
        from ray._private import ray_constants, ray_logging

        shows = init_arguments.get("log_to_driver")
        if not (ray_constants.RAY_LOG_TO_DRIVER if shows is None else shows):
            return None
        if ray.util.client.ray.is_connected():
            return None
        prints = cls(ray_logging.global_worker_stdstream_dispatcher)
        # After Ray's own, which prints: what was counted was shown.
        prints._dispatcher.add_handler(_NAME, prints.shown)
        return prints

    def written(self, process: int, out: int, err: int) -> None:
        """A worker wrote so many bytes to its stdout and its stderr."""
        with self._changed:
            # Less than nothing means that a file was begun anew.
            self._missing[str(process), False] += max(0, out)
            self._missing[str(process), True] += max(0, err)

    def shown(self, data: Mapping[str, Any]) -> None:
        """Ray showed lines of a worker."""
        size = sum(len(line.encode("utf-8", "replace")) + 1 for line in data["lines"])
        with self._changed:
            self._missing[str(data.get("pid")), bool(data.get("is_err"))] -= size
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until everything that was written was shown."""
        with self._changed:
            self._changed.wait_for(lambda: all(left <= 0 for left in self._missing.values()), TIMEOUT)

    def close(self) -> None:
        """Stop counting."""
        self._dispatcher.remove_handler(_NAME)
