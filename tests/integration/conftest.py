"""The fixture of a rig: the real control plane, and nodes on which no container runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.rig.rig import Rig


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    """A rig for all tests of this process."""
    with Rig() as running:
        yield running
