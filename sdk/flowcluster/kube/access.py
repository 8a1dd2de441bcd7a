"""Access to a Kubernetes cluster by the rules of kubectl.

The access uses the given kubeconfig and context, else the default kubeconfig, else the ServiceAccount of the pod.
"""

from __future__ import annotations

import os
import pathlib
from typing import Any, NamedTuple

import urllib3
from kubernetes import client, config
from kubernetes.client.rest import should_bypass_proxies
from kubernetes.config.config_exception import ConfigException

from flowcluster.errors import KubernetesError
from flowcluster.kube.certificates import accept_incomplete_certificates
from flowcluster.kube.choice import TOKEN_FOLDER, Choice

_DEFAULT_KUBECONFIG = "~/.kube/config"


class Access(NamedTuple):
    """Access to a Kubernetes.

    Attributes:
        api: the official client's connection.
        namespace: the namespace to use.
        is_inside: whether this process runs in a pod of that Kubernetes, and reaches its Services by name.
    """

    api: Any
    namespace: str
    is_inside: bool


def connect(choice: Choice) -> Access:
    """Return the access to the chosen Kubernetes.

    Raises:
        KubernetesError: there is no such configuration.
    """
    paths = choice.kubeconfig or os.environ.get("KUBECONFIG") or _DEFAULT_KUBECONFIG
    is_given = bool(choice.kubeconfig or choice.context)
    if not is_given and not _any_exists(paths) and (TOKEN_FOLDER / "token").exists():
        return _inside(choice)
    try:
        api = config.new_client_from_config(paths, choice.context, persist_config=False)
        namespace = choice.namespace or _namespace_of(paths, choice.context) or "default"
    except (ConfigException, OSError) as error:
        raise KubernetesError(
            f"No Kubernetes is configured: {error}. Set KUBECONFIG, or give kubeconfig and context as to kubectl."
        ) from error
    return Access(_lenient(api), namespace, is_inside=False)


def headers(access: Access) -> dict[str, str]:
    """Return the credentials for one request. Call it for each request: credentials can be short-lived."""
    found = access.api.configuration.auth_settings().values()
    return {item["key"]: item["value"] for item in found if item["in"] == "header" and item["value"]}


def proxy_of(access: Access) -> str | None:
    """Return the proxy for connections to the API server; None without one, or if NO_PROXY excludes the server.

    The rule is that of the official client, for connections that the official client does not make.
    """
    settings = access.api.configuration
    if not settings.proxy or should_bypass_proxies(settings.host, no_proxy=settings.no_proxy or ""):
        return None
    proxy: str = settings.proxy
    return proxy


def _inside(choice: Choice) -> Access:
    settings = client.Configuration()
    config.load_incluster_config(settings)
    namespace = choice.namespace or (TOKEN_FOLDER / "namespace").read_text().strip()
    return Access(_lenient(client.ApiClient(settings)), namespace, is_inside=True)


def _lenient(api: Any) -> Any:
    settings, context = api.configuration, urllib3.util.ssl_.create_urllib3_context()
    accept_incomplete_certificates(context)
    if not (settings.ssl_ca_cert or settings.ca_cert_data):
        context.load_default_certs()
    # urllib3 loads the authority, the client's certificate and the other settings into this context.
    api.rest_client.pool_manager.connection_pool_kw["ssl_context"] = context
    return api


def _any_exists(paths: str) -> bool:
    return any(path and pathlib.Path(path).expanduser().exists() for path in paths.split(os.pathsep))


def _namespace_of(paths: str, context: str | None) -> str | None:
    contexts, current = config.list_kube_config_contexts(paths)
    chosen = next((item for item in contexts if item["name"] == context), current)
    namespace: str | None = (chosen.get("context") or {}).get("namespace")
    return namespace
