"""Flows that send requests to the API server, with the credentials that their pods have."""

import json
import os
import pathlib
import ssl
import urllib.error
import urllib.request
from typing import Any

from flowcluster import flow, task
from flowcluster_api import child_runs, names

FOLDER = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")


def send(method: str, path: str, body: Any = None) -> int:
    """Send a request, and return the HTTP status of the answer."""
    url = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}{path}"
    headers = {"Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json"}
    if (FOLDER / "token").exists():
        headers["Authorization"] = f"Bearer {(FOLDER / 'token').read_text()}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    # Nothing of this tests certificates, and a worker has none to check against.
    context = ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def own_lease() -> str:
    return names.child_name(os.environ["FLOWCLUSTER_RUN_NAME"], os.environ["FLOWCLUSTER_RUN_UID"])


def filled_in(value: Any) -> Any:
    """Replace the placeholders of the test with the names of this run."""
    words = {
        "RUN": os.environ.get("FLOWCLUSTER_RUN_NAME", "none"),
        "UID": os.environ.get("FLOWCLUSTER_RUN_UID", "none"),
        "LEASE": own_lease() if "FLOWCLUSTER_RUN_UID" in os.environ else "none",
    }
    text = json.dumps(value)
    for word, replacement in words.items():
        text = text.replace("{" + word + "}", replacement)
    return json.loads(text)


def send_all(requests: dict[str, Any], refused: list[int]) -> dict[str, int]:
    """Return the statuses that are not a refusal: all statuses would not fit into a result."""
    answers = {what: send(*filled_in(request)) for what, request in requests.items()}
    return {what: status for what, status in answers.items() if status not in refused}


@task
def from_worker(requests: dict[str, Any]) -> dict[str, Any]:
    return {"token": (FOLDER / "token").exists(), "answers": send_all(requests, [401, 403])}


@flow
def from_driver(requests: dict[str, Any]) -> dict[str, int]:
    """Send each request, which is a method, a path and a body; return the statuses that are not 403."""
    return send_all(requests, [403])


@flow
def from_a_worker(requests: dict[str, Any]) -> dict[str, Any]:
    return from_worker.submit(requests).result()


@flow
def children(specs: dict[str, Any]) -> dict[str, str]:
    """Request a child run for each spec; return the operator's answers."""
    from flowcluster.clusters.child_requests import ChildRequests
    from flowcluster.errors import KubernetesError
    from flowcluster.kube.access import connect
    from flowcluster.kube.choice import Choice
    from flowcluster.kube.flow_runs import FlowRuns

    requests = ChildRequests(FlowRuns(connect(Choice())), os.environ)
    answers = {}
    for number, (what, spec) in enumerate(specs.items()):
        try:
            requests.create({"metadata": {"name": f"{os.environ['FLOWCLUSTER_RUN_NAME']}-{number}"}, "spec": spec})
            answers[what] = "created"
        except KubernetesError as error:
            answers[what] = str(error)
    return answers


@flow
def gives_its_lease_away(name: str, uid: str) -> int:
    """Make another run the owner of this run's Lease, with an outcome that would end that run."""
    outcome = {"state": "Failed", "reason": "Evil", "message": "ended by another run", "exitCode": 1, "tasks": {}}
    metadata = {
        "labels": {names.LABEL_RUN: name, names.LABEL_RUN_UID: uid},
        "annotations": {
            "flowcluster.dev/outcome": json.dumps(outcome),
            child_runs.PREFIX + "stolen": json.dumps({"spec": {"cluster": {"kind": "Dask"}}}),
        },
        "ownerReferences": [{**names.reference(name, uid), "controller": True}],
    }
    path = f"/apis/coordination.k8s.io/v1/namespaces/{os.environ['FLOWCLUSTER_NAMESPACE']}/leases/{own_lease()}"
    return send("PATCH", path, {"metadata": metadata})
