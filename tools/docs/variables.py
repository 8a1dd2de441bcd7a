"""Environment variables, from the constants with their names and the comments above the constants."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from flowcluster_operator import settings
from tools.docs.comments import comment_above
from tools.docs.markdown import code, plain, table

ROOT = Path(__file__).resolve().parents[2]
_NAME = re.compile(rf"{settings.PREFIX}[A-Z_]+")


def variables(source: str) -> str:
    """Return the table of the variables of ``operator`` or of ``contract``."""
    if source == "operator":
        return table(("variable", "default", "meaning"), sorted(_settings()))
    found: dict[str, str] = {}
    for name, meaning in _constants(ROOT / "sdk" / "flowcluster_api"):
        found.setdefault(name, meaning)
    return table(("variable", "meaning"), ((code(name), plain(found[name])) for name in sorted(found)))


def _settings() -> Iterator[tuple[str, str, str]]:
    """Yield a row for each field of the operator's settings."""
    tree = ast.parse(Path(settings.__file__).read_text(encoding="utf-8"))
    (node,) = [each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == "Settings"]
    comments = _comments(Path(settings.__file__), node.body)
    for field in dataclasses.fields(settings.Settings):
        value = field.default
        default = str(value).lower() if isinstance(value, bool) else value if isinstance(value, int | str) else ""
        yield code(settings.PREFIX + field.name.upper()), code(str(default)), plain(comments[field.name])


def _constants(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the value and the comment of each constant of a package that is the name of a variable."""
    for path in sorted(folder.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        comments = _comments(path, tree.body)
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name, value = node.targets[0].id, node.value
                if isinstance(value, ast.Constant) and _NAME.fullmatch(str(value.value)) and name in comments:
                    yield str(value.value), comments[name]


def _comments(path: Path, body: list[ast.stmt]) -> dict[str, str]:
    """Return the text of the ``#:`` comment above each assignment, by the assigned name.

    Assignments in adjacent lines share the comment above the first one.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    found: dict[str, str] = {}
    last_line, last_text = -1, ""
    for node in body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        above = comment_above(node.lineno - 1, lines, "#:").replace("``", "")
        text = above or (last_text if node.lineno == last_line + 1 else "")
        if text and isinstance(target, ast.Name):
            found[target.id] = text
        last_line, last_text = node.end_lineno or node.lineno, text
    return found
