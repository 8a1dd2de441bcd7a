"""Address and credentials of the API server: from the pod's ServiceAccount, or from the kubeconfig."""

from __future__ import annotations

import dataclasses
import ssl

import kopf


class Credentials(kopf.ConnectionInfo):
    """Address and credentials of the API server."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """Return a context that accepts the same certificates as kubectl.

        Python 3.13 also refuses certificates that lack optional fields, which authorities of clusters can lack.
        """
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def credentials() -> Credentials:
    """Return the pod's ServiceAccount, else the user of the kubeconfig.

    Raises:
        kopf.LoginError: there is neither.
    """
    settings = kopf.OperatorSettings()
    found = kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)
    if found is None:
        raise kopf.LoginError("no ServiceAccount and no kubeconfig: set KUBECONFIG, or run in a cluster")
    return Credentials(**{field.name: getattr(found, field.name) for field in dataclasses.fields(found)})
