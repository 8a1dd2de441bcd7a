"""The credentials that the operator makes for a run."""

from __future__ import annotations

import base64
from pathlib import Path

from flowcluster_operator.new_credentials import new_credentials
from tests.support.tls import shake_hands, strict_context


def test_certificate_of_a_run_passes_strict_checks(tmp_path: Path) -> None:
    """Python 3.13 checks certificates strictly by default."""
    for file, content in new_credentials("run").items():
        (tmp_path / file).write_bytes(base64.b64decode(content))
    context = strict_context(tmp_path / "ca.crt")
    context.check_hostname = False

    shake_hands(context, tmp_path / "tls.crt", tmp_path / "tls.key", "run")
