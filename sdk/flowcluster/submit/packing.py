"""Packing the code of a flow: its file, and the modules that it needs, for a ConfigMap."""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

from flowcluster.project import by_value, discovery, submitted_files

#: Bytes that a ConfigMap can have.
LIMIT = 1024 * 1024

_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")

#: Key of the archive with modules that are in packages: a key of a ConfigMap cannot contain a folder.
ARCHIVE = "flowcluster-modules.zip"


class Code(NamedTuple):
    """A packed file and the modules that it needs.

    Attributes:
        file: name of the file, without folders.
        content: content of the file.
        modules: further keys of the ConfigMap, with their contents.
        module: dotted name of the file, if it is packed as a module of its package; else empty.
    """

    file: str
    content: bytes
    modules: Mapping[str, bytes] = {}
    module: str = ""

    def files(self) -> dict[str, bytes]:
        """Return the contents of the ConfigMap, by key."""
        return dict(self.modules) if self.module else {self.file: self.content, **self.modules}

    def entrypoint(self, flow: str) -> str:
        """Return the entrypoint of a flow in the file."""
        return f"{self.module or self.file}:{flow}"


class FlowLocation(NamedTuple):
    """Where a flow is defined.

    Attributes:
        where: path of its file, or dotted name of its module.
        name: name of the flow in the file or module.
        is_file: whether `where` is a file.
    """

    where: str
    name: str
    is_file: bool


def location_of(flow: Any) -> FlowLocation:
    """Return the location of a flow.

    Raises:
        ValueError: another process could not find the flow.
    """
    module = sys.modules.get(flow.fn.__module__)
    name = next((key for key, value in vars(module).items() if value is flow), None) if module else None
    if module is None or name is None:
        raise ValueError(
            f"Flow {flow.name!r} cannot be found by name: only a flow that is a variable of its module can be "
            "submitted, with the options that it has there."
        )
    # The module's spec has the real name of a module that was started by ``python -m package.module``.
    spec = module.__spec__
    dotted = spec.name if spec is not None else module.__name__
    # A file that was loaded as a script can have a dot in its name.
    if ("." in dotted and dotted not in by_value.scripts) or hasattr(module, "__path__"):
        return FlowLocation(dotted, name, is_file=False)
    path = getattr(module, "__file__", None)
    if not path or not os.path.isfile(path):
        raise ValueError(f"Flow {flow.name!r} is in no file: write it into one, such as flow.py, and import it here.")
    return FlowLocation(path, name, is_file=True)


def location_at(entrypoint: str) -> FlowLocation:
    """Return the location that ``FILE.py:FUNCTION`` or ``package.module:FUNCTION`` names."""
    where, _, name = entrypoint.rpartition(":")
    return FlowLocation(where, name, where.endswith(".py"))


def packed(path: str) -> Code:
    """Return the file at `path`, with the modules that it needs from its folder.

    Raises:
        ValueError: they cannot be packed.
    """
    file = os.path.basename(path)
    if not _KEY.fullmatch(file):
        raise ValueError(f"{file!r} cannot be packed: name the file with letters, digits, '-', '_' and '.' only.")
    with open(path, "rb") as opened:
        content = opened.read()
    beside, archived = {}, {}
    needed = submitted_files.files_for(path)
    for name, source in needed.sources.items():
        if not source.path:
            continue  # a folder
        if not source.is_package and "." not in name and _KEY.fullmatch(f"{name}.py"):
            beside[f"{name}.py"] = source.text
        else:
            inside = "/__init__.py" if source.is_package else ".py"
            archived[name.replace(".", "/") + inside] = source.text
    code = Code(file, content, beside | ({ARCHIVE: _zipped(archived)} if archived else {}), needed.module)
    if (size := sum(len(key) + len(data) for key, data in code.files().items())) > LIMIT:
        also = f" and the modules that it imports ({', '.join(sorted({*beside, *archived}))[:200]}) have" * bool(
            beside or archived
        )
        raise ValueError(
            f"{path}{also or ' has'} {size / LIMIT:.1f} MiB, and a ConfigMap has at most 1 MiB: build an image with "
            "the code, and submit package.module:FUNCTION with that image."
        )
    return code


def _zipped(files: Mapping[str, bytes]) -> bytes:
    with io.BytesIO() as data:
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(files.items()):
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        return data.getvalue()


def unpack(folder: str) -> None:
    """Make the modules in the archive in `folder` importable. Do nothing without an archive."""
    archive = os.path.join(folder, ARCHIVE)
    if archive in _unpacked or not os.path.isfile(archive):
        return
    target = tempfile.mkdtemp(prefix="flowcluster-modules-")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(target)
    _unpacked.add(archive)
    sys.path.insert(0, target)
    discovery.roots.add(target)


_unpacked: set[str] = set()
