"""How the SDK reaches the API server."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowcluster.kube import port_forward
from flowcluster.kube.access import connect
from flowcluster.kube.choice import Choice
from tests.support.tls import https_server, incomplete_pair, shake_hands


def test_api_server_with_an_incomplete_certificate_is_accepted(tmp_path: Path) -> None:
    """Python 3.13 refuses by default certificates that kubectl and earlier Pythons accept."""
    authority, certificate, key = incomplete_pair(tmp_path)
    with https_server(certificate, key) as address:
        cluster = {"server": address, "certificate-authority": str(authority)}
        kubeconfig = {
            "current-context": "one",
            "clusters": [{"name": "one", "cluster": cluster}],
            "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
            "users": [{"name": "one", "user": {"token": "t"}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
        access = connect(Choice(kubeconfig=str(tmp_path / "kubeconfig")))

        assert access.api.call_api("GET", f"{address}/version").status == 200


@pytest.mark.parametrize("given_as", ["file", "data", "SSL_CERT_FILE"])
def test_every_connection_trusts_a_custom_certificate_authority(
    given_as: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, certificate, key = incomplete_pair(tmp_path)
    cluster: dict[str, Any] = {}
    if given_as == "file":
        cluster["certificate-authority"] = str(authority)
    elif given_as == "data":
        cluster["certificate-authority-data"] = base64.b64encode(Path(authority).read_bytes()).decode()
    else:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with https_server(certificate, key) as address:
        kubeconfig = {
            "current-context": "one",
            "clusters": [{"name": "one", "cluster": {**cluster, "server": address}}],
            "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
            "users": [{"name": "one", "user": {"token": "t"}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
        access = connect(Choice(kubeconfig=str(tmp_path / "kubeconfig")))

        assert access.api.call_api("GET", f"{address}/version").status == 200
        shake_hands(port_forward._trust(access.api.configuration), certificate, key, "127.0.0.1")
