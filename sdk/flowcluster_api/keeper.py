"""The instructions that the operator gives the keeper of a SharedCluster, in the cluster's root Lease.

The keeper has rights to that Lease only. It renews the Lease, and reports demand and idleness as a driver does
(`flowcluster_api.lease`, `flowcluster_api.progress`). The operator writes into the same Lease the bounds of workers and
the runs that are on the cluster. Both sides write the present state, not events: a run that is no longer listed is
over, even if the keeper was down when the list changed. `flowcluster_api.handover` has their exchange of credentials.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from flowcluster_api import names

#: Annotation of the Lease with the operator's `Instructions` as JSON.
ANNOTATION_INSTRUCTIONS = f"{names.GROUP}/instructions"
#: Environment variables of the keeper, besides those of `flowcluster_api.driver`: the names of Lease and cluster, and
#: the UID of the cluster.
ENV_LEASE = "FLOWCLUSTER_LEASE"
ENV_SHARED_CLUSTER = "FLOWCLUSTER_SHARED_CLUSTER"
ENV_SHARED_CLUSTER_UID = "FLOWCLUSTER_SHARED_CLUSTER_UID"

#: Seconds between two renewals of the Lease, and seconds without one after which status reports that scaling has
#: stopped.
RENEW_SECONDS, SILENT_SECONDS = 10, 60
#: A run without a share has this many tasks in flight for each thread of its equal part of the cluster: while one task
#: runs, the next one waits at the scheduler.
SPARE = 2
#: Maximum characters of instructions that a keeper reads.
_LIMIT = 200_000
#: Characters of instructions up to which the operator adds runs. All annotations of an object have 256 KiB at most, and
#: answers to requests for credentials need 95 KiB of them (`flowcluster_api.handover`).
_TARGET = 150_000
#: Bytes of one run in the instructions: digest, priority and threads.
_DIGEST, _PRIORITY, _THREADS = 6, 1, 3
_ROW = _DIGEST + _PRIORITY + _THREADS


class Bounds(NamedTuple):
    """Bounds of one worker group, and the size of each of its workers.

    Attributes:
        minimum: number of workers.
        maximum: number of workers.
        threads: of each worker.
        resources: amounts that each worker offers to tasks, in pairs of name and amount, ordered by name.
    """

    minimum: int
    maximum: int
    threads: int = 1
    resources: tuple[tuple[str, float], ...] = ()

    def to_list(self) -> list[Any]:
        """Return the bounds as a JSON array; it has no resources where there are none."""
        numbers: list[Any] = [self.minimum, self.maximum, self.threads]
        return [*numbers, dict(sorted(self.resources))] if self.resources else numbers

    @staticmethod
    def from_list(values: Any) -> Bounds:
        """Parse what `to_list` returns. Raises ValueError or TypeError for anything else."""
        minimum, maximum, threads, *more = values
        offered = more[0] if more else {}
        if len(more) > 1 or not isinstance(offered, dict):
            raise ValueError(f"{values!r} are not bounds of a worker group")
        resources = tuple((str(name), _amount(amount)) for name, amount in sorted(offered.items()))
        return Bounds(_whole(minimum), _whole(maximum), _whole(threads), resources)


def digest_of(uid: str) -> str:
    """Return the digest of a FlowRun's UID that instructions contain, in hexadecimal.

    Of 10,000 live runs, two have the same digest with a probability of 2 in 10 million. Each of the two could then get
    the other's share, and the keeper would release what the first one left only when both are over.
    """
    return hashlib.sha256(uid.encode()).digest()[:_DIGEST].hex()


class LiveRun(NamedTuple):
    """A run that is on the cluster now.

    Attributes:
        digest: of the UID of its FlowRun.
        priority: of its tasks; a larger number is scheduled first.
        threads: tasks in flight at most; None without a limit.
    """

    digest: str
    priority: int = 0
    threads: int | None = None

    @classmethod
    def of(cls, uid: str, priority: int = 0, threads: int | None = None) -> LiveRun:
        """Return the run whose FlowRun has a UID."""
        return cls(digest_of(uid), priority, threads)

    def to_bytes(self) -> bytes:
        """Return its row in the annotation. Without a limit, threads are 0."""
        priority = self.priority.to_bytes(_PRIORITY, "big", signed=True)
        return bytes.fromhex(self.digest) + priority + (self.threads or 0).to_bytes(_THREADS, "big")

    @staticmethod
    def from_bytes(row: bytes) -> LiveRun:
        """Parse what `to_bytes` returns."""
        digest, priority, threads = row[:_DIGEST], row[_DIGEST : _DIGEST + _PRIORITY], row[-_THREADS:]
        limit = int.from_bytes(threads, "big")
        return LiveRun(digest.hex(), int.from_bytes(priority, "big", signed=True), limit or None)


class Instructions(NamedTuple):
    """The present bounds and runs of a SharedCluster.

    Attributes:
        groups: bounds by the name of the worker group; the workers of `spec.workers` have the empty name.
        runs: the runs on the cluster. The keeper releases what all other runs left there.
    """

    groups: tuple[tuple[str, Bounds], ...] = ()
    runs: tuple[LiveRun, ...] = ()

    @property
    def digests(self) -> frozenset[str]:
        """Digests of the runs."""
        return frozenset(run.digest for run in self.runs)

    def to_json(self) -> str:
        """Return the text of the annotation. Equal instructions have equal texts."""
        rows = b"".join(sorted(run.to_bytes() for run in self.runs))
        data = {
            "groups": {name: bounds.to_list() for name, bounds in sorted(self.groups)},
            "runs": base64.b64encode(rows).decode(),
        }
        return json.dumps(data, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Instructions | None:
        """Parse an annotation; return None for a text that is not of the form of `to_json`."""
        try:
            data: Any = json.loads(text) if len(text) <= _LIMIT else None
            groups = tuple((str(name), Bounds.from_list(values)) for name, values in data["groups"].items())
            runs = tuple(map(LiveRun.from_bytes, _rows(base64.b64decode(data["runs"], validate=True))))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return Instructions(groups, runs)


def read(lease: Mapping[str, Any]) -> Instructions | None:
    """Return the instructions in a Lease; None where it has none, or they cannot be read."""
    text = (lease["metadata"].get("annotations") or {}).get(ANNOTATION_INSTRUCTIONS)
    return Instructions.from_json(text) if isinstance(text, str) else None


def room(groups: tuple[tuple[str, Bounds], ...] = ()) -> int:
    """Return the maximum number of runs in the instructions of a cluster with these groups: about 11,000."""
    return (_TARGET - len(Instructions(groups).to_json())) * 3 // 4 // _ROW


def listable(
    groups: tuple[tuple[str, Bounds], ...], wanted: Collection[LiveRun], listed: Collection[str]
) -> Instructions:
    """Return the instructions for a cluster that runs use or wait for.

    Runs that are listed already stay: otherwise the keeper would release what they have. Other runs are added, in their
    order, while the annotation has `room` for them.

    Args:
        groups: bounds by the name of the worker group.
        wanted: the runs.
        listed: digests in the present instructions.
    """
    stay = [run for run in wanted if run.digest in listed]
    new = [run for run in wanted if run.digest not in listed]
    return Instructions(groups, (*stay, *new[: max(room(groups) - len(stay), 0)]))


def patch(instructions: Instructions) -> dict[str, Any]:
    """Return the merge patch that writes instructions into the Lease."""
    return {"metadata": {"annotations": {ANNOTATION_INSTRUCTIONS: instructions.to_json()}}}


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _amount(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not an amount")
    return float(value)


def _rows(data: bytes) -> list[bytes]:
    if len(data) % _ROW:
        raise ValueError(f"{len(data)} bytes are not rows of {_ROW}")
    return [data[start : start + _ROW] for start in range(0, len(data), _ROW)]
