"""Forward local ports to ports of a pod, through its relay. The connections survive a restart of the API server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from flowcluster.errors import KubernetesError, NotFound
from flowcluster.kube.access import Access
from flowcluster.kube.port_forward import Path, all_closed, open_path
from flowcluster_api.relay import ANSWER, END, FRAME, HELLO, MARK, PORT, Connection

#: Seconds between two attempts to open a path: at first, and at most.
FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0


class Tunnel:
    """Listens on local ports, and forwards each connection to the relay in a pod. The relay connects to a port there.

    Args:
        access: to the pod's namespace.
        pod: name of the pod.
        before_end: awaited before the end of a connection that the pod has ended. The argument is whether the pod still
            accepts connections to the port.
    """

    def __init__(self, access: Access, pod: str, before_end: Callable[[bool], Awaitable[None]]) -> None:
        self._access, self._pod, self._before_end = access, pod, before_end
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def open(self, ports: dict[int, int]) -> dict[int, int]:
        """Listen on local ports.

        Args:
            ports: local ports, by the ports of the pod; 0 for any free local port.

        Returns:
            The local ports, by the ports of the pod.

        Raises:
            KubernetesError: the pod cannot be reached.
            OSError: a local port is in use.
        """
        (await open_path(self._access, self._pod, PORT)).close()
        opened = {}
        for port, local in ports.items():
            server = await asyncio.start_server(self._accepting(port), "127.0.0.1", local)
            self._servers.append(server)
            opened[port] = server.sockets[0].getsockname()[1]
        return opened

    def cut(self) -> None:
        """End all connections, and accept no others."""
        for server in self._servers:
            server.close()
        for connection in self._connections:
            connection.close()

    async def close(self) -> None:
        """End all connections, and wait until they have ended."""
        self._is_closed = True
        self.cut()
        for carrying in self._carrying:
            carrying.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        await all_closed()

    def _accepting(self, port: int):  # type: ignore[no-untyped-def]
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self._is_closed:
                writer.close()
                return
            connection = Connection(reader, writer, lambda: self._explain(port))
            self._connections.add(connection)
            carrying = asyncio.create_task(self._carry(connection, port))
            self._carrying.add(carrying)
            try:
                await asyncio.wait([carrying])
            finally:
                connection.close()
                self._connections.discard(connection)
                self._carrying.discard(carrying)

        return accept

    async def _carry(self, connection: Connection, port: int) -> None:
        """Forward a connection over one path after the other, until either side ends it or the pod is deleted."""
        identity, is_new, wait = os.urandom(16), True, FIRST_WAIT
        while not connection.over.is_set():
            try:
                path = await open_path(self._access, self._pod, PORT)
            except NotFound:
                await self._before_end(False)
                return
            except KubernetesError:
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
                continue
            try:
                confirmed = await _greet(path, identity, port, is_new, connection.received)
            except BaseException as error:  # also when the tunnel is closed meanwhile
                path.close()
                if not isinstance(error, OSError | EOFError):
                    raise
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
                continue
            if confirmed is None:
                path.close()
                await self._explain(port)
                return
            is_new, wait = False, FIRST_WAIT
            await connection.carry(path, path, confirmed)

    async def _explain(self, port: int) -> None:
        await self._before_end(await self._serves(port))

    async def _serves(self, port: int) -> bool:
        """Return whether the pod accepts connections to a port."""
        try:
            path = await open_path(self._access, self._pod, PORT)
        except KubernetesError:
            return False
        try:
            is_served = await _greet(path, os.urandom(16), port, True, 0) is not None
            path.write(FRAME.pack(END, 0))
            await path.drain()
            return is_served
        except (OSError, EOFError):
            return False
        finally:
            path.close()


async def _greet(path: Path, identity: bytes, port: int, is_new: bool, received: int) -> int | None:
    """Return the number of bytes that the relay has received; None if the connection has ended there."""
    path.write(HELLO.pack(MARK, identity, port, is_new, received))
    await path.drain()
    is_known, confirmed = ANSWER.unpack(await path.readexactly(ANSWER.size))
    return confirmed if is_known else None
