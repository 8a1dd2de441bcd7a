"""The parts of reference pages that are made from the code, by the names that pages give them."""

from __future__ import annotations

from collections.abc import Callable

from tools.docs import charts, command_line, crds, python_api, variables

#: Each function takes the argument of the page's mark and returns Markdown.
PARTS: dict[str, Callable[[str], str]] = {
    "fields": crds.fields,
    "columns": crds.columns,
    "chart": charts.values,
    "command": command_line.command,
    "module": python_api.module,
    "variables": variables.variables,
}
