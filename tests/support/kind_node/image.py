"""The node image: built by kind, kept as an archive, and loaded under the name that kind expects."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support import docker_engine
from tests.support.kind_node import base, programs, server
from tools.cluster import cache, gotools
from tools.cluster.errors import ToolError
from tools.cluster.progress import step
from tools.cluster.shell import run


def archive() -> Path:
    """Return an archive of the node image, as ``docker save`` writes it. An engine of its own builds it."""

    def make(part: Path) -> None:
        with (
            TemporaryDirectory(prefix="flowcluster-kind-") as temporary,
            docker_engine.running(Path(temporary)) as engine,
        ):
            folder = Path(temporary)
            base.build(engine, folder / "base")
            server.write(folder / "server.tar.gz")
            build = ["build", "node-image", "--type", "file", "--base-image", base.REF, "--image", name()]
            environment = engine.environment | {"TMPDIR": str(folder)}
            with step("building a node image of kind"):
                run([gotools.program("kind"), *build, folder / "server.tar.gz"], env=environment)
            engine.docker("save", "--output", part / "node.tar", name())

    key = cache.digest([*base.inputs(), *server.inputs()])[:16]
    return cache.entry("kind-node", key, make, "building a node image of kind") / "node.tar"


def load(folder: Path, image: Path) -> None:
    """Load the node image into the store of a Docker engine, as if the engine had pulled it by kind's own reference.

    That reference has the digest of the published image, which an engine records only when it pulls. So this writes the
    record while the engine is off.

    Args:
        folder: the engine's.
        image: the archive.
    """
    with docker_engine.running(folder) as engine, step("loading the node image of kind"):
        engine.docker("load", "--quiet", "--input", image)
    (store,) = (folder / "data/image").glob("*/repositories.json")
    names = json.loads(store.read_text())
    repository = name().partition(":")[0]
    known = names["Repositories"][repository]
    known[f"{repository}@{_reference().partition('@')[2]}"] = known[name()]
    store.write_text(json.dumps(names))


def name() -> str:
    """Return the name that kind expects, such as ``kindest/node:v1.34.0``, without the digest."""
    return _reference().partition("@")[0]


def _reference() -> str:
    """Return the default node image of the pinned kind."""
    source = gotools.build(programs.KIND_FILES) / "pkg/apis/config/defaults/image.go"
    found = re.search(r'Image = "(\S+@sha256:\S+)"', source.read_text())
    if not found:
        raise ToolError(f"{source} names no node image.")
    return found[1]
