"""The cache of what the tool builds: outside the checkout, keyed by content, with complete entries only."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.cluster.progress import say

ENV_CACHE = "FLOWCLUSTER_CACHE"


def root() -> Path:
    """Return the cache directory: ``$FLOWCLUSTER_CACHE``, else ``flowcluster`` in the user's cache directory."""
    if chosen := os.environ.get(ENV_CACHE):
        return Path(chosen).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).resolve() / "flowcluster"


def digest(parts: Iterable[str | bytes]) -> str:
    """Return a hash (64 hex digits) of a sequence. The boundaries between its parts count too."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "big"))
        sha.update(data)
    return sha.hexdigest()


def tree_digest(folder: Path, files: Iterable[Path] | None = None) -> str:
    """Return a hash of the names, executable bits and contents of ``files`` (default: all files below ``folder``)."""
    chosen = [path for path in folder.rglob("*") if path.is_file()] if files is None else list(files)
    parts: list[str | bytes] = []
    for path in sorted(chosen):
        parts += [path.relative_to(folder).as_posix(), "x" if os.access(path, os.X_OK) else "-", path.read_bytes()]
    return digest(parts)


@contextmanager
def locked(path: Path, doing: str) -> Iterator[None]:
    """Hold an exclusive lock while the body runs. A second process waits, and prints what it waits for.

    The kernel releases the lock when the holder ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that is {doing}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def entry(kind: str, key: str, make: Callable[[Path], None], doing: str) -> Path:
    """Return the folder ``<cache>/<kind>/<key>``, filled by ``make`` if it does not exist yet.

    ``make`` fills a temporary folder, which is then renamed. So the entry is complete or absent, also when
    this process is killed. Two processes that need the same entry make it once.
    """
    folder = root() / kind / key
    if folder.is_dir():
        return folder
    with locked(root() / kind / f"{key}.lock", doing):
        if folder.is_dir():
            return folder
        for stale in folder.parent.glob(f"{key}.part-*"):
            shutil.rmtree(stale, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix=f"{key}.part-", dir=folder.parent))
        try:
            make(part)
            part.chmod(0o755)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder
