"""A package index for one test, on this machine's loopback interface: with a private authority, and with a login."""

from __future__ import annotations

import base64
import http.server
import re
import secrets
import ssl
import sys
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from tests.support import docker_engine
from tools.cluster.onenode.pki import Authority
from tools.cluster.shell import run

_USER = "team"


@dataclass
class Index:
    """An index that runs.

    Attributes:
        files: folder of its packages.
        authority: certificate of the authority that signed for it.
        password: of its only user.
        port: of this machine's loopback interface.
        served: names of the files that it has sent.
    """

    files: Path
    authority: Path
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    port: int = 0
    served: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Its address for containers of the engine, with the login."""
        return f"https://{_USER}:{self.password}@{docker_engine.MACHINE}:{self.port}/simple"

    def links(self, project: str) -> str:
        """Return its page about a project."""
        names = [path.name for path in self.files.iterdir() if _project(path.name) == project]
        return "".join(f'<a href="/files/{urllib.parse.quote(name)}">{name}</a>\n' for name in names)

    def admits(self, header: str) -> bool:
        """Return whether a header `Authorization` has the login."""
        return header == "Basic " + base64.b64encode(f"{_USER}:{self.password}".encode()).decode()


@contextmanager
def running(folder: Path, locks: Sequence[Path]) -> Iterator[Index]:
    """Yield an index of the packages of lock files. It keeps all in a folder, which is created."""
    authority = Authority(folder)
    pair = authority.issue("index", "index", hosts=["127.0.0.1", docker_engine.MACHINE])
    index = Index(folder / "files", authority.pair.certificate)
    for lock in locks:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        run([*download, "--dest", index.files, "--requirement", lock])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)

    class Handler(_Handler):
        served_by = index

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        index.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    served_by: Index

    def do_GET(self) -> None:
        index = self.served_by
        if not index.admits(self.headers.get("Authorization", "")):
            self.send_response(HTTPStatus.UNAUTHORIZED)
            self.send_header("WWW-Authenticate", 'Basic realm="packages"')
            self.end_headers()
            return
        _, folder, name, *_ = [*urllib.parse.unquote(self.path).split("/"), ""]
        file = index.files / name
        if folder == "simple":
            self._answer("text/html", index.links(name).encode())
        elif folder == "files" and file.is_file():
            index.served.add(name)
            self._answer("application/octet-stream", file.read_bytes())
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _answer(self, kind: str, content: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def _project(file: str) -> str:
    """Return the normalized name of the project of a wheel or a source archive."""
    return re.sub(r"[-_.]+", "-", re.split(r"-\d", file)[0]).lower()
