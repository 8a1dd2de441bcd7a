"""The machine of a user who has Docker: an engine, a home, a kubeconfig and a kind cluster of the user's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import docker_engine, own_cache
from tests.support.docker_engine import Engine
from tests.support.kind_node import image
from tools.cluster import cache, golang
from tools.cluster.errors import ToolError
from tools.cluster.images.spec import ROOT
from tools.cluster.shell import run

#: Label by which kind finds the nodes of a cluster, and the user's cluster.
_CLUSTER_LABEL, USERS = "io.x-k8s.kind.cluster", "users-own"
USERS_CONFIG = "apiVersion: v1\nkind: Config\ncurrent-context: production\n"
#: Folder that kind shows to nodes. The engine creates it on a machine that has none.
_MODULES = Path("/lib/modules")


@dataclass(frozen=True)
class Machine:
    """The machine.

    Attributes:
        engine: its Docker engine.
        folder: of the home and of all that the tool keeps.
    """

    engine: Engine
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the user's shell."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWCLUSTER_", "COVERAGE_"))}
        caches = json.loads(run([golang.go(), "env", "-json", "GOCACHE", "GOMODCACHE", "GOPATH"]))
        own = {
            "HOME": str(self.folder / "home"),
            "KUBECONFIG": str(self.kubeconfig),
            cache.ENV_CACHE: str(self.folder / "cache"),
        }
        return {**kept, **caches, **self.engine.environment, **own}

    @property
    def kubeconfig(self) -> Path:
        """The user's own kubeconfig."""
        return self.folder / "home/config"

    def python(self, *arguments: str | Path) -> str:
        """Run a Python module of the project in the user's shell and return what it prints on stdout.

        Raises:
            ToolError: it failed. The message ends with all that it printed.
        """
        command = self.engine.inside(sys.executable, "-m", *arguments)
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolError(f"{' '.join(map(str, arguments))} exited {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def status(self) -> dict[str, Any]:
        """Return the status of the tool's cluster."""
        command = self.engine.inside(sys.executable, "-m", "tools.cluster", "status", "--json")
        done = subprocess.run(command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, text=True, check=False)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def docker(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Run Docker's command line in the user's shell, and return what it prints."""
        return run(["docker", *arguments], env=self.environment, stdin=stdin)

    def kubectl(self, *arguments: str | Path) -> str:
        """Run kubectl on the tool's cluster as its administrator, and return what it prints."""
        return self._administrator("kubectl", *arguments)

    def helm(self, *arguments: str | Path) -> str:
        """Run helm on the tool's cluster as its administrator, and return what it prints."""
        return self._administrator("helm", *arguments)

    def _administrator(self, name: str, *arguments: str | Path) -> str:
        program = self.python("tools.cluster", "tool", name).strip()
        kubeconfig = self.python("tools.cluster", "kubeconfig").strip()
        return run(self.engine.inside(program, "--kubeconfig", kubeconfig, *arguments), env=self.environment)

    def listed(self, *what: str) -> set[str]:
        """Return the lines of a list of the engine, such as that of ``docker ps``."""
        return set(self.engine.docker(*what).split("\n")) - {""}

    def store(self) -> dict[str, set[str]]:
        """Return the names of all that the engine keeps."""
        return {
            "containers": self.listed("ps", "--all", "--format", "{{.Names}}"),
            "networks": self.listed("network", "ls", "--format", "{{.Name}}"),
            "volumes": self.listed("volume", "ls", "--quiet"),
            "images": self.listed("image", "ls", "--format", "{{.Repository}}"),
        }


@contextmanager
def running(folder: Path) -> Iterator[Machine]:
    """Yield a machine whose engine has kind's node image, and a container that is a user's own cluster to kind."""
    had_modules = _MODULES.exists()
    image.load(_made(folder / "engine"), image.archive())
    _prepare(folder)
    try:
        with docker_engine.running(folder / "engine") as engine:
            node = ["--name", f"{USERS}-control-plane", "--label", f"{_CLUSTER_LABEL}={USERS}", "--entrypoint", "sleep"]
            engine.docker("run", "--detach", *node, image.name(), "infinity")
            yield Machine(engine, folder)
    finally:
        shutil.rmtree(folder / "engine")  # several GB
        if not had_modules and _MODULES.exists():
            _MODULES.rmdir()


def _prepare(folder: Path) -> None:
    home = _made(folder / "home")
    (home / "config").write_text(USERS_CONFIG)
    own_cache.make(folder / "cache")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
