"""The objects of a submitted flow: the FlowRun, and the ConfigMap with its code."""

from __future__ import annotations

import base64
import logging
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from flowcluster._util import texts
from flowcluster.errors import KubernetesError
from flowcluster.kube.choice import Choice
from flowcluster.submit.packing import Code
from flowcluster_api import names

if TYPE_CHECKING:
    from flowcluster.submit.handle import SubmittedRun

logger = logging.getLogger("flowcluster.submission")

Object = dict[str, Any]

#: Letters of unique suffixes, as Kubernetes chooses them: no vowels, so no words; no two that look alike.
_LETTERS, _LENGTH = "bcdfghjklmnpqrstvwxz2456789", 5


class SubmitRequest(NamedTuple):
    """The objects to create for one run of a flow, and where.

    Attributes:
        flow_run: the FlowRun.
        config_map: the ConfigMap with the flow's file and modules; None if the image has them.
        choice: the Kubernetes to use.
        storage: URL of the storage for a result that is too large for the record.
    """

    flow_run: Object
    config_map: Object | None
    choice: Choice
    storage: str | None = None


def submit_request(
    spec: Object, code: Code | None, choice: Choice, storage: str | None, *, name: str, is_exact: bool
) -> SubmitRequest:
    """Return the objects of a run.

    Args:
        spec: of the FlowRun.
        code: the flow's packed file and modules; None if the image has them.
        choice: the Kubernetes to use.
        storage: URL of the storage for a result that is too large for the record.
        name: of the FlowRun, or the beginning of its name.
        is_exact: whether `name` is the whole name.

    Raises:
        ValueError: a text in the objects is not UTF-8, so Kubernetes does not accept it.
    """
    if (text := texts.first_not_utf8((spec, name, choice.namespace))) is not None:
        raise ValueError(f"{text!r} has a character that UTF-8 does not have, so that Kubernetes cannot keep it.")
    run = name if is_exact else f"{name}-{_letters()}"
    flow_run = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": _metadata(run, choice), "spec": spec}
    if code is None:
        return SubmitRequest(flow_run, None, choice, storage)
    # Never the name of an earlier run's ConfigMap, which is deleted some time after that run.
    config_map_name = f"{run[:240]}-{_letters()}"
    flow_run["spec"] = spec | {"flow": spec["flow"] | {"source": {"configMap": {"name": config_map_name}}}}
    metadata = _metadata(config_map_name, choice) | {"labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY}}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": True, **_data(code)}
    return SubmitRequest(flow_run, config_map, choice, storage)


def submit(request: SubmitRequest) -> SubmittedRun:
    """Create the objects.

    The FlowRun is created first, because it owns the ConfigMap. Its pod waits for the ConfigMap. So even if this
    process ends in between, garbage collection deletes the ConfigMap with the FlowRun.

    Raises:
        KubernetesError: the API server refused an object, for the reason in the message. Then there is no run.
    """
    # Imported here: --dry-run only prints the objects.
    try:
        from flowcluster.kube.access import connect
        from flowcluster.kube.flow_runs import FlowRuns
        from flowcluster.submit.handle import SubmittedRun
    except ImportError as error:
        raise ImportError(f'{error}. Submitting needs: pip install "flowcluster[kubernetes]"') from error

    access = connect(request.choice)
    flow_runs = FlowRuns(access)
    created = flow_runs.create(request.flow_run)
    run, uid = created["metadata"]["name"], created["metadata"]["uid"]
    if request.config_map is not None:
        metadata = request.config_map["metadata"] | {"ownerReferences": [names.reference(run, uid)]}
        try:
            flow_runs.create_config_map(request.config_map | {"metadata": metadata})
        except BaseException:
            _delete_incomplete(flow_runs, run, uid)
            raise
    return SubmittedRun(access, flow_runs, run, uid, request.storage)


def _delete_incomplete(flow_runs: Any, run: str, uid: str) -> None:
    try:
        flow_runs.delete(run, uid)
    except KubernetesError as error:
        logger.warning("FlowRun %s has no code and will fail, unless you delete it: %s", run, error)


def _metadata(name: str, choice: Choice) -> Object:
    return {"name": name} | ({"namespace": choice.namespace} if choice.namespace else {})


def _data(code: Code) -> Object:
    texts, rest = {}, {}
    for key, content in code.files().items():
        try:
            texts[key] = content.decode()
        except UnicodeDecodeError:  # an archive, or a file whose first line names another encoding
            rest[key] = base64.b64encode(content).decode()
    return ({"data": texts} if texts else {}) | ({"binaryData": rest} if rest else {})


def _letters() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
