"""Projects of user code: their files, and projects without files."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from flowcluster.project import discovery, modules
from flowcluster.project.source import Project, Reference, Source


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / (name.replace("__in__", "__init__").replace("_slash_", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    importlib.invalidate_caches()


def found() -> dict[str, Source]:
    project = discovery.find(())
    return {} if project is None else project.sources


def project_of(**texts: str) -> Project:
    """A project of modules, without files."""
    sources = {name: Source(f"/project/{name}.py", False, text.encode()) for name, text in texts.items()}
    return Project(sources, frozenset({"__main__"}))


def using(project: Project) -> Any:
    """A task of that project is executed here, as on a worker."""
    return modules.using(Reference(project.digest, "place"), lambda _: project.packed)
