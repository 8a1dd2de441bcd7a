"""Golden objects: what a builder makes, as a YAML file that a reviewer reads."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml

from flowcluster_api import relay
from flowcluster_operator.resources import Object

#: The relay's source code is a part of some objects; this stands for it.
_SOURCE = Path(relay.__file__).read_text(encoding="utf-8")
_RELAY = "<the source of flowcluster_api/relay.py>"


class _Dumper(yaml.SafeDumper):
    """Repeats what occurs twice, instead of an anchor."""

    def ignore_aliases(self, data: Any) -> bool:
        """See `yaml.SafeDumper`."""
        return True


def text_of(objects: list[Object]) -> str:
    """Return the objects as YAML, in the order of their fields."""
    text: str = yaml.dump_all(_shortened(objects), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return text


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(item) for item in value]
    return _RELAY if value == _SOURCE else value


class Golden:
    """The golden files of a folder.

    Args:
        folder: where they are.
        updates: whether files that are missing or differ are written.
        command: the command that does so, for messages.
    """

    def __init__(self, folder: Path, updates: bool, command: str) -> None:
        self._folder, self._updates, self._command = folder, updates, command

    def names(self) -> set[str]:
        """Return the names of all files, without their suffix."""
        return {path.stem for path in self._folder.glob("*.yaml")}

    def check(self, name: str, objects: list[Object]) -> None:
        """Compare the objects with the file of that name. Fails when it is missing or differs."""
        path, built = self._folder / f"{name}.yaml", text_of(objects)
        if self._updates:
            self._folder.mkdir(exist_ok=True)
            path.write_text(built, encoding="utf-8")
        kept = path.read_text(encoding="utf-8") if path.exists() else None
        if kept == built:
            return
        found = "is missing" if kept is None else "differs from what is built"
        diff = difflib.unified_diff((kept or "").splitlines(), built.splitlines(), path.name, "built", lineterm="")
        raise AssertionError("\n".join([f"{path.name} {found}; when that is meant: {self._command}", *diff]))
