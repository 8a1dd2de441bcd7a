"""containerd from outside of the node: load and list images, and remove what a dead node left."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import socket
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tools.cluster import debian, gotools
from tools.cluster.errors import ToolError
from tools.cluster.images.layout import write_archive
from tools.cluster.onenode import files
from tools.cluster.onenode.layout import Layout
from tools.cluster.processes import Process
from tools.cluster.shell import find, run, search_path, wait_until

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def ctr(layout: Layout, *arguments: str | Path) -> str:
    """Run containerd's client in the namespace that Kubernetes uses."""
    return run(["ctr", "--address", layout.socket, "--namespace", "k8s.io", *arguments])


def listening(layout: Layout) -> bool:
    """Return whether containerd accepts connections."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(layout.socket))
        except OSError:
            return False
    return True


def images(layout: Layout) -> set[str]:
    """Return the names of all images that pods on the node can use."""
    return set(ctr(layout, "images", "list", "--quiet").split())


def import_archive(layout: Layout, archive: Path) -> None:
    """Load an image archive (Docker's or OCI's layout)."""
    ctr(layout, "images", "import", archive)


def import_layout(layout: Layout, folder: Path, ref: str) -> None:
    """Load one image from a folder in OCI layout, with only the layers that containerd lacks."""
    present = set(ctr(layout, "content", "list", "--quiet").split())
    command = ["ctr", "--address", str(layout.socket), "--namespace", "k8s.io", "images", "import", "-"]
    with tempfile.TemporaryFile() as output:
        reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output)
        assert reader.stdin is not None
        try:
            write_archive(folder, {ref: ref}, reader.stdin, without=present)
            reader.stdin.close()
        except BrokenPipeError:
            pass  # it ended early, and printed why
        finally:
            code = reader.wait()
        if code != 0:
            output.seek(0)
            raise ToolError(f"containerd refused {ref}:\n{output.read().decode(errors='replace').strip()}")


def ensure_sandbox_image(layout: Layout) -> None:
    """Load the image of every pod's first process, built from the project's own ``pause`` program."""
    if files.SANDBOX_IMAGE not in images(layout):
        import_archive(layout, _sandbox_archive(layout.home / "pause.tar"))


def mark_used(layout: Layout) -> None:
    """Record that containers can exist from now on."""
    layout.images.mkdir(parents=True, exist_ok=True)
    _mark(layout).touch()


def leftovers(layout: Layout) -> bool:
    """Return whether a node that no longer runs can have left containers."""
    return _mark(layout).exists()


def sweep(layout: Layout) -> int:
    """Remove the containers that a killed node left, but not the images. Return the number of containers.

    The node must not run: this function starts a containerd of its own, without its Kubernetes plugin.
    """
    if not leftovers(layout):
        return 0
    layout.socket.parent.mkdir(parents=True, exist_ok=True)
    layout.socket.unlink(missing_ok=True)
    (layout.home / "log").mkdir(exist_ok=True)
    config = files.containerd(layout, debian.cni_folder(), kubernetes=False)
    config_file = files.write(layout.home / "sweep.toml", config)
    log = os.open(layout.home / "log" / "sweep.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    # The same namespaces as the node's, so that it cannot outlive its parent or leave a mount.
    own = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    inside = f"mount -t tmpfs tmpfs /run && exec containerd --config '{config_file}'"
    pid = os.posix_spawn(
        find("unshare") or "unshare",
        ["unshare", *own, "sh", "-c", inside],
        {"PATH": search_path()},
        file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)],
    )
    os.close(log)
    try:
        wait_until(lambda: listening(layout), seconds=20, what=f"containerd (log: {layout.home}/log/sweep.log)")
        left = ctr(layout, "containers", "list", "--quiet").split()
        if left:
            ctr(layout, "containers", "remove", *left)
    finally:
        outer = Process.of(pid)
        for inner in outer.children() if outer else []:
            inner.kill()
        os.waitpid(pid, 0)
    for records in ("io.containerd.grpc.v1.cri", "io.containerd.runtime.v2.task"):
        shutil.rmtree(layout.images / records, ignore_errors=True)
    _mark(layout).unlink()
    return len(left)


def _mark(layout: Layout) -> Path:
    return layout.images / "may-hold-containers"


def _sandbox_archive(path: Path) -> Path:
    """Wrap the static ``pause`` program as an image archive in Docker's layout."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        program = tarfile.TarInfo("pause")
        content = gotools.program("pause").read_bytes()
        program.size, program.mode = len(content), 0o755
        tar.addfile(program, io.BytesIO(content))
    config = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [files.SANDBOX_IMAGE], "Layers": ["layer.tar"]}]
    members = {
        "config.json": json.dumps(config).encode(),
        "layer.tar": layer.getvalue(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path
