"""The images, their inputs, and the tags that follow from these."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.cluster import cache, gotools
from tools.cluster.errors import ToolError

ROOT = Path(__file__).resolve().parents[3]
REPOSITORY = "docker.io/flowcluster"
TAG_DIGITS = 12


@dataclass(frozen=True)
class Base:
    """The base image of builds.

    Attributes:
        identity: identifies its content.
        platform: operating system and processor in Go's notation, such as ``linux/arm64``. The built images have the
            same platform.
    """

    identity: str
    platform: str


@dataclass(frozen=True)
class Spec:
    """One image.

    Attributes:
        dockerfile: relative to the repository's root, as are the inputs.
        target: the stage to build. Empty: the last one.
        inputs: files and folders that the Dockerfile copies.
        programs: Go programs that the Dockerfile copies from the folder ``bin``.
    """

    name: str
    dockerfile: str
    inputs: tuple[str, ...]
    target: str = ""
    programs: tuple[str, ...] = ()


_PROJECT = ("requirements/build.lock", "pyproject.toml", "LICENSE", "sdk", "operator")
SPECS = {
    spec.name: spec
    for spec in (
        Spec("operator", "Dockerfile", (*_PROJECT, "requirements/operator.lock"), "operator"),
        Spec("runtime", "Dockerfile", (*_PROJECT, "requirements/runtime.lock"), "runtime"),
        Spec("dask-operator", "tools/cluster/images/dask-operator/Dockerfile", ("requirements/dask-operator.lock",)),
        Spec("kuberay", "tools/cluster/images/kuberay/Dockerfile", (), programs=("ray-operator",)),
        Spec("prefect", "tools/cluster/images/prefect/Dockerfile", ("requirements/prefect.lock", "sdk")),
    )
}
#: Images of an installation. The others are for some tests.
INSTALLED = ("operator", "runtime", "dask-operator", "kuberay")


def named(name: str) -> Spec:
    """Return the image of that name. Raise ToolError with the known names."""
    if name not in SPECS:
        raise ToolError(f"no image {name!r}: choose from {', '.join(SPECS)}.")
    return SPECS[name]


def reference(spec: Spec, base: Base, root: Path = ROOT) -> str:
    """Return the image's full name. Its tag is a hash of the Dockerfile, the base and all inputs below ``root``."""
    built = [gotools.program(name, base.platform).parent.name for name in spec.programs]
    digest = cache.digest([cache.tree_digest(root, _files(spec, root)), spec.target, base.identity, *built])
    return f"{REPOSITORY}/{spec.name}:{digest[:TAG_DIGITS]}"


def snapshot(spec: Spec, base: Base, folder: Path) -> None:
    """Copy the inputs into a folder, so that an edit during the build cannot get into the image with the old tag."""
    for path in _files(spec, ROOT):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    for name in spec.programs:
        (folder / "bin").mkdir(exist_ok=True)
        shutil.copy2(gotools.program(name, base.platform), folder / "bin" / name)


def _files(spec: Spec, root: Path) -> list[Path]:
    def below(path: Path) -> Iterator[Path]:
        if path.is_file():
            yield path
        for found in path.rglob("*"):
            parts = found.relative_to(path).parts
            if found.is_file() and "__pycache__" not in parts and found.suffix != ".pyc":
                yield found

    return [path for name in (spec.dockerfile, *spec.inputs) for path in below(root / name)]
