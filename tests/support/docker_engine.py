"""A Docker engine for one test: that of Debian 12, unpacked into the cache, in namespaces that end with it.

The engine has its own network, so that its bridge and packet rules are not the machine's. slirp4netns connects it to
the machine's. There it finds the machine's own loopback interface at the address `MACHINE`. Linux and root only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.waiting import wait_until
from tools.cluster import cache, debian
from tools.cluster.errors import ToolError
from tools.cluster.images import standin
from tools.cluster.images.python import base_image
from tools.cluster.onenode import cgroups
from tools.cluster.processes import Process
from tools.cluster.shell import run, search_path

#: Address of the machine's loopback interface in the engine's network.
MACHINE = "10.0.2.2"
#: Debian packages that are unpacked, and not installed: the engine, a registry, and what they need.
PACKAGES = ("docker.io", "docker-registry", "slirp4netns", "libslirp0", "tini")
#: Programs that the one-node cluster needs, too.
_NEEDED = {"containerd": "containerd", "runc": "runc", "iptables": "iptables", "unshare": "util-linux"}
_SECONDS = 180
#: What the first process of the namespaces does. The machine's /run has sockets, and the lock of its packet rules; the
#: file with its name servers can be there, too.
_FIRST = """
read -r _
mount -t tmpfs tmpfs /run
resolver=$(readlink -m /etc/resolv.conf)
mkdir -p "$(dirname "$resolver")"
test -e "$resolver" || touch "$resolver"
mount --bind "$1" "$resolver"
shift
ip link set lo up
containerd --config "$1" --root "$2" &
shift 2
until test -S /run/containerd/containerd.sock; do sleep 0.1; done
exec dockerd --containerd /run/containerd/containerd.sock "$@"
"""
#: Settings of containerd. The engine would start one with the same, and end when that takes longer than 15 seconds.
_CONTAINERD = """\
version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
"""
#: Number of the right CAP_SYS_RESOURCE, which machines of CI can lack.
_SYS_RESOURCE = 24
#: The runtime on a machine without that right. Privileged containers get all rights that the kernel knows, and the
#: kernel refuses this one.
_RUNTIME = """#!/bin/sh
for word; do
  case $last in
    --bundle) file=$word/config.json ;;
    --process) file=$word ;;
  esac
  last=$word
done
test -z "$file" || sed -i 's/"CAP_SYS_RESOURCE",//g' "$file"
exec runc "$@"
"""
#: The name server of slirp4netns, which asks those of the machine.
_RESOLVER = "nameserver 10.0.2.3\n"


@dataclass(frozen=True)
class Engine:
    """An engine that runs.

    Attributes:
        folder: of all that it keeps.
        first: the first process of its namespaces.
        cgroup: name of the control group of its containers, below that of the tests.
    """

    folder: Path
    first: Process
    cgroup: str

    @property
    def host(self) -> str:
        """The value of DOCKER_HOST."""
        return f"unix://{self.folder / 'docker.sock'}"

    def docker(self, *arguments: str | Path) -> str:
        """Run Docker's command line to its end and return what it prints."""
        return run(["docker", *arguments], env=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a shell whose `docker` is the engine's."""
        return {"PATH": f"{programs() / 'usr/bin'}:{search_path()}", "DOCKER_HOST": self.host}

    def inside(self, *command: str | Path) -> list[str]:
        """Return the command line that runs a program in the engine's namespaces, where the ports of containers are."""
        enter = ["nsenter", "--target", str(self.first.pid), "--mount", "--pid", "--net"]
        # The working directory would be that of the engine.
        return [*enter, "sh", "-c", 'cd "$0" && exec "$@"', os.getcwd(), *map(str, command)]


def programs() -> Path:
    """Return the folder that the packages are unpacked into."""
    architecture = run(["dpkg", "--print-architecture"]).strip()
    version = Path("/etc/debian_version").read_text().strip()

    def unpack(folder: Path) -> None:
        run(["apt-get", "update", "-qq"])
        download = folder / "download"
        download.mkdir()
        run(["apt-get", "download", "-qq", *PACKAGES], cwd=download)
        for package in download.iterdir():
            run(["dpkg-deb", "--extract", package, folder])
        shutil.rmtree(download)

    key = cache.digest([version, architecture, *PACKAGES])[:16]
    return cache.entry("docker-engine", key, unpack, "unpacking a Docker engine")


@contextmanager
def running(folder: Path) -> Iterator[Engine]:
    """Yield an engine that keeps all in a folder; after the body, nothing of it is left but the folder."""
    debian.ensure(_NEEDED, "a Docker engine for tests")
    root = programs()
    environment = {
        **os.environ,
        "PATH": f"{root / 'usr/sbin'}:{root / 'usr/bin'}:{search_path()}",
        "LD_LIBRARY_PATH": ":".join(map(str, root.glob("usr/lib/*-linux-gnu"))),
    }
    cgroup = f"flowcluster-docker-{os.getpid()}-{folder.name}"
    (folder / "resolv.conf").write_text(_RESOLVER)
    (folder / "containerd.toml").write_text(_CONTAINERD)
    (folder / "pid").unlink(missing_ok=True)  # of an earlier engine
    options = {
        "data-root": folder / "data",
        "exec-root": folder / "run",
        "pidfile": folder / "pid",
        "host": f"unix://{folder / 'docker.sock'}",
        "cgroup-parent": cgroup,
        "insecure-registry": f"{MACHINE}/32",
    }
    own = ["--fork", "--kill-child", "--pid", "--mount-proc", "--net", "--mount", "--uts", "--ipc"]
    flags = [f"--{key}={value}" for key, value in options.items()]
    if not _has_right(_SYS_RESOURCE):
        runtime = folder / "runtime"
        runtime.write_text(_RUNTIME)
        runtime.chmod(0o755)
        flags += [f"--add-runtime=limited={runtime}", "--default-runtime=limited"]
    # When the tests are killed, the kernel ends both, and with them the engine and its containers.
    dying = ["setpriv", "--pdeathsig", "KILL"]
    files = [str(folder / name) for name in ("resolv.conf", "containerd.toml", "containerd")]
    first = [*dying, "unshare", *own, "sh", "-c", _FIRST, "sh", *files, *flags]
    with (folder / "log").open("wb") as log, ExitStack() as ending:
        unshare = subprocess.Popen(first, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log)
        ending.callback(_end, unshare)
        (child,) = wait_until(lambda: _children(unshare.pid), "the engine's namespaces exist", _SECONDS)
        ending.callback(_wait_gone, child, cgroup)
        ending.callback(unshare.kill)
        ready, tell = os.pipe()
        connect = [*dying, "slirp4netns", "--configure", "--mtu=65520", f"--ready-fd={tell}", str(child.pid), "tap0"]
        network = subprocess.Popen(connect, env=environment, stdout=log, stderr=log, pass_fds=[tell])
        ending.callback(_end, network)
        os.close(tell)
        with os.fdopen(ready, "rb") as reader:
            assert reader.read(1) == b"1", (folder / "log").read_text()
        assert unshare.stdin is not None
        unshare.stdin.write(b"\n")
        unshare.stdin.close()
        engine = Engine(folder, child, cgroup)
        wait_until(lambda: _answers(engine, unshare), "the Docker engine answers", _SECONDS)
        yield engine


def add_python_image(engine: Engine) -> str:
    """Make the stand-in for the public Python image. Return its name, which is the public one."""
    archive = standin.archive()
    containerfile = archive.parent / "Containerfile"
    engine.docker("build", "--tag", base_image(), "--file", containerfile, archive.parent)
    return base_image()


def _has_right(number: int) -> bool:
    """Return whether a process of this machine's root can have a right, by its number."""
    status = Path("/proc/self/status").read_text()
    (bounds,) = (line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    return bool(int(bounds, 16) >> number & 1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _wait_gone(first: Process, cgroup: str) -> None:
    """Wait for the end of the namespaces' first process, the last one to end, and remove the control groups."""
    wait_until(lambda: not first.alive(), "the engine has ended", _SECONDS)
    for group in Path("/sys/fs/cgroup").glob(f"**/{cgroup}"):
        wait_until(partial(cgroups.try_remove, group), f"the control group {group} is empty", _SECONDS)


def _children(pid: int) -> list[Process]:
    """Return the processes that `unshare` has started, as soon as their namespaces exist."""
    process = Process.of(pid)
    assert process is not None, "unshare has ended"
    return [child for child in process.children() if child.inner_pid() == 1]


def _answers(engine: Engine, unshare: subprocess.Popen[bytes]) -> bool:
    assert unshare.poll() is None, (engine.folder / "log").read_text()
    try:
        engine.docker("version", "--format", "{{.Server.Version}}")
    except ToolError:
        return False
    return True
