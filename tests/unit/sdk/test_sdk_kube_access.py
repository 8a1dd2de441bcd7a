"""How the SDK reaches the API server."""

from __future__ import annotations

from pathlib import Path

import yaml

from flowcluster.kube.access import connect
from flowcluster.kube.choice import Choice
from tests.support.tls import https_server, incomplete_pair


def test_api_server_with_an_incomplete_certificate_is_accepted(tmp_path: Path) -> None:
    """Python 3.13 refuses by default what kubectl and earlier Pythons accept."""
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
