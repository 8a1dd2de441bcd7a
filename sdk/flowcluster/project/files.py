"""The files of a project's modules: their contents, their import statements, and the files of a package."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator

#: Folders that hold no modules of a project.
FOREIGN = frozenset({"site-packages", "dist-packages", "node_modules", "__pycache__"})

#: The module of each import statement, with the names that follow ``import``; or of a call of ``import_module``.
_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]*(\([^)]*\)|[^#;\n]*)|import[ \t]+([^#;\n]+))"
    rb"|import_module\(\s*[\"']([.\w]+)[\"']",
    re.MULTILINE,
)
_NAME = re.compile(rb"[.\w]+")


def imports_in(text: bytes) -> Iterator[tuple[str, list[str]]]:
    """Yield names of modules in import statements, each with the names that are imported from it."""
    for base, names, plain, called in _IMPORT.findall(text):
        if plain:
            for part in plain.split(b","):
                if found := _NAME.match(part.strip()):
                    yield found[0].decode(), []
        elif called:
            yield called.decode(), []
        else:
            yield base.decode(), [name.decode() for name in _NAME.findall(names) if name != b"as"]


def modules_below(package: str, folder: str) -> Iterator[tuple[str, str]]:
    """Yield names and paths of the modules in a package."""
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name.isidentifier() and name not in FOREIGN]
        inner = os.path.relpath(path, folder)
        stem = package if inner == "." else ".".join([package, *inner.split(os.sep)])
        for file in files:
            name, ending = os.path.splitext(file)
            if ending == ".py" and name.isidentifier():
                yield (stem if name == "__init__" else f"{stem}.{name}"), os.path.join(path, file)


def package_of(path: str) -> tuple[str, str]:
    """Return the folder above the packages of a file, and the dotted name of its package; empty without a package."""
    top, names = os.path.dirname(os.path.abspath(path)), list[str]()
    while os.path.isfile(os.path.join(top, "__init__.py")) and os.path.basename(top).isidentifier():
        names.insert(0, os.path.basename(top))
        top = os.path.dirname(top)
    return top, ".".join(names)


_texts: dict[str, tuple[tuple[int, int], bytes]] = {}


def read(path: str) -> bytes:
    """Return the content of a file, which is read again only when it has changed."""
    status = os.stat(path)
    stamp = status.st_mtime_ns, status.st_size
    known = _texts.get(path)
    if known is None or known[0] != stamp:
        with open(path, "rb") as file:
            known = _texts[path] = stamp, file.read()
    return known[1]


def compiled_code(path: str, text: bytes) -> bytes:
    """Return the marshalled code in Python's cache for a file; empty if the cache has none for this content."""
    try:
        with open(importlib.util.cache_from_source(path), "rb") as file:
            data = file.read()
    except (OSError, NotImplementedError):
        return b""
    stamp = int(os.stat(path).st_mtime) & 0xFFFFFFFF
    expected = stamp.to_bytes(4, "little") + (len(text) & 0xFFFFFFFF).to_bytes(4, "little")
    is_current = data[:4] == importlib.util.MAGIC_NUMBER and data[4:8] == bytes(4) and data[8:16] == expected
    return data[16:] if is_current else b""
