"""The Lease of a run: heartbeats, reports and the outcome of its driver.

The operator creates a Lease (``coordination.k8s.io/v1``) for each run, with the name of the run's other children. It is
the only object that a driver writes. The driver renews it as a heartbeat. The operator measures the age of a renewal by
its own clock, from the time when it first observed that renewal. So the clocks do not have to agree. A SharedCluster
has such a Lease, too, which its keeper renews.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from flowcluster_api import driver, names
from flowcluster_api.progress import ANNOTATION_PROGRESS, Progress

#: Annotation with the driver's `Outcome` as JSON, which ends the lease. A driver that the operator started does not
#: write it: its pod has the outcome.
ANNOTATION_OUTCOME = f"{names.GROUP}/outcome"

#: Annotation with the driver's `Demand` as JSON.
ANNOTATION_DEMAND = f"{names.GROUP}/demand"

#: Annotation of a FlowRun without a flow: the name of its driver's user at the API server. The operator grants the user
#: rights to read the FlowRun and to write its Lease, and no others. So the creator of a FlowRun can name any user.
ANNOTATION_USER = f"{names.GROUP}/driver-user"

#: Seconds without a heartbeat after which a driver counts as gone, where the FlowRun does not set them.
DURATION = 60

#: Renewals within one duration. A driver that is stopped for 0.8 of the duration can have been about to renew.
RENEWALS = 6

#: Maximum retired workers in one report. The driver reports the others when these are deleted: the annotations of a
#: Lease have 256 KiB at most, and a cluster can have 10,000 workers.
RETIRED_AT_A_TIME = 100


class Demand(NamedTuple):
    """The workers that a driver requests.

    Attributes:
        workers: number of workers that the work needs.
        retired: names of retired workers: they have handed over their results and accept no tasks, so the operator can
            remove them.
        groups: the number of workers for each further worker group, in pairs of name and number. Only a SharedCluster
            has such groups.
    """

    workers: int
    retired: tuple[str, ...] = ()
    groups: tuple[tuple[str, int], ...] = ()

    def to_json(self) -> str:
        """Return the text of the annotation, with the first `RETIRED_AT_A_TIME` retired workers."""
        data = {"workers": self.workers, "retired": self.retired[:RETIRED_AT_A_TIME]}
        return json.dumps(data | ({"groups": dict(self.groups)} if self.groups else {}), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Demand | None:
        """Parse an annotation; return None for a text that is not a demand."""
        try:
            data = json.loads(text)
            workers, retired, groups = data["workers"], data.get("retired") or (), data.get("groups") or {}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        if not _is_number(workers) or not isinstance(retired, list | tuple) or not isinstance(groups, dict):
            return None
        numbers = tuple((name, max(number, 0)) for name, number in sorted(groups.items()) if _is_number(number))
        return Demand(max(workers, 0), tuple(str(name) for name in retired), numbers)

    def of_group(self, group: str) -> Demand:
        """Return the demand for workers of one further group."""
        return Demand(dict(self.groups).get(group, 0), self.retired)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class LeaseState(NamedTuple):
    """The fields and annotations of a Lease.

    Attributes:
        holder: the holder identity; None before the first renewal.
        renewed: the time of the last renewal by the driver's clock, as text.
        outcome: how the driver ended; None while it runs.
        demand: the workers that it requests; None while it does not report them.
        progress: the driver's progress; None while it does not report it.
    """

    holder: str | None
    renewed: str | None
    outcome: driver.Outcome | None
    demand: Demand | None = None
    progress: Progress | None = None


def read(lease: Mapping[str, Any]) -> LeaseState:
    """Return the state in a Lease object. An outcome, a demand or a progress that cannot be parsed is None."""
    spec: Mapping[str, Any] = lease.get("spec") or {}
    annotations = lease["metadata"].get("annotations") or {}
    text, demand = annotations.get(ANNOTATION_OUTCOME), annotations.get(ANNOTATION_DEMAND)
    progress = annotations.get(ANNOTATION_PROGRESS)
    try:
        outcome = driver.Outcome.from_json(text) if text else None
    except ValueError:
        outcome = None
    return LeaseState(
        spec.get("holderIdentity"),
        spec.get("renewTime"),
        outcome,
        Demand.from_json(demand) if demand else None,
        Progress.from_json(progress) if progress else None,
    )


def renewal(
    holder: str,
    duration: int,
    now: str,
    acquired: str,
    demand: Demand | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return the merge patch of a renewal. `now` and `acquired` are RFC 3339 times with microseconds."""
    reported = {ANNOTATION_DEMAND: demand, ANNOTATION_PROGRESS: progress}
    annotations = {name: value.to_json() for name, value in reported.items() if value is not None}
    return ({"metadata": {"annotations": annotations}} if annotations else {}) | {
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": duration,
            "acquireTime": acquired,
            "renewTime": now,
        }
    }


def release(outcome: driver.Outcome) -> dict[str, Any]:
    """Return the merge patch that ends a lease immediately."""
    return {"metadata": {"annotations": {ANNOTATION_OUTCOME: outcome.to_json()}}}
