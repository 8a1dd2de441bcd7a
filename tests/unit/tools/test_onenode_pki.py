"""The certificates of the one-node cluster."""

from __future__ import annotations

from pathlib import Path

from tests.support.tls import shake_hands, strict_context
from tools.cluster.onenode.pki import Authority


def test_certificate_of_a_server_passes_strict_checks(tmp_path: Path) -> None:
    """Python 3.13 checks certificates strictly by default."""
    authority = Authority(tmp_path)
    server = authority.issue("server", "kube-apiserver", hosts=["10.0.0.1", "localhost"])

    for host in ("10.0.0.1", "localhost"):
        shake_hands(strict_context(authority.pair.certificate), server.certificate, server.key, host)
