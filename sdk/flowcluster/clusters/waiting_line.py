"""A line in the terminal while somebody waits for a cluster who is no flow run: that one has a line of its own."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from flowcluster import terminal

#: Seconds without a line at first, and between two pictures of it.
DELAY, INTERVAL = 2.0, 0.25


class WaitingLine:
    """Shows what it was told last of `name`, and how long it has taken; is gone at the end of the block."""

    def __init__(self, name: str) -> None:
        self._name = name
        descriptor = terminal.usable()
        self._row = terminal.LastRow(descriptor) if descriptor is not None else None
        self._text = name
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="flowcluster-waiting", daemon=True)

    def tell(self, text: str) -> None:
        """Show this from now on."""
        self._text = terminal.printable(f"{self._name}: {text}")

    def __enter__(self) -> WaitingLine:
        if self._row is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._row is not None:
            self._is_over.set()
            self._thread.join()

    def _draw(self) -> None:
        assert self._row is not None
        began, wait = time.monotonic(), DELAY
        while not self._is_over.wait(wait):
            waited = f" ({time.monotonic() - began:.0f} s)"
            self._row.show(self._text[: max(self._row.width - len(waited) - 1, 0)] + waited)
            wait = INTERVAL
        self._row.clear()
