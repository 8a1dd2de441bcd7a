"""Synchronization of a test with its tasks in any process, container or pod, by addresses of the test."""

from __future__ import annotations

import os
import socket
import socketserver
import threading
from types import TracebackType
from typing import Self

#: Address of the test for tasks, if they are not all on one machine.
HOST = os.environ.get("TESTS_HOST", "127.0.0.1")


class Gate:
    """Blocks tasks until the test releases them, without sleeping.

    Attributes:
        address: for `wait_at`.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0))
        self.address = _text(self._listener.getsockname())

    def open(self) -> None:
        """Release one task, which waits here now or later."""
        is_there = False
        while not is_there:
            visitor, _ = self._listener.accept()
            with visitor:
                is_there = not _is_gone(visitor)

    def close(self) -> None:
        """Release all tasks that still wait here."""
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
            pass  # the owner has closed the gate


class Desk(socketserver.TCPServer):
    """Receives the notes of tasks.

    Attributes:
        address: for `note`.
        notes: all received notes, in their order.
    """

    # All tasks of a test can connect at the same time.
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Clerk)
        self.address = _text(self.socket.getsockname())
        self.notes: list[str] = []
        # Time between two checks of whether it must end.
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
    """In a task: send a note of one line to a desk. Return how often it has received that, now included."""
    with socket.create_connection(_parts(address)) as desk, desk.makefile("rw") as lines:
        lines.write(f"{text}\n")
        lines.flush()
        return int(lines.readline())


def _is_gone(visitor: socket.socket) -> bool:
    """Return whether a task that waited at a gate has ended before it was opened."""
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
