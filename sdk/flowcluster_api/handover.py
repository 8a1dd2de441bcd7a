"""Credentials of a SharedCluster on their way to runs of other namespaces: what operator and keeper exchange.

A driver pod needs the cluster's credentials. Their Secret is in the cluster's namespace, and the operator has no right
to read Secrets. The operator makes a key pair for the run and writes a request with the public key into the cluster's
root Lease. The keeper, which mounts the credentials, seals them to that key (`flowcluster_api.sealing`) and writes the
answer into the same Lease. The operator opens it and creates a Secret in the namespace of the run.

Both annotations are levels: an answer whose request is gone goes, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from flowcluster_api import names
from flowcluster_api.driver import TOKEN_FILE

#: Annotation of the Lease with the operator's requests as JSON; absent where there are none.
ANNOTATION_REQUESTS = f"{names.GROUP}/credential-requests"
#: Annotation of the Lease with the keeper's answers as JSON; absent where there are none.
ANNOTATION_ANSWERS = f"{names.GROUP}/sealed-credentials"

#: Requests that a Lease has at the same time. An answer has about 3 KB, and at most 6; the annotations of an object
#: hold 256 KiB in all.
AT_A_TIME = 16
#: Bytes of credentials that are sealed at most, as JSON.
CREDENTIALS_LIMIT = 4096
#: The files of the credentials of a cluster.
FILES = ("ca.crt", "tls.crt", "tls.key", TOKEN_FILE)
#: Characters of each annotation that are read.
_LIMIT = 150_000
#: Characters of the reason why the keeper cannot seal.
_PROBLEM_LIMIT = 300


class CredentialRequest(NamedTuple):
    """The operator needs the credentials for a run.

    Attributes:
        run: UID of its FlowRun.
        key: the public key to seal them to, in base64.
    """

    run: str
    key: str


class CredentialAnswer(NamedTuple):
    """What the keeper has for a request.

    Attributes:
        run: UID of the FlowRun.
        key: the public key in the request that it answers.
        sealed: the credentials, sealed to that key; empty where the keeper cannot seal them.
        problem: why it cannot; empty where it can.
    """

    run: str
    key: str
    sealed: str
    problem: str = ""


def requests_in(lease: Mapping[str, Any]) -> tuple[CredentialRequest, ...]:
    """Return the requests in a Lease, the first `AT_A_TIME` of them; none for a text of another form."""
    return tuple(CredentialRequest(run, key) for run, key in _rows(lease, ANNOTATION_REQUESTS, 2))


def answers_in(lease: Mapping[str, Any]) -> tuple[CredentialAnswer, ...]:
    """Return the answers in a Lease, the first `AT_A_TIME` of them; none for a text of another form."""
    rows = _rows(lease, ANNOTATION_ANSWERS, 4)
    return tuple(CredentialAnswer(run, key, sealed, problem[:_PROBLEM_LIMIT]) for run, key, sealed, problem in rows)


def text_of(rows: Iterable[CredentialRequest] | Iterable[CredentialAnswer]) -> str | None:
    """Return the text of an annotation; None where there are no requests or answers, and the annotation is removed.

    Equal requests, and equal answers, have equal texts in any order.
    """
    ordered = sorted(list(row) for row in rows)
    return json.dumps(ordered, separators=(",", ":")) if ordered else None


def text_in(lease: Mapping[str, Any], annotation: str) -> str | None:
    """Return the text of an annotation of a Lease; None where it has none."""
    text = (lease["metadata"].get("annotations") or {}).get(annotation)
    return text if isinstance(text, str) else None


def _rows(lease: Mapping[str, Any], annotation: str, length: int) -> list[list[str]]:
    text = text_in(lease, annotation)
    if text is None or len(text) > _LIMIT:
        return []
    try:
        rows: Any = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(rows, list) or not all(_is_row(row, length) for row in rows):
        return []
    return rows[:AT_A_TIME]


def _is_row(row: Any, length: int) -> bool:
    return isinstance(row, list) and len(row) == length and all(isinstance(text, str) for text in row)
