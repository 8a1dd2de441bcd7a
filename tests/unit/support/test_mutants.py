"""A bug is planted into a copy of the operator, at exactly one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chaos.mutants import planted
from tests.support.world import ROOT

FILE = "operator/flowcluster_operator/__init__.py"


def test_bug_is_planted_into_a_copy(tmp_path: Path) -> None:
    before = (ROOT / FILE).read_text()
    first, _, _ = before.partition("\n")
    planted({"name": "bug", "file": FILE, "old": first, "new": "# planted"}, tmp_path)

    assert (tmp_path / FILE).read_text().startswith("# planted\n")
    assert (ROOT / FILE).read_text() == before


def test_bug_is_refused_when_its_text_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="occurs 0 times"):
        planted({"name": "bug", "file": FILE, "old": "no such text", "new": ""}, tmp_path)
