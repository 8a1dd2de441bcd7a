"""The Go programs of a kind node that the tool itself does not need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tools.cluster import gotools
from tools.cluster.gotools import MODULES, Module

_FOLDER = Path(__file__).parent / "go"
_KUBERNETES = MODULES["kubernetes"]
_CONTAINERD = "github.com/containerd/containerd/v2"
KUBEADM = replace(
    _KUBERNETES,
    name="kubeadm",
    programs={"kubeadm": "k8s.io/kubernetes/cmd/kubeadm"},
    folder=_FOLDER / "kubeadm",
    seconds=60,
)
CONTAINERD = Module(
    "containerd",
    {name: f"{_CONTAINERD}/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
    _CONTAINERD,
    lambda version: {f"{_CONTAINERD}/version.Version": version},
    folder=_FOLDER / "containerd",
    seconds=180,
)
CRICTL = Module("crictl", {"crictl": "sigs.k8s.io/cri-tools/cmd/crictl"}, folder=_FOLDER / "crictl", seconds=120)
COREDNS = Module("kubeadm-coredns", {"coredns": "."}, folder=_FOLDER / "coredns", seconds=120)
KINDNETD = Module("kindnetd", {"kindnetd": "."}, folder=_FOLDER / "kindnetd")
#: The files of kind's base image (its entrypoint, units of systemd and settings), and the manifests of its node image.
KIND_FILES = replace(
    MODULES["kind"],
    name="kind-files",
    programs={},
    pinned="sigs.k8s.io/kind",
    assets=("images/base/files", "pkg/build/nodeimage", "pkg/apis/config/defaults"),
    folder=MODULES["kind"].source,
)


def program(module: Module, name: str) -> Path:
    """Return the path of one program of a module, built if needed."""
    return gotools.build(module) / name
