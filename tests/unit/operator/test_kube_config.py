"""How the operator reaches the API server."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml

from flowcluster_operator.kube_config import credentials
from tests.support.tls import incomplete_pair, shake_hands


def test_api_server_with_an_incomplete_certificate_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.13 refuses by default what kubectl and earlier Pythons accept."""
    authority, certificate, key = incomplete_pair(tmp_path)
    data = base64.b64encode(authority.read_bytes()).decode()
    cluster = {"server": "https://127.0.0.1:1", "certificate-authority-data": data}
    kubeconfig = {
        "current-context": "one",
        "clusters": [{"name": "one", "cluster": cluster}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "users": [{"name": "one", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))

    shake_hands(credentials().as_ssl_context(), certificate, key, "127.0.0.1")
