"""Where a test and its tasks meet, in whatever process, container or pod the tasks run: at addresses of the test's."""

from __future__ import annotations

import os
import socket
import socketserver
import threading
from types import TracebackType
from typing import Self

#: Where tasks find the test: set where they are not all on one machine.
HOST = os.environ.get("TESTS_HOST", "127.0.0.1")


class Gate:
    """Holds tasks up until the test lets them go on, without sleeping.

    Attributes:
        address: for `wait_at`.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0))
        self.address = _text(self._listener.getsockname())

    def open(self) -> None:
        """Let one task go on, which waits here now or will."""
        is_there = False
        while not is_there:
            visitor, _ = self._listener.accept()
            with visitor:
                is_there = not _is_gone(visitor)

    def close(self) -> None:
        """Let all go on that still wait here."""
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def wait_at(address: str) -> None:
    """In a task: wait until the gate's owner opens or closes it."""
    with socket.create_connection(_parts(address)) as gate:
        try:
            gate.recv(1)
        except ConnectionResetError:
            pass  # how it looks from here when the owner closes it


class Desk(socketserver.TCPServer):
    """Takes the notes of tasks.

    Attributes:
        address: for `note`.
        notes: all that were taken, in their order.
    """

    # All tasks of a test may come at once.
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Clerk)
        self.address = _text(self.socket.getsockname())
        self.notes: list[str] = []
        # How often it looks whether it shall end.
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="desk")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Clerk(socketserver.StreamRequestHandler):
    server: Desk

    def handle(self) -> None:
        text = self.rfile.readline().decode()
        if text.endswith("\n"):  # else the task was killed
            self.server.notes.append(text.rstrip("\n"))
            self.wfile.write(b"%d\n" % self.server.notes.count(text.rstrip("\n")))


def note(address: str, text: str) -> int:
    """In a task: leave a note of one line at a desk; how often it has been left there, now included."""
    with socket.create_connection(_parts(address)) as desk, desk.makefile("rw") as lines:
        lines.write(f"{text}\n")
        lines.flush()
        return int(lines.readline())


def _is_gone(visitor: socket.socket) -> bool:
    """Whether a task that came to a gate did not live to see it open."""
    visitor.setblocking(False)
    try:
        return visitor.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def _text(name: tuple[str, int]) -> str:
    return f"{name[0]}:{name[1]}"


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
