"""A line in the terminal while code without a flow run waits for a cluster. A flow run has a progress line."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from flowcluster._output import terminal

#: Seconds before the line appears, and between two updates of it.
DELAY, INTERVAL = 2.0, 0.25


class WaitingLine:
    """Shows a text and the seconds that have passed, until the end of the block.

    Args:
        name: what the line is about; it begins the line.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        descriptor = terminal.usable()
        self._row = terminal.LastRow(descriptor) if descriptor is not None else None
        self._text = name
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="flowcluster-waiting", daemon=True)

    def show(self, text: str) -> None:
        """Show this text from now on."""
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
