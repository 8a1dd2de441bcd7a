"""A container registry for one test: Debian's, with TLS and with or without a login, on the loopback interface."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import docker_engine
from tests.support.waiting import wait_until
from tools.cluster.onenode.pki import Authority

_ACCEPTED = ", ".join(
    f"application/vnd.{kind}.v{version}+json"
    for kind, version in (("oci.image.manifest", 1), ("docker.distribution.manifest", 2))
)
_CONFIGURATION = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}", tls: {{certificate: {certificate}, key: {key}}}}}
"""
#: The login, and its line in the file of the registry's users.
USER, PASSWORD = "reader", "password-of-tests"
_USERS = f"{USER}:$2b$04$FnfmsV7JfO1AIO0xUeJoBes5pMRBTg8g7SIzDXFb0z6b7WpQUeNTa\n"
_LOGIN = """\
auth: {{htpasswd: {{realm: tests, path: {users}}}}}
"""


@dataclass(frozen=True)
class Registry:
    """A registry that runs on this machine's loopback interface.

    Attributes:
        port: its port.
        authority: certificate of the authority that signed for it, for 127.0.0.1 and for the engine's address of this
            machine.
    """

    port: int
    authority: Path

    def label(self, name: str) -> str:
        """Return the label `name` of an image, found as a node of a cluster finds the image."""
        repository, _, tag = name.partition("/")[2].rpartition(":")
        manifest = self._get(f"{repository}/manifests/{tag}")
        found: str = self._get(f"{repository}/blobs/{manifest['config']['digest']}")["config"]["Labels"]["name"]
        return found

    def answers(self) -> bool:
        """Return whether it answers requests."""
        try:
            self._get("")
        except urllib.error.URLError:
            return False
        return True

    def _get(self, path: str) -> Any:
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()  # ignored by a registry without one
        headers = {"Accept": _ACCEPTED, "Authorization": f"Basic {login}"}
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}/v2/{path}", headers=headers)
        context = ssl.create_default_context(cafile=self.authority)
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            return json.load(answer)


@contextmanager
def running(folder: Path, *, has_login: bool = False) -> Iterator[Registry]:
    """Yield an empty registry that keeps all in a folder, which is created.

    Args:
        folder: for its images and settings.
        has_login: whether it serves nothing without the login of `USER` with `PASSWORD`.
    """
    authority = Authority(folder)
    pair = authority.issue("registry", "registry", hosts=["127.0.0.1", docker_engine.MACHINE])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    configuration = folder / "registry.yaml"
    text = _CONFIGURATION.format(folder=folder / "images", port=port, certificate=pair.certificate, key=pair.key)
    if has_login:
        users = folder / "users"
        users.write_text(_USERS)
        text += _LOGIN.format(users=users)
    configuration.write_text(text)
    program = docker_engine.programs() / "usr/bin/docker-registry"
    found = Registry(port, authority.pair.certificate)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", configuration], stdout=log, stderr=log)
        try:
            wait_until(found.answers, "the registry answers", 120)
            yield found
        finally:
            process.kill()
            process.wait()
