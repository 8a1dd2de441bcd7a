"""Answer requests for credentials: the keeper seals the cluster's credentials to the key of a request."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowcluster_api import handover, keeper
from flowcluster_api.handover import CredentialAnswer, CredentialRequest

logger = logging.getLogger("flowcluster.keeper")


class CredentialSealer:
    """Answers the requests in a Lease.

    Only runs that the instructions list get an answer. This object seals a request once and keeps the answer, so that
    the annotation changes only when another client changes it. Then the keeper writes the annotation again.

    Args:
        folder: the folder with the credentials; None for a cluster without credentials.
        cluster: UID of the SharedCluster.
    """

    def __init__(self, folder: Path | None, cluster: str) -> None:
        self._folder, self._cluster = folder, cluster
        self._sealed: dict[CredentialRequest, CredentialAnswer] = {}

    def answers(self, lease: Mapping[str, Any]) -> str | None:
        """Return the text of the annotation with the answers; None if the Lease contains no request."""
        instructions = keeper.read(lease)
        listed = instructions.digests if instructions is not None else frozenset()
        requests = [request for request in handover.requests_in(lease) if keeper.digest_of(request.run) in listed]
        self._sealed = {request: answer for request, answer in self._sealed.items() if request in requests}
        return handover.text_of([self._answer(request) for request in requests])

    def _answer(self, request: CredentialRequest) -> CredentialAnswer:
        if (known := self._sealed.get(request)) is not None:
            return known
        try:
            sealed = self._seal(request)
        except (ImportError, OSError, ValueError) as error:
            return CredentialAnswer(*request, "", _problem(error))
        logger.info("Sealed the credentials for the run with UID %s", request.run)
        self._sealed[request] = CredentialAnswer(*request, sealed)
        return self._sealed[request]

    def _seal(self, request: CredentialRequest) -> str:
        # Not at the top: clusters whose runs are all in their own namespace do not need the package and its memory.
        from flowcluster_api.sealing import SealError, seal

        if self._folder is None:
            raise SealError("the cluster has no credentials")
        content = {name: (self._folder / name).read_bytes() for name in handover.FILES}
        return seal(content, request.key, request.run, self._cluster)


def _problem(error: Exception) -> str:
    """Return why the credentials were not sealed. The text contains no part of the credentials."""
    if isinstance(error, ImportError):
        return f'the cluster\'s image lacks the package {error.name}: pip install "flowcluster[dask]" or "[ray]"'
    return str(error)
