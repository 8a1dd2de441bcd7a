"""Client for FlowRuns, their Leases, and their ConfigMaps with code."""

from __future__ import annotations

import json
from typing import Any

import urllib3
from kubernetes import client

from flowcluster._util import texts
from flowcluster.errors import KubernetesError, NotFound
from flowcluster.kube.access import Access
from flowcluster_api import names

Object = dict[str, Any]

#: Seconds to connect to the API server, and to wait for its answer.
TIMEOUT = (3.0, 10.0)

_FLOW_RUNS = (names.GROUP, names.VERSION)
_LEASES = ("coordination.k8s.io", "v1")


class FlowRuns:
    """Client for the FlowRuns of one namespace.

    Every method raises `KubernetesError` with the message of the API server, and `NotFound` if the object does not
    exist.

    Args:
        access: the Kubernetes and namespace.
        timeout: seconds to connect, and to wait for an answer.
    """

    def __init__(self, access: Access, timeout: tuple[float, float] = TIMEOUT) -> None:
        # Without retries of urllib3: the caller decides whether and when to repeat a request.
        access.api.rest_client.pool_manager.connection_pool_kw["retries"] = urllib3.Retry(0, redirect=3)
        self._access = access
        self._api = client.CustomObjectsApi(access.api)
        self._core = client.CoreV1Api(access.api)
        self._host = access.api.configuration.host
        self.namespace = access.namespace
        self._timeout = timeout

    def user(self) -> str | None:
        """Return the name by which the API server knows this client; None where it does not report that.

        Kubernetes before 1.28 does not.
        """
        review = client.AuthenticationV1Api(self._access.api).create_self_subject_review
        try:
            answer = self._answer("name its user", review, client.V1SelfSubjectReview())
        except KubernetesError:
            return None
        return str(answer.status.user_info.username)

    def create(self, body: Object) -> Object:
        """Create a FlowRun, and return the stored object."""
        if (text := texts.first_not_utf8(body)) is not None:
            # The API server would replace the character.
            raise KubernetesError(f"Cannot create a FlowRun: {text!r} has a character that UTF-8 does not have.")
        return self._call(
            f"create a FlowRun in namespace {self.namespace}",
            self._api.create_namespaced_custom_object,
            *_FLOW_RUNS,
            self.namespace,
            names.PLURAL,
            body,
            field_validation="Strict",  # else the API server drops unknown fields
        )

    def get(self, name: str) -> Object:
        """Return the FlowRun of this name."""
        return self._call(
            f"read FlowRun {name}",
            self._api.get_namespaced_custom_object,
            *_FLOW_RUNS,
            self.namespace,
            names.PLURAL,
            name,
        )

    def find(self, name: str, uid: str) -> Object | None:
        """Return the FlowRun of this name and UID; None if it does not exist, or if another one has the name."""
        try:
            run = self.get(name)
        except NotFound:
            return None
        return run if run["metadata"]["uid"] == uid else None

    def find_readable(self, name: str) -> Object | None:
        """Return the FlowRun of that name; None if it does not exist, or if this client has no right to read it yet."""
        try:
            return self.get(name)
        except KubernetesError as error:
            if is_out_of_reach(error):
                return None
            raise

    def patch(self, name: str, spec: Object) -> Object:
        """Merge-patch the spec of a FlowRun."""
        return self._call(
            f"change FlowRun {name}",
            self._api.patch_namespaced_custom_object,
            *_FLOW_RUNS,
            self.namespace,
            names.PLURAL,
            name,
            {"spec": spec},
            field_validation="Strict",
        )

    def delete(self, name: str, uid: str) -> Object:
        """Delete exactly this FlowRun. Garbage collection deletes what it owns."""
        return self._call(
            f"delete FlowRun {name}",
            self._api.delete_namespaced_custom_object,
            *_FLOW_RUNS,
            self.namespace,
            names.PLURAL,
            name,
            body={"preconditions": {"uid": uid}},
        )

    def create_config_map(self, body: Object) -> Object:
        """Create a ConfigMap."""
        return self._call(
            f"create a ConfigMap in namespace {self.namespace}",
            self._core.create_namespaced_config_map,
            self.namespace,
            body,
        )

    def get_lease(self, name: str) -> Object:
        """Return the Lease of that name."""
        return self._call(
            f"read Lease {name}",
            self._api.get_namespaced_custom_object,
            *_LEASES,
            self.namespace,
            "leases",
            name,
        )

    def patch_lease(self, name: str, patch: Object) -> Object:
        """Merge-patch a Lease."""
        return self._call(
            f"renew Lease {name}",
            self._api.patch_namespaced_custom_object,
            *_LEASES,
            self.namespace,
            "leases",
            name,
            patch,
        )

    def _call(self, what: str, method: Any, *args: Any, **options: Any) -> Object:
        found: Object = self._answer(what, method, *args, **options)
        return found

    def _answer(self, what: str, method: Any, *args: Any, **options: Any) -> Any:
        try:
            return method(*args, **options, _request_timeout=self._timeout)
        except client.ApiException as error:
            kind = NotFound if error.status == 404 else KubernetesError
            raise kind(f"Kubernetes would not {what}: {_explain(error)}") from error
        except urllib3.exceptions.HTTPError as error:
            cause = getattr(error, "reason", None) or error
            raise KubernetesError(f"The API server at {self._host} cannot be reached: {cause}") from error


def is_out_of_reach(error: KubernetesError) -> bool:
    """Return whether an object does not exist, or the client has no right to it, which the operator can grant later."""
    return isinstance(error.__cause__, client.ApiException) and error.__cause__.status in (403, 404)


def _explain(error: client.ApiException) -> str:
    """Return the API server's message, with the remedy if the message has none."""
    try:
        message = str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        message = f"{error.status} {error.reason}"
    if error.status == 404 and message == "404 page not found":
        return (
            "it does not know the kind. Install the flowcluster operator there: helm install flowcluster "
            "charts/flowcluster; or check that this is the Kubernetes you mean."
        )
    if error.status == 401:
        return f"{message}. Log in again: the credentials in the kubeconfig are refused."
    return message
