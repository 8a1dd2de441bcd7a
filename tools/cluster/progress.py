"""Progress as plain lines on stderr, each with the seconds since the tool started."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HEARTBEAT_SECONDS = 15.0
_started = time.monotonic()


def say(text: str) -> None:
    """Print one line to stderr, preceded by the seconds since this process started."""
    print(f"[{time.monotonic() - _started:6.1f}s] {text}", file=sys.stderr, flush=True)


class Step:
    """A step in progress.

    Attributes:
        reached: the progress so far, as text for the next line.
    """

    reached = ""


@contextmanager
def step(text: str) -> Iterator[Step]:
    """Announce ``text``, repeat it every 15 seconds while the body runs, and print how long it took.

    The body can set ``reached`` of the yielded step. The closing line is left out when the body took under two seconds
    or raised.
    """
    say(text)
    began = time.monotonic()
    ended = threading.Event()
    here = Step()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            say(f"{text}: {here.reached or 'in progress'} after {time.monotonic() - began:.0f} s")

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield here
    finally:
        ended.set()
    took = time.monotonic() - began
    if took >= 2:
        say(f"{text}: done in {took:.1f} s")
