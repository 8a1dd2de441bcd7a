"""Port-forward: a connection to a port of a pod through the API server, like ``kubectl port-forward``."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import aiohttp

from flowcluster.errors import KubernetesError, NotFound
from flowcluster.kube.access import Access, headers, proxy_of
from flowcluster.kube.certificates import accept_incomplete_certificates

#: Subprotocol of the WebSocket, channel for data, and bytes of the port's number at the start of each channel. The
#: other channel has errors of the pod's side.
_PROTOCOL = "v4.channel.k8s.io"
_DATA, _PORT_LENGTH = 0, 2
#: Seconds in which the API server must answer.
_TIMEOUT = 10.0
#: Seconds to wait for its answer to a close frame. The answer is optional.
_CLOSE_SECONDS = 0.1

_closings: set[asyncio.Task[None]] = set()


class Path:
    """One port-forwarded connection, with the methods of asyncio's streams.

    The API server ends it when the pod closes its side, or is deleted.
    """

    def __init__(self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._session, self._socket = session, socket
        self._reader = asyncio.StreamReader()
        self._written = bytearray()
        self._receiving = asyncio.create_task(self._receive())

    async def readexactly(self, n: int) -> bytes:
        """Return exactly `n` bytes. Raises `EOFError` if the path ends before."""
        return await self._reader.readexactly(n)

    def write(self, data: bytes) -> None:
        """Buffer data for the next `drain`."""
        self._written += data

    async def drain(self) -> None:
        """Send the buffered data. Raises `OSError` if the path has ended."""
        data, self._written = bytes(self._written), bytearray()
        if data:
            await self._socket.send_bytes(b"\0" + data)

    def close(self) -> None:
        """Begin to end the path. `all_closed` waits for the end."""
        self._receiving.cancel()
        closing = asyncio.create_task(self._close())
        _closings.add(closing)
        closing.add_done_callback(_closings.discard)

    async def _receive(self) -> None:
        begun = set()
        try:
            async for message in self._socket:
                if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                    continue
                channel, data = message.data[0], message.data[1:]
                if channel not in begun:
                    begun.add(channel)
                    data = data[_PORT_LENGTH:]
                if channel != _DATA and data:
                    break  # nothing listens on this port, or the pod does not exist any more
                self._reader.feed_data(data)
        finally:
            self._reader.feed_eof()

    async def _close(self) -> None:
        await self._socket.close()
        await self._session.close()


async def all_closed() -> None:
    """Wait until all closed paths have ended. The event loop must not end before."""
    await asyncio.gather(*_closings, return_exceptions=True)


async def open_path(access: Access, pod: str, port: int) -> Path:
    """Open a path to a port of a pod in the access's namespace.

    Raises:
        NotFound: there is no such pod.
        KubernetesError: the API server refuses the port-forward or cannot be reached.
    """
    settings = access.api.configuration
    url = f"{settings.host}/api/v1/namespaces/{access.namespace}/pods/{pod}/portforward?ports={port}"
    credentials, context = await asyncio.to_thread(lambda: (headers(access), _trust(settings)))
    proxy = proxy_of(access)
    if proxy and not proxy.startswith(("http://", "https://")):
        raise KubernetesError(f"A port is forwarded through proxies of http and https, not through {_shown(proxy)}.")
    session = aiohttp.ClientSession(headers=credentials)
    try:
        async with asyncio.timeout(_TIMEOUT):
            socket = await session.ws_connect(
                url,
                protocols=[_PROTOCOL],
                ssl=context,
                proxy=proxy,
                proxy_headers=settings.proxy_headers if proxy else None,
                max_msg_size=0,
                compress=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),
                server_hostname=settings.tls_server_name or None,
            )
    except BaseException as error:
        await session.close()
        if not isinstance(error, aiohttp.ClientError | OSError | TimeoutError):
            raise
        if isinstance(error, aiohttp.WSServerHandshakeError):
            kind = NotFound if error.status == 404 else KubernetesError
            raise kind(
                f"Kubernetes would not forward a port of pod {pod}: {error.status} {error.message}. It requires the "
                f"verbs get and create on pods/portforward in namespace {access.namespace}: a WebSocket begins with a "
                "GET."
            ) from error
        raise KubernetesError(f"The API server at {settings.host} cannot be reached: {error or 'timeout'}") from error
    return Path(session, socket)


def _shown(url: str) -> str:
    """Return a URL without a user's name and password."""
    scheme, _, rest = url.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _trust(settings: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    accept_incomplete_certificates(context)
    if not settings.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.assert_hostname is False:
        context.check_hostname = False
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    return context
