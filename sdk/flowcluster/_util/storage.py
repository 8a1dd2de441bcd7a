"""Storage of results in files: on this machine, or at an fsspec URL. No other module uses fsspec."""

from __future__ import annotations

import functools
import os
import pickle
import time
from typing import Any, NamedTuple

from flowcluster._util import pickling, texts

ENV_STORAGE = "FLOWCLUSTER_RESULT_STORAGE"


def result_name(namespace: str, run: str, uid: str) -> str:
    """Return the name of the file with the result of a FlowRun."""
    return f"{namespace}-{run}-{uid}.pickle"


def shown(url: str) -> str:
    """Return the URL of a storage without a user's name and password, and without a slash at its end."""
    protocol, found, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{protocol}{found}{host.rpartition('@')[2]}{slash}{path}".rstrip("/")


class Entry(NamedTuple):
    """A stored value.

    Attributes:
        expires: the time after which it cannot be used, in seconds since the epoch; None without an expiration.
        value: the value itself.
    """

    expires: float | None
    value: Any

    def is_current(self) -> bool:
        """Return whether the value can be used now."""
        return self.expires is None or time.time() < self.expires


def default_url() -> str:
    """Return the default location of results."""
    return os.environ.get(ENV_STORAGE) or os.path.join(os.path.expanduser("~"), ".flowcluster", "results")


class Storage:
    """A folder of results: cached ones by keys of any length, and those of runs by file names.

    All methods raise what the file system raises.

    Args:
        url: path of a directory, or an fsspec URL.

    Raises:
        ValueError: no installed file system serves the URL.
    """

    def __init__(self, url: str) -> None:
        import fsspec  # type: ignore[import-untyped]

        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ValueError(f"Results cannot be kept in {shown(url)!r}: {error}") from error

    def read(self, key: str) -> Entry | None:
        """Return the cached entry of `key`; None if there is none."""
        try:
            data = self._files.cat_file(self._path(key))
        except FileNotFoundError:
            return None
        return Entry(*pickle.loads(data))

    def write(self, key: str, value: Any, lifetime: float | None) -> None:
        """Cache `value` under `key` for `lifetime` seconds, or forever. A reader gets the whole value or nothing."""
        expires = None if lifetime is None else time.time() + lifetime
        data = pickling.dumps((expires, value))
        path = self._path(key)
        self._files.makedirs(self._root, exist_ok=True)
        unfinished = f"{path}.{os.urandom(4).hex()}"
        self._files.pipe_file(unfinished, data)
        self._files.mv(unfinished, path)

    def write_result(self, name: str, value: Any) -> None:
        """Write the result of a run, pickled, to the file of this name. No process reads the file before that."""
        data = pickling.dumps(value)
        self._files.makedirs(self._root, exist_ok=True)
        self._files.pipe_file(f"{self._root}/{name}", data)

    def read_result(self, name: str) -> Any:
        """Return the result in the file of this name. Raises FileNotFoundError if there is none."""
        return pickle.loads(self._files.cat_file(f"{self._root}/{name}"))

    def lock_path(self, key: str) -> str | None:
        """Return the file to lock while the value of `key` is computed; None where files cannot be locked."""
        from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

        return f"{self._path(key)}.lock" if isinstance(self._files, LocalFileSystem) else None

    def _path(self, key: str) -> str:
        import hashlib

        return f"{self._root}/{hashlib.sha256(texts.as_bytes(key)).hexdigest()}"


@functools.lru_cache(maxsize=32)
def open_storage(url: str) -> Storage:
    """Return the storage of a directory or an fsspec URL."""
    return Storage(url)
