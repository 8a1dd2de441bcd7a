from __future__ import annotations

import pathlib
import re

import pytest

from tools.generate import ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "changelog.d/README.md",
        "charts/*/README.md",
        "examples/*.md",
        "requirements/*.md",
        "tools/**/*.md",
    )
    for path in ROOT.glob(pattern)
)
#: A path of the repository in backquotes. One with a placeholder in capitals is none.
QUOTED_PATH = re.compile(r"`((?:[a-z.][\w.-]*/)+[a-z_.][\w.-]*)`")


def exists(document: pathlib.Path, target: str) -> bool:
    return (document.parent / target.partition("#")[0]).exists()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_of_documents_lead_to_files(name: str) -> None:
    document = ROOT / name

    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))

    assert [link for link in links if "://" not in link and not exists(document, link)] == []


def test_paths_that_contributing_names_exist() -> None:
    paths = QUOTED_PATH.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))

    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []
