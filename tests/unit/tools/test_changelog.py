from __future__ import annotations

import re
import tomllib

from tools.generate import ROOT


def test_changelog_fragments_have_names_that_towncrier_reads() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]
    types = "|".join(item["directory"] for item in settings["type"])
    fragment = re.compile(rf"(\+[a-z0-9-]+|\d+)\.({types})\.md")

    names = {path.name for path in (ROOT / settings["directory"]).iterdir()} - {"README.md"}

    assert [name for name in names if not fragment.fullmatch(name)] == []


def test_changelog_has_the_line_below_which_towncrier_writes() -> None:
    assert "\n<!-- towncrier release notes start -->\n" in (ROOT / "CHANGELOG.md").read_text()
