"""The source of a project's modules, as it is sent from the flow's process to workers."""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import pickle
import re
import zlib
from collections.abc import Mapping
from types import CodeType
from typing import NamedTuple

#: Begins the name of the package that holds a project on a worker. The project's digest follows.
PREFIX = "_flowcluster_"

_DIGITS = 16
_ROOT = re.compile(rf"{PREFIX}[0-9a-f]{{{_DIGITS}}}\.")


class Source(NamedTuple):
    """One module.

    Attributes:
        path: path of its file in the flow's process; empty for a package without ``__init__.py``.
        is_package: whether it is a package, which can contain modules.
        text: the file's bytes.
        code: the compiled file, marshalled; empty where it does not compile.
    """

    path: str
    is_package: bool
    text: bytes = b""
    code: bytes = b""


class Reference(NamedTuple):
    """A project that a task needs.

    Attributes:
        digest: of the project's modules.
        place: name by which workers get the project from the cluster.
    """

    digest: str
    place: str


class Project:
    """The modules of a project.

    Attributes:
        digest: equal for equal names and files.
        sources: the modules by their full names, parents before children.
        scripts: names of modules that are sent by value, such as ``__main__``; what their functions import can be a
            module of the project.
        packed: these attributes as bytes.
    """

    def __init__(self, sources: Mapping[str, Source], scripts: frozenset[str]) -> None:
        self.sources = {name: sources[name] for name in sorted(sources)}
        self.scripts = scripts
        plain = [(name, source.path, source.is_package, source.text) for name, source in self.sources.items()]
        content = pickle.dumps((plain, sorted(scripts)), protocol=5)
        self.digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
        whole = (self.digest, importlib.util.MAGIC_NUMBER, [tuple(one) for one in self.sources.items()], scripts)
        self.packed = zlib.compress(pickle.dumps(whole, protocol=5), 1)

    @staticmethod
    def unpacked(packed: bytes) -> Project:
        """Return the project from its `packed` bytes."""
        project = Project.__new__(Project)
        project.packed = packed
        project.digest, magic, sources, project.scripts = pickle.loads(zlib.decompress(packed))
        # Another Python cannot use the compiled files.
        same = magic == importlib.util.MAGIC_NUMBER
        project.sources = {name: source if same else source._replace(code=b"") for name, source in sources}
        return project

    @property
    def root(self) -> str:
        """Name of the package that holds the project on a worker."""
        return PREFIX + self.digest

    def has(self, name: str) -> bool:
        """Return whether the project has the first part of a module's name."""
        return name.partition(".")[0] in self.sources


def compiled(source: Source, name: str) -> CodeType:
    """Return the code of a module. Raises SyntaxError if its file does not compile."""
    if source.code:
        code: CodeType = marshal.loads(source.code)
        return code
    return compile(source.text, source.path or f"<package {name}>", "exec", dont_inherit=True)


def public(name: str) -> str:
    """Return the name that a module of a project has in the flow's process; any other name unchanged."""
    return name.partition(".")[2] if name.startswith(PREFIX) else name


def cleaned(text: str) -> str:
    """Return a text with the names that modules have in the flow's process."""
    return _ROOT.sub("", text) if PREFIX in text else text
