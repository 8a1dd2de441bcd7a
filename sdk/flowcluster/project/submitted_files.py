"""The modules that are packed with the file of a flow for a submission to Kubernetes."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from flowcluster.project import files
from flowcluster.project.discovery import Search
from flowcluster.project.source import Source


class Files(NamedTuple):
    """The modules that a file needs.

    Attributes:
        sources: modules, by name.
        module: name of the file as a module, if it can only be imported as a part of its package; else empty.
    """

    sources: dict[str, Source]
    module: str


def files_for(script: str) -> Files:
    """Return the modules that a file imports, directly and indirectly, by the rule for a flow run's project.

    Raises:
        ValueError: the file imports from above its folder, and is not in a package.
    """
    folders = [os.path.dirname(path) for path in (os.path.abspath(script), os.path.realpath(script))]
    here = os.path.abspath(os.getcwd())
    elsewhere = [os.path.abspath(entry) for entry in sys.path]
    path = [*folders, *(entry for entry in elsewhere if f"{entry}{os.sep}".startswith(f"{here}{os.sep}"))]
    own = os.path.splitext(os.path.basename(script))[0]
    search = Search({*folders, here}, frozenset({own}), path)
    search.imports_of(script, "", files.read(script))
    search.follow()
    if not search.leads_above:
        return Files(search.sources, "")
    top, package = files.package_of(script)
    if not package:
        raise ValueError(
            f"{script} or a module beside it imports relatively from above its folder, which is in no package: add "
            "__init__.py files."
        )
    module = f"{package}.{own}"
    search = Search({top, here}, frozenset(), [top, *path])
    search.add(module)
    return Files(search.sources, module)
