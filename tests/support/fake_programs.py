"""Programs that stand for Docker and Go on PATH: they answer from files, and record how they are called."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tools.cluster import docker, golang

#: Answers from a folder: `buildx` exists where the plugin does, `client` has the release of the command line, `refusal`
#: what it prints where no engine answers, `room` the engine's memory and folder, `failure` how builds fail. A build
#: leaves its secrets, its context and its arguments there.
_DOCKER = """#!/bin/sh
cd "$(dirname "$0")/docker-state" || exit 9
printf '%s\\n' "$*" >> calls
case "$1 $2" in
"buildx version") test -e buildx ;;
"version --format")
    if test -e refusal && test "$3" = "{{.Server.Version}}"; then cat refusal >&2; exit 1; fi
    cat client ;;
"image inspect")
    case "$*" in
    *--format*) echo "sha256:base $(cat platform)" ;;
    *flowcluster/*) false ;;
    esac ;;
"image ls") cat images ;;
"info --format") cat room ;;
"pull "*) printf %s "${DOCKER_DEFAULT_PLATFORM:-$(cat platform)}" > platform ;;
"build "*)
    for argument; do
        case "$argument" in
        id=*,src=*) name=${argument#id=}; cp "${argument#*,src=}" "secret-${name%%,*}" ;;
        esac
        context=$argument
    done
    cp -r "$context" context
    env > environment
    if test -e failure; then cat failure >&2; exit 1; fi ;;
esac
"""
#: Writes the platform that it builds for into the program that it builds.
_GO = """#!/bin/sh
case "$*" in
"env GOVERSION") echo go1.99.0 ;;
"env GOHOSTOS GOHOSTARCH") tr / '\\n' < "$(dirname "$0")/machine" ;;
"list -m "*) echo "$(dirname "$0")/module" ;;
"list "*) echo one ;;
"build "*)
    while test "$1" != -o; do shift; done
    printf '%s/%s' "$GOOS" "$GOARCH" > "$2" ;;
esac
"""


class FakeDocker:
    """A Docker engine and its command line, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._state = folder / "docker-state"
        self._state.mkdir()
        _install(folder / "docker", _DOCKER)
        (self._state / "calls").touch()
        self.set_client("28.2.2", has_buildx=True)
        self.set_room(8 * 2**30, folder)
        self.set_platform("linux/amd64")

    def set_client(self, version: str, *, has_buildx: bool) -> None:
        """Replace the command line by one of that release."""
        (self._state / "client").write_text(version)
        (self._state / "buildx").unlink(missing_ok=True)
        if has_buildx:
            (self._state / "buildx").touch()

    def set_platform(self, platform: str) -> None:
        """Replace the base image by one of that platform."""
        (self._state / "platform").write_text(platform)

    def set_images(self, *names: str) -> None:
        """Replace the images that it lists."""
        (self._state / "images").write_text("".join(f"{name}\n" for name in names))

    def set_room(self, memory: int, root: Path) -> None:
        """Set the engine's memory (bytes) and its folder."""
        (self._state / "room").write_text(f"{memory} {root}\n")

    def fail_builds(self, text: str) -> None:
        """Let each build fail after it has printed this text."""
        (self._state / "failure").write_text(text)

    def refuse(self, text: str) -> None:
        """Let no engine answer, for the reason that the command line prints."""
        (self._state / "refusal").write_text(text)

    @property
    def calls(self) -> list[str]:
        """The arguments of each call."""
        return (self._state / "calls").read_text().splitlines()

    @property
    def build(self) -> str:
        """The arguments of the only build."""
        (found,) = [call for call in self.calls if call.startswith("build ")]
        return found

    @property
    def context(self) -> Path:
        """A copy of the files that the build got."""
        return self._state / "context"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the build."""
        lines = (self._state / "environment").read_text().splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def secret(self, name: str) -> str | None:
        """The content of a secret that the build got, else None."""
        path = self._state / f"secret-{name}"
        return path.read_text() if path.exists() else None


@contextmanager
def on_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the programs of a folder precede all others while the body runs, for code that remembers theirs."""
    known: Sequence[functools._lru_cache_wrapper[Any]] = (docker.trouble, golang.go, golang.version, golang.machine)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    for fact in known:
        fact.cache_clear()
    try:
        yield
    finally:
        for fact in known:
            fact.cache_clear()


def install_go(folder: Path, machine: str) -> None:
    """Install a `go` for a machine of that platform."""
    _install(folder / "go", _GO)
    (folder / "machine").write_text(machine)
    for asset in ("config/crd/bases", "config/rbac"):
        (folder / "module" / asset).mkdir(parents=True)


def install_kind(folder: Path, *clusters: str, failure: str = "") -> None:
    """Install a `kind` that lists these clusters, and creates one unless it fails with a text."""
    listed = "".join(f"echo {name};" for name in clusters)
    create = f"echo {shlex.quote(failure)} >&2; exit 1" if failure else "true"
    _install(folder / "kind", f'#!/bin/sh\ncase "$1" in get) {listed} ;; create) {create} ;; esac\n')


def install_program(folder: Path, name: str, script: str) -> None:
    """Install a program that runs one line of shell."""
    _install(folder / name, f"#!/bin/sh\n{script}\n")


def _install(path: Path, program: str) -> None:
    path.write_text(program)
    path.chmod(0o700)
