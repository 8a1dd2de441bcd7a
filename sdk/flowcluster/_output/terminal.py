"""The last row of a terminal, separate from all that is written above it.

The rows above become the terminal's scrolling region. Output of this process, of a worker, or of a program that a task
starts scrolls there, and never reaches the last row. So no stream is replaced, and no output is changed. The cursor
stays where the other output left it.
"""

from __future__ import annotations

import os
import sys
import threading

from flowcluster._util import platforms

#: ``0`` or ``1``: whether to show a progress line; by default it is shown, except in a build service (``CI``).
ENV_PROGRESS = "FLOWCLUSTER_PROGRESS"

_FALSE = ("0", "false", "no", "off")

# Save and restore the cursor with its colours and margins. Move down by one row and up again: this scrolls only in the
# last row, and keeps the column. Set the region from the first row to a given one, or to the whole screen.
_SAVE, _RESTORE, _MAKE_ROOM = "\x1b7", "\x1b8", "\x1bD\x1b[A"
_REGION, _WHOLE, _GO_TO, _ERASE = "\x1b[1;{}r", "\x1b[r", "\x1b[{};1H", "\x1b[0m\x1b[2K"
# Text that is too wide, for example because of characters that take two columns, ends at the margin.
_CUT, _WRAP = "\x1b[?7l", "\x1b[?7h"

#: Lock that `print` in runs, and the log, hold while they write a line: they can share a pipe.
whole_lines = threading.RLock()
# A forked process has one thread. It would wait forever for a lock that another thread of its parent held.
platforms.after_fork(whole_lines._at_fork_reinit)  # type: ignore[attr-defined]

#: The minimum number of rows of a terminal in which the last row is used.
LEAST_ROWS = 4


def usable() -> int | None:
    """Return the file descriptor of a terminal at stderr for the progress line; None if no line is to be shown."""
    choice = os.environ.get(ENV_PROGRESS, "").strip().lower()
    if choice in _FALSE or (not choice and os.environ.get("CI", "").lower() not in ("", *_FALSE)):
        return None
    if os.environ.get("TERM", "dumb") in ("", "dumb"):
        return None
    # A process of multiprocessing, such as a local cluster's worker, shares the terminal of its parent.
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        return None
    try:
        return sys.stderr.fileno() if sys.stderr.isatty() else None
    except (AttributeError, OSError, ValueError):
        return None  # no stream at all, or one that only looks like a terminal


def has_colours() -> bool:
    """Return whether colours are allowed (``NO_COLOR`` is not set)."""
    return not os.environ.get("NO_COLOR")


def has_unicode() -> bool:
    """Return whether stderr can show more than ASCII."""
    return (getattr(sys.stderr, "encoding", None) or "").lower().replace("-", "").startswith("utf")


def printable(text: str) -> str:
    """Return the text without characters that move the cursor: names and messages come from users."""
    return "".join(character if character.isprintable() else "?" for character in text)


class LastRow:
    """Shows one line of text in the last row of the terminal behind a file descriptor.

    Only one thread at a time can use it. A text that cannot be written is not shown.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._process = os.getpid()
        self._size: os.terminal_size | None = None

    @property
    def width(self) -> int:
        """Columns of the terminal now."""
        try:
            return os.get_terminal_size(self._descriptor).columns
        except OSError:
            return 0

    def show(self, text: str) -> None:
        """Show `text`, in place of the previous text."""
        try:
            size = os.get_terminal_size(self._descriptor)
        except OSError:
            return
        if size.lines < LEAST_ROWS or not platforms.is_in_foreground(self._descriptor):
            return  # a program in the background would write over the shell's prompt
        start = ""
        if os.getpid() != self._process:  # a forked process: the parent's text is shown
            self._process, self._size = os.getpid(), None
        if size != self._size:
            start = self._given_back() + _MAKE_ROOM
            self._size = size
        # With each text: a program can have reset the screen.
        row = _REGION.format(size.lines - 1) + _GO_TO.format(size.lines)
        self._write(start + _SAVE + row + _ERASE + _CUT + text + _WRAP + _RESTORE)

    def clear(self) -> None:
        """Erase the text, and return the row to the terminal."""
        if self._size is not None and os.getpid() == self._process:
            self._write(self._given_back())
            self._size = None

    def _given_back(self) -> str:
        if self._size is None:
            return ""
        return _SAVE + _WHOLE + _GO_TO.format(self._size.lines) + _ERASE + _RESTORE

    def _write(self, text: str) -> None:
        # In one write, without Python's buffers: a terminal does not mix the contents of two writes.
        try:
            os.write(self._descriptor, text.encode("utf-8", "replace"))
        except OSError:
            pass  # the terminal was closed
