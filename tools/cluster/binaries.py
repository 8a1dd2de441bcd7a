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
    minor = int(gotools.module_version("kubernetes", "k8s.io/kubernetes").split(".")[1])
    return _suitable("kubectl", _kubectl_minor, lambda found: abs(found - minor) <= KUBECTL_SKEW)


@functools.cache
def helm() -> Path:
    """Return a helm 3."""
    return _suitable("helm", _helm_major, lambda found: found == 3)


def path_of(name: str) -> Path:
    """Return the path of a program by name.

    Raises:
        ToolError: this tool does not provide that program.
    """
    tools = {"kubectl": kubectl, "helm": helm}
    if name not in tools:
        raise ToolError(f"no tool {name!r}: choose {' or '.join(tools)}.")
    return tools[name]()


def _suitable(name: str, version: Callable[[Path], int], fits: Callable[[int], bool]) -> Path:
    on_path = shutil.which(name)
    if on_path:
        try:
            if fits(version(Path(on_path))):
                return Path(on_path)
        except (ToolError, ValueError, KeyError, TypeError):
            pass  # a program that cannot report its version is not suitable
    return gotools.program(name)


def _kubectl_minor(program: Path) -> int:
    answer = json.loads(run([program, "version", "--client", "--output=json"]))
    return int(re.sub(r"\D", "", answer["clientVersion"]["minor"]))


def _helm_major(program: Path) -> int:
    return int(run([program, "version", "--short"]).strip().removeprefix("v").split(".")[0])
