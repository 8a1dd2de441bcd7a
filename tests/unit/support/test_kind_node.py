"""The programs of the node image that the tests of kind make."""

from __future__ import annotations

from tests.support.kind_node.programs import KUBEADM
from tools.cluster.gotools import MODULES


def test_kubeadm_has_the_version_of_the_other_programs_of_kubernetes() -> None:
    """Their go.mod files are separate, so that tests of kind do not build the one-node cluster again."""
    assert KUBEADM.version == MODULES["kubernetes"].version
