"""The values of the charts, from `values.yaml`: each value, its default and the comment above it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from tools.docs.comments import comment_above
from tools.docs.markdown import code, plain, table

ROOT = Path(__file__).resolve().parents[2]


def values(chart: str) -> str:
    """Return the table of the values of a chart, which is a folder below ``charts``."""
    text = (ROOT / "charts" / chart / "values.yaml").read_text(encoding="utf-8")
    document = yaml.compose(text)
    assert isinstance(document, yaml.MappingNode)
    rows = _rows(document, "", text.splitlines())
    return table(("value", "default", "meaning"), ((code(name), default, plain(text)) for name, default, text in rows))


def _rows(node: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[tuple[str, str, str]]:
    for key, value in node.value:
        name, meaning = prefix + key.value, comment_above(key.start_mark.line, lines, "#")
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            if meaning:
                yield name, "", meaning
            yield from _rows(value, f"{name}.", lines)
        else:
            yield name, _default(value), meaning


def _default(node: yaml.Node) -> str:
    loaded = yaml.safe_load(yaml.serialize(node))
    if loaded is None or loaded == "":
        return "" if loaded is None else code('""')
    text = yaml.safe_dump(loaded, default_flow_style=True, width=10_000, sort_keys=False)
    return code(text.removesuffix("...\n").strip()) if len(text) < 120 else "see values.yaml"
