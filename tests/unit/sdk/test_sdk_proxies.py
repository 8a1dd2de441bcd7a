"""Which connections to the API server go through a proxy."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

client = pytest.importorskip("kubernetes.client")

from flowcluster.errors import KubernetesError  # noqa: E402
from flowcluster.kube.access import Access, proxy_of  # noqa: E402
from flowcluster.kube.port_forward import open_path  # noqa: E402


def access(host: str, proxy: str | None = None) -> Access:
    settings = client.Configuration()
    settings.host = host
    if proxy:
        settings.proxy = proxy
    return Access(client.ApiClient(settings), "team", is_inside=False)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all proxies except those of the test."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("spelled", [str.lower, str.upper])
@pytest.mark.parametrize(
    ("excepted", "is_used"),
    [("", True), ("other.example", True), ("api.example", False), (".example", False), ("*", False)],
)
def test_connection_to_a_pod_uses_the_proxy_unless_it_is_excluded(
    spelled: Any, excepted: str, is_used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(spelled("https_proxy"), "http://proxy:3128")
    monkeypatch.setenv(spelled("no_proxy"), excepted)

    assert proxy_of(access("https://api.example:6443")) == ("http://proxy:3128" if is_used else None)


def test_proxy_of_the_kubeconfig_is_used() -> None:
    assert proxy_of(access("https://api.example", "http://mine:1")) == "http://mine:1"
    assert proxy_of(access("https://api.example")) is None


def test_proxy_of_another_kind_is_refused_without_its_password() -> None:
    there = access("https://api.example")
    there.api.configuration.proxy = "socks5://me:secret@proxy:1080"

    with pytest.raises(KubernetesError, match=r"not through socks5://proxy:1080\.$"):
        asyncio.run(open_path(there, "pod", 80))
