"""A server archive of Kubernetes, as its releases have it: programs, and images of the control plane.

The images are those that the node needs, in the format of ``docker save``.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.kind_node import base, programs
from tools.cluster import gotools
from tools.cluster.shell import run

#: Where the programs of an image are.
_BIN = "usr/local/bin"
#: Packages of the programs that kube-proxy runs. They are unpacked and not installed: the first one's usual names are
#: missing.
_PROXY_PACKAGES = ("iptables", "nftables", "conntrack")
_IPTABLES = {
    f"ip{family}tables{end}": "/usr/sbin/xtables-nft-multi" for family in ("", "6") for end in ("", "-save", "-restore")
}


@dataclass(frozen=True)
class Image:
    """An image with one program.

    Attributes:
        refs: its names.
        entrypoint: what it runs without a command. Its first word is the program's name in the image.
        program: the program.
        below: layers below that of the program.
        links: symbolic links beside the program, and what they are links to.
    """

    refs: tuple[str, ...]
    entrypoint: tuple[str, ...]
    program: Path
    below: tuple[Path, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)


def write(path: Path) -> None:
    """Write the archive, which is compressed in form only: it stays on this machine."""
    found = images()
    with tarfile.open(path, "w:gz", compresslevel=0) as tar:
        _add(tar, "kubernetes/version", version().encode())
        for program in ("kubelet", "kubectl"):
            tar.add(gotools.built("kubernetes") / program, f"kubernetes/server/bin/{program}")
        tar.add(programs.program(programs.KUBEADM, "kubeadm"), "kubernetes/server/bin/kubeadm")
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
            _add(tar, f"kubernetes/server/bin/{name}.tar", saved([found.pop(name)]))
        # kind reads four archives, and asks a registry for each image that is in none of them.
        _add(tar, "kubernetes/server/bin/kube-proxy.tar", saved(list(found.values())))


def version() -> str:
    """Return the version of Kubernetes, such as ``v1.34.4``."""
    return gotools.MODULES["kubernetes"].version


def inputs() -> list[str]:
    """Return what identifies the content of the archive."""
    names = ["kubernetes", "etcd", "pause", "kind"]
    modules = [*(gotools.MODULES[name] for name in names), programs.KUBEADM, programs.COREDNS, programs.KINDNETD]
    return [*(gotools.build(module).name for module in modules), _proxy_tools().parent.name, Path(__file__).read_text()]


def images() -> dict[str, Image]:
    """Return the images by the names of their programs."""
    kubernetes = gotools.built("kubernetes")
    needed = [*_of_kubeadm(), *_of_kind()]

    def refs(*parts: str) -> tuple[str, ...]:
        return tuple(ref for ref in needed if any(f"/{part}:" in ref for part in parts))

    found = {
        name: Image(refs(name), (name,), kubernetes / name)
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    }
    found["kube-proxy"] = Image(
        refs("kube-proxy"), ("kube-proxy",), kubernetes / "kube-proxy", below=(_proxy_tools(),), links=_IPTABLES
    )
    found["etcd"] = Image(refs("etcd"), ("etcd",), gotools.program("etcd"))
    found["coredns"] = Image(refs("coredns"), ("coredns",), programs.program(programs.COREDNS, "coredns"))
    found["pause"] = Image(refs("pause"), ("pause",), gotools.program("pause"))
    found["kindnetd"] = Image(refs("kindnetd"), ("kindnetd",), programs.program(programs.KINDNETD, "kindnetd"))
    # The provisioner that waits.
    waiting = refs("local-path-provisioner", "local-path-helper")
    found["local-path-provisioner"] = Image(waiting, ("local-path-provisioner",), gotools.program("pause"))
    return found


def saved(images: Sequence[Image]) -> bytes:
    """Return images as ``docker save`` writes them.

    kind reads the names from the first of the files ``repositories`` and ``manifest.json``, and in the second one those
    of one image only.
    """
    files: dict[str, bytes | Path] = {}
    manifest = []
    repositories: dict[str, dict[str, str]] = {}
    for image in images:
        layers: list[bytes | Path] = [*image.below, _layer(image)]
        paths = [f"{_digest(layer)}.tar" for layer in layers]
        files.update(zip(paths, layers, strict=True))
        config = json.dumps(_configuration(image, paths)).encode()
        identity = hashlib.sha256(config).hexdigest()
        files[f"{identity}.json"] = config
        manifest.append({"Config": f"{identity}.json", "RepoTags": list(image.refs), "Layers": paths})
        for ref in image.refs:
            repository, _, tag = ref.rpartition(":")
            repositories.setdefault(repository, {})[tag] = identity
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        _add(tar, "repositories", json.dumps(repositories).encode())
        _add(tar, "manifest.json", json.dumps(manifest).encode())
        for name, content in files.items():
            _add(tar, name, content if isinstance(content, bytes) else content.read_bytes())
    return out.getvalue()


def _configuration(image: Image, layers: Sequence[str]) -> Mapping[str, Any]:
    return {
        "architecture": run(["dpkg", "--print-architecture"]).strip(),
        "os": "linux",
        "config": {"Entrypoint": list(image.entrypoint), "Env": [f"PATH=/{_BIN}:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{name.removesuffix('.tar')}" for name in layers]},
    }


def _layer(image: Image) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(image.program, f"{_BIN}/{image.entrypoint[0]}")
        for name, target in image.links.items():
            member = tarfile.TarInfo(f"{_BIN}/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return out.getvalue()


def _digest(layer: bytes | Path) -> str:
    return hashlib.sha256(layer if isinstance(layer, bytes) else layer.read_bytes()).hexdigest()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _of_kubeadm() -> list[str]:
    kubeadm = programs.program(programs.KUBEADM, "kubeadm")
    return run([kubeadm, "config", "images", "list", "--kubernetes-version", version()]).split()


def _of_kind() -> list[str]:
    """Return the images of kind's own manifests, and the one of the container runtime's settings."""
    kind = gotools.build(programs.KIND_FILES)
    settings = (kind / "images/base/files/etc/containerd/config.toml").read_text()
    manifests = "".join(path.read_text() for path in (kind / "pkg/build/nodeimage").glob("const_*.go"))
    return [*re.findall(r'sandbox_image = "(.+)"', settings), *re.findall(r'"(docker\.io/kindest/.+)"', manifests)]


def _proxy_tools() -> Path:
    """Return a tar file with the programs that kube-proxy runs."""
    return base.debian_tree("--variant=extract", f"--include={','.join(_PROXY_PACKAGES)}")
