"""The Go programs that the tool needs, built once from pinned modules and kept in the cache."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.cluster import cache, golang
from tools.cluster.errors import ToolError
from tools.cluster.progress import say, step
from tools.cluster.shell import follow, run

KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)


@dataclass(frozen=True)
class Module:
    """The programs that are built from one folder with a go.mod.

    Attributes:
        name: of the module's entries in the cache.
        programs: program name to the import path of its main package.
        pinned: the module of go.mod whose version the programs report.
        stamp: returns, for that version, the variables that the linker sets. Without them, the programs would report
            placeholders.
        seconds: time of a first build on two cores, for the message to the user.
        assets: folders of the pinned module that are kept beside the programs.
        folder: the folder. Default: the one of that name in ``tools/cluster/go``.
    """

    name: str
    programs: dict[str, str]
    pinned: str = ""
    stamp: Callable[[str], dict[str, str]] = lambda _version: {}
    seconds: int = 10
    assets: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def source(self) -> Path:
        """The folder with go.mod."""
        return self.folder or golang.MODULES / self.name

    @property
    def version(self) -> str:
        """The version, such as ``v1.34.4``, that go.mod requires of the pinned module."""
        return _required(self.source, self.pinned)


def _stamp_kubernetes(version: str) -> dict[str, str]:
    major, minor, _patch = version.removeprefix("v").split(".")
    base = "k8s.io/component-base/version"
    return {
        f"{base}.gitVersion": version,
        f"{base}.gitMajor": major,
        f"{base}.gitMinor": minor,
        f"{base}.gitTreeState": "clean",
        "k8s.io/client-go/pkg/version.gitVersion": version,
    }


def _stamp_helm(version: str) -> dict[str, str]:
    # The Kubernetes release that `helm template` and `helm lint` assume without a cluster.
    _major, minor, _patch = module_version("kubernetes", "k8s.io/kubernetes").removeprefix("v").split(".")
    package = "helm.sh/helm/v3"
    return {
        f"{package}/internal/version.version": version,
        f"{package}/pkg/chartutil.k8sVersionMajor": "1",
        f"{package}/pkg/chartutil.k8sVersionMinor": minor,
        f"{package}/pkg/lint/rules.k8sVersionMajor": "1",
        f"{package}/pkg/lint/rules.k8sVersionMinor": minor,
    }


MODULES = {
    module.name: module
    for module in (
        Module(
            "kubernetes",
            {name: f"k8s.io/kubernetes/cmd/{name}" for name in KUBERNETES_PROGRAMS},
            "k8s.io/kubernetes",
            _stamp_kubernetes,
            seconds=420,
        ),
        Module("etcd", {"etcd": "."}, seconds=20),
        Module("coredns", {"coredns": "."}, seconds=120),
        Module("helm", {"helm": "helm.sh/helm/v3/cmd/helm"}, "helm.sh/helm/v3", _stamp_helm, seconds=180),
        Module("kind", {"kind": "sigs.k8s.io/kind"}),
        Module(
            "kuberay",
            {"ray-operator": "github.com/ray-project/kuberay/ray-operator"},
            "github.com/ray-project/kuberay/ray-operator",
            assets=("config/crd/bases", "config/rbac"),
            seconds=180,
        ),
        Module("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, "sigs.k8s.io/kwok", seconds=120),
        Module("network-policies", {"network-policies": "."}, seconds=90),
        Module("pause", {"pause": "."}),
    )
}
_MODULE_OF = {program: module for module in MODULES.values() for program in module.programs}


def module_version(name: str, pinned: str) -> str:
    """Return the version, such as ``v1.34.4``, that a module folder's go.mod requires of ``pinned``."""
    return _required(golang.MODULES / name, pinned)


def _required(folder: Path, pinned: str) -> str:
    text = (folder / "go.mod").read_text()
    found = re.search(rf"^(?:require\s+|\t){re.escape(pinned)} (v\S+)", text, re.MULTILINE)
    if not found:
        raise ToolError(f"{folder / 'go.mod'} does not require {pinned}: restore the file from git.")
    return found[1]


def announce(names: Iterable[str]) -> None:
    """Print which of these modules the first run on a machine must build, and how long that takes."""
    machine = golang.machine()
    missing = [name for name in names if not (cache.root() / f"bin/{name}" / _key(MODULES[name], machine)).is_dir()]
    seconds = sum(MODULES[name].seconds for name in missing)
    if seconds > 60:
        say(
            f"first run on this machine: {', '.join(missing)} are built from source, which takes about "
            f"{seconds / 60:.0f} minutes on two cores; later runs find them in {cache.root()}"
        )


def built(name: str, platform: str = "") -> Path:
    """Return the folder with the programs of one of `MODULES`. See `build`."""
    return build(MODULES[name], platform)


def build(module: Module, platform: str = "") -> Path:
    """Return the folder with a module's programs, built now if the cache does not have them.

    Args:
        module: one of `MODULES`, or another one.
        platform: platform of the programs, such as ``linux/arm64``. Default: this machine.
    """
    platform = platform or golang.machine()

    def make(folder: Path) -> None:
        say(f"building {module.name} from source, only this once: about {module.seconds} s on two cores")
        for program, package in module.programs.items():
            _build(module.source, package, folder / program, _ldflags(module), platform)
        for asset in module.assets:
            list_folder: list[str | Path] = [golang.go(), "list", "-m", "-f", "{{.Dir}}", module.pinned]
            where = run(list_folder, cwd=module.source, env=golang.environment())
            shutil.copytree(Path(where.strip()) / asset, folder / asset, copy_function=shutil.copyfile)

    return cache.entry(f"bin/{module.name}", _key(module, platform), make, f"building {module.name}")


def _ldflags(module: Module) -> str:
    version = module.version if module.pinned else ""
    return " ".join(["-s", "-w", *(f"-X {key}={value}" for key, value in module.stamp(version).items())])


def _key(module: Module, platform: str) -> str:
    # The toolchain is a part of the key, so that a newer toolchain builds the programs again.
    parts = [cache.tree_digest(module.source), _ldflags(module), golang.version()]
    return cache.digest([*parts, *([platform] if platform != golang.machine() else [])])[:16]


def _build(source: Path, package: str, target: Path, ldflags: str, platform: str) -> None:
    """Build one program, and report the number of compiled packages out of all packages of the program."""
    hint = "The Go module proxy must be reachable for the first build."
    with step(f"building {target.name}") as here:
        here.reached = "downloading the source"
        environment = golang.environment(platform)
        listed = run([golang.go(), "list", "-mod=readonly", "-deps", package], cwd=source, env=environment, hint=hint)
        total, compiled = len(listed.splitlines()), 0

        def count(line: str) -> None:
            nonlocal compiled
            if not line.startswith("go: "):
                compiled += 1
                here.reached = f"{compiled} of at most {total} packages compiled"

        flags = ["-v", "-trimpath", "-mod=readonly", "-buildvcs=false", "-ldflags", ldflags]
        build: list[str | Path] = [golang.go(), "build", *flags, "-o", target, package]
        follow(build, count, cwd=source, env=environment, hint=hint)


def program(name: str, platform: str = "") -> Path:
    """Return the path of one program, for example ``kubectl``. Build its module if needed. See `built`."""
    return build(_MODULE_OF[name], platform) / name
