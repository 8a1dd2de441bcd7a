"""kubectl and helm for users, tests and scripts: the ones on PATH if they fit, else the project's builds."""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from tools.cluster import gotools
from tools.cluster.errors import ToolError
from tools.cluster.shell import run

#: Minor versions by which kubectl and the API server may differ.
KUBECTL_SKEW = 1


@functools.cache
def kubectl() -> Path:
    """Return a kubectl within one minor version of the project's Kubernetes."""
    return _kubectl_on_path() or gotools.program("kubectl")


@functools.cache
def helm() -> Path:
    """Return a helm 3."""
    return _helm_on_path() or gotools.program("helm")


def path_of(name: str) -> Path:
    """Return the path of a program by name.

    Raises:
        ToolError: this tool does not provide that program.
    """
    tools = {"kubectl": kubectl, "helm": helm}
    if name not in tools:
        raise ToolError(f"no tool {name!r}: choose {' or '.join(tools)}.")
    return tools[name]()


def to_build() -> list[str]:
    """Return the names of the modules of `gotools` from which kubectl and helm are built, if PATH has none that fit."""
    found = {"kubernetes": _kubectl_on_path(), "helm": _helm_on_path()}
    return [module for module, program in found.items() if program is None]


def _kubectl_on_path() -> Path | None:
    minor = int(gotools.module_version("kubernetes", "k8s.io/kubernetes").split(".")[1])
    return _on_path("kubectl", _kubectl_minor, lambda found: abs(found - minor) <= KUBECTL_SKEW)


def _helm_on_path() -> Path | None:
    return _on_path("helm", _helm_major, lambda found: found == 3)


def _on_path(name: str, version: Callable[[Path], int], fits: Callable[[int], bool]) -> Path | None:
    on_path = shutil.which(name)
    if on_path:
        try:
            if fits(version(Path(on_path))):
                return Path(on_path)
        except (ToolError, ValueError, KeyError, TypeError):
            pass  # a program that cannot report its version is not suitable
    return None


def _kubectl_minor(program: Path) -> int:
    answer = json.loads(run([program, "version", "--client", "--output=json"]))
    return int(re.sub(r"\D", "", answer["clientVersion"]["minor"]))


def _helm_major(program: Path) -> int:
    return int(run([program, "version", "--short"]).strip().removeprefix("v").split(".")[0])
