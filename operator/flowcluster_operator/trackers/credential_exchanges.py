"""Credential exchanges: a run gets the credentials of a SharedCluster in another namespace from the cluster's keeper.

Private keys and credentials are only in memory, until the Secret of the run exists. After a restart, the operator
creates another key pair and another request. Not pure: each key pair differs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from flowcluster_api import handover
from flowcluster_api.handover import CredentialRequest
from flowcluster_api.sealing import SealError, new_key, open_sealed, public_text
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import Object


@dataclasses.dataclass
class CredentialExchange:
    """The exchange for one run.

    Attributes:
        cluster: the SharedCluster.
        origin: name of the cluster's Secret.
        private: the key that decrypts the answer.
        public: the key in the request.
        since: when the request was created, in seconds of a monotonic clock.
        data: of the Secret to create; None until the answer is decrypted.
        problem: why the last answer cannot be used; None where there is no answer, or it was decrypted.
    """

    cluster: RunId
    origin: str
    private: X25519PrivateKey = dataclasses.field(repr=False)
    public: str
    since: float
    data: dict[str, str] | None = dataclasses.field(default=None, repr=False)
    problem: str | None = None


class CredentialExchanges:
    """The exchanges with keepers, by run."""

    def __init__(self) -> None:
        self._exchanges: dict[RunId, CredentialExchange] = {}
        #: By run whose Secret this process created: name of the cluster's Secret that the run's Secret is a copy of.
        self._origins: dict[RunId, str] = {}

    def requests(
        self, cluster: RunId, origin: str, needing: Sequence[RunId], now: float
    ) -> tuple[CredentialRequest, ...]:
        """Return the requests that the cluster's Lease must have now, ordered by run.

        Exchanges for runs that do not need it any more, and for an earlier Secret of the cluster, are forgotten. A
        request stays until its answer is decrypted. Then the request of the next run takes its place.

        Args:
            cluster: the SharedCluster.
            origin: name of its Secret.
            needing: the runs that need a Secret with the same content, and lack it.
            now: seconds of a monotonic clock.
        """
        wanted = set(needing)
        for run, found in list(self._exchanges.items()):
            if found.cluster == cluster and (run not in wanted or found.origin != origin):
                del self._exchanges[run]
        in_flight = sum(found.cluster == cluster and found.data is None for found in self._exchanges.values())
        for run in needing:
            if in_flight >= handover.AT_A_TIME:
                break
            if run not in self._exchanges:
                private = new_key()
                self._exchanges[run] = CredentialExchange(cluster, origin, private, public_text(private), now)
                in_flight += 1
        open_ones = ((run, found) for run, found in self._exchanges.items() if found.cluster == cluster)
        return tuple(sorted(CredentialRequest(run.uid, found.public) for run, found in open_ones if found.data is None))

    def read(self, cluster: RunId, lease: Object) -> None:
        """Decrypt the answers in a Lease. An answer to another request, or to no request, is ignored."""
        answers = {answer.run: answer for answer in handover.answers_in(lease)}
        for run, found in self._exchanges.items():
            answer = answers.get(run.uid)
            if found.cluster != cluster or found.data is not None or answer is None or answer.key != found.public:
                continue
            if answer.problem:
                found.problem = answer.problem
                continue
            try:
                found.data, found.problem = open_sealed(answer.sealed, found.private, run.uid, cluster.uid), None
            except SealError as error:
                found.problem = str(error)

    def of(self, run: RunId) -> CredentialExchange | None:
        """Return the exchange for a run; None where there is none, or its Secret exists."""
        return self._exchanges.get(run)

    def origin(self, run: RunId) -> str | None:
        """Return the name of the cluster's Secret that the last Secret of a run is a copy of."""
        return self._origins.get(run)

    def finish(self, run: RunId) -> None:
        """Record that the Secret of a run was created, and forget its key and credentials."""
        if (found := self._exchanges.pop(run, None)) is not None:
            self._origins[run] = found.origin

    def forget(self, key: RunId) -> None:
        """Forget a run or a SharedCluster that is gone."""
        self._exchanges = {run: found for run, found in self._exchanges.items() if key not in (run, found.cluster)}
        self._origins.pop(key, None)
