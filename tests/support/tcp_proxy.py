"""A TCP proxy that a test can break and mend. It does not read what it transfers."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class TcpProxy:
    """Forwards connections from a local port to a server.

    Attributes:
        port: the local port.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._is_broken = self._is_closed = False
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    @classmethod
    @contextmanager
    def to(cls, host: str, port: int) -> Iterator[TcpProxy]:
        """Run a proxy in the block."""
        proxy = cls(host, port)
        try:
            yield proxy
        finally:
            proxy._is_closed = True
            proxy._thread.join()
            proxy.cut()
            proxy._listener.close()

    def cut(self) -> None:
        """Break all connections, and accept no others until `mend`."""
        with self._lock:
            self._is_broken = True
            for one in list(self._peers):
                self._drop(one)

    def mend(self) -> None:
        """Accept connections again."""
        with self._lock:
            self._is_broken = False

    def _drop(self, one: socket.socket) -> None:
        other = self._peers.pop(one, None)
        if other is not None:
            self._peers.pop(other, None)
            for end in (one, other):
                self._selector.unregister(end)
                end.close()

    def _carry(self) -> None:
        while not self._is_closed:
            for key, _ in self._selector.select(0.1):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.fileobj, socket.socket):
                        self._pass_on(key.fileobj)

    def _accept(self) -> None:
        one, _ = self._listener.accept()
        if self._is_broken:
            one.close()
            return
        other = socket.create_connection(self._target)
        for end, peer in ((one, other), (other, one)):
            self._peers[end] = peer
            self._selector.register(end, selectors.EVENT_READ)

    def _pass_on(self, one: socket.socket) -> None:
        other = self._peers.get(one)
        if other is None:
            return
        try:
            data = one.recv(2**16)
            if data:
                other.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._drop(one)


@contextmanager
def broken_path(kubeconfig: Path, path: Path) -> Iterator[tuple[TcpProxy, Path]]:
    """Run a proxy of the API server that can be cut, and write a kubeconfig that uses it."""
    config = yaml.safe_load(kubeconfig.read_text())
    (named,) = config["clusters"]
    server = urlsplit(named["cluster"]["server"])
    with TcpProxy.to(str(server.hostname), server.port or 443) as proxy:
        named["cluster"] |= {"server": f"https://127.0.0.1:{proxy.port}", "tls-server-name": str(server.hostname)}
        path.write_text(yaml.safe_dump(config))
        yield proxy, path
