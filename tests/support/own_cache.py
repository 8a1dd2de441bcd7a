"""A cache of a test's own, in which the tool finds what other runs have built."""

from __future__ import annotations

from pathlib import Path

from tools.cluster import cache

#: What a test can change: clusters, and the lock that builds of images hold.
_OWN = ("clusters", "images")


def make(folder: Path) -> Path:
    """Create the cache in a folder, which is created, and return the folder."""
    folder.mkdir()
    for entry in cache.root().iterdir():
        if entry.name not in _OWN:
            (folder / entry.name).symlink_to(entry)
    return folder
