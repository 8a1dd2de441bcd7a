"""The contract suite in a pod: its files, and the program that runs it on the pod's cluster."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from flowcluster.clusters.ray import access

#: Distributions that the runtime image lacks.
_LACKING = ("pytest", "pytest-timeout", "pluggy", "iniconfig")
#: Files of theirs, besides modules, that are needed: they have the version, and the plugins.
_METADATA = ("METADATA", "entry_points.txt")
_ROOT = Path(__file__).resolve().parents[2]
_SUITE = ("tests/conftest.py", "tests/contract", "tests/support")
#: Time in which the pod must become a node of its cluster (s).
_JOIN_SECONDS = 60
#: Time limit of one test (s): its tasks wait for processes that start in other pods.
_TEST_SECONDS = 300


def archive() -> bytes:
    """The suite and pytest, as a ZIP file that Python can import from."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as files:
        folders: set[Path] = set()
        for path, name in _files():
            files.write(path, str(name))
            folders.update(name.parents)
        # A package without an __init__.py is found in a ZIP file only if its folder has an entry.
        for folder in sorted(folders - {Path()}):
            files.mkdir(str(folder))
    return content.getvalue()


def _files() -> Iterator[tuple[Path, Path]]:
    """Yield each file and its name in the archive."""
    yield _ROOT / "pyproject.toml", Path("pyproject.toml")
    for part in _SUITE:
        top = _ROOT / part
        for path in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            yield path, path.relative_to(_ROOT)
    for name in _LACKING:
        for file in metadata.distribution(name).files or ():
            if file.suffix == ".py" or file.name in _METADATA:
                yield Path(str(file.locate())), Path(file)


def main(kind: str, address: str, *files: str) -> int:
    """Run the suite on the cluster of that kind at `address`.

    Args:
        kind: `Dask`, or `Ray`, which this pod joins as a node.
        address: of the scheduler, or of the head.
        files: of the suite; all, if none is given.

    Returns:
        pytest's exit code.
    """
    # Only this one of the installed plugins: pytest would rewrite flowcluster, which is imported already.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    options = ["-v", "--color=no", "-p", "no:cacheprovider", "-p", "pytest_timeout", f"--timeout={_TEST_SECONDS}"]
    arguments = [*options, f"--{kind.lower()}-address", address, *(files or ["tests/contract"])]
    if kind == "Dask":
        return int(pytest.main(arguments))
    import ray

    with access.inside(address, _JOIN_SECONDS):
        try:
            return int(pytest.main(arguments))
        finally:
            ray.shutdown()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
