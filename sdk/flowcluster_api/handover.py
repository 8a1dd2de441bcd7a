"""Requests and answers by which runs of other namespaces get the credentials of a SharedCluster.

A driver pod needs the cluster's credentials. Their Secret is in the cluster's namespace, and the operator has no right
to read Secrets. The exchange has these steps:

1. The operator makes a key pair for the run, and writes a request with the public key into the cluster's root Lease.
2. The keeper, which mounts the credentials, seals them to that key (`flowcluster_api.sealing`) and writes the answer
   into the same Lease.
3. The operator opens the answer and creates a Secret in the namespace of the run.

Each annotation lists what is open now: once a request is removed, its answer is removed too.
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

#: Maximum requests in a Lease at the same time. An answer has about 3 KB, and at most 6; all annotations of an object
#: have 256 KiB at most.
AT_A_TIME = 16
#: Maximum bytes of credentials that can be sealed, as JSON.
CREDENTIALS_LIMIT = 4096
#: The files of a cluster's credentials.
FILES = ("ca.crt", "tls.crt", "tls.key", TOKEN_FILE)
#: Maximum characters of each annotation; a longer one is ignored.
_LIMIT = 150_000
#: Maximum characters of a `CredentialAnswer.problem`; the rest is cut off.
_PROBLEM_LIMIT = 300


class CredentialRequest(NamedTuple):
    """The operator's request for credentials for one run.

    Attributes:
        run: UID of the FlowRun.
        key: the public key to which the keeper seals them, in base64.
    """

    run: str
    key: str


class CredentialAnswer(NamedTuple):
    """The keeper's answer to a request.

    Attributes:
        run: UID of the FlowRun.
        key: the public key in that request.
        sealed: the credentials, sealed to that key; empty where the keeper cannot seal them.
        problem: why the keeper cannot seal them; empty where it can.
    """

    run: str
    key: str
    sealed: str
    problem: str = ""


def requests_in(lease: Mapping[str, Any]) -> tuple[CredentialRequest, ...]:
    """Return the first `AT_A_TIME` requests in a Lease; none where the annotation cannot be parsed."""
    return tuple(CredentialRequest(run, key) for run, key in _rows(lease, ANNOTATION_REQUESTS, 2))


def answers_in(lease: Mapping[str, Any]) -> tuple[CredentialAnswer, ...]:
    """Return the first `AT_A_TIME` answers in a Lease; none where the annotation cannot be parsed."""
    rows = _rows(lease, ANNOTATION_ANSWERS, 4)
    return tuple(CredentialAnswer(run, key, sealed, problem[:_PROBLEM_LIMIT]) for run, key, sealed, problem in rows)


def text_of(rows: Iterable[CredentialRequest] | Iterable[CredentialAnswer]) -> str | None:
    """Return the text of an annotation; None where there are no rows, so that a merge patch removes the annotation.

    The order of the rows does not change the text.

    Args:
        rows: requests or answers.
    """
    ordered = sorted(list(row) for row in rows)
    return json.dumps(ordered, separators=(",", ":")) if ordered else None


def text_in(lease: Mapping[str, Any], annotation: str) -> str | None:
    """Return the text of an annotation of a Lease; None where the Lease does not have the annotation."""
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
