"""Request child runs from a driver: the driver writes requests into its run's Lease, and the operator acts on them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from flowcluster.clusters.readiness import UNNOTICED_SECONDS
from flowcluster.errors import ClusterNotStarted, KubernetesError
from flowcluster.kube.flow_runs import FlowRuns
from flowcluster_api import child_runs, driver, names

#: Seconds between two reads of the Lease while a request has no answer.
LOOK_SECONDS = 0.2

Object = dict[str, Any]


class ChildRequests:
    """Requests child runs of one run.

    Args:
        flow_runs: client for the run's namespace.
        environment: environment variables of the driver.

    Attributes:
        lease: name of the run's Lease.
    """

    def __init__(self, flow_runs: FlowRuns, environment: Mapping[str, str]) -> None:
        self._flow_runs = flow_runs
        self._uid = environment[driver.ENV_RUN_UID]
        self.lease = names.child_name(environment[driver.ENV_RUN_NAME], self._uid)

    def create(self, manifest: Object) -> Object:
        """Request a child run, and return its FlowRun when it exists.

        Raises:
            KubernetesError: the operator refuses it, for the reason in the message, or the API server does not answer.
            ClusterNotStarted: no operator processes the request.
        """
        metadata = manifest["metadata"]
        name = metadata.get("name") or metadata["generateName"] + secrets.token_hex(3)
        self._flow_runs.patch_lease(self.lease, child_runs.create(name, manifest["spec"]))
        self._wait(name, f"create child run {name}")
        # While the child run starts, the operator grants the driver the permission to read it.
        end = time.monotonic() + UNNOTICED_SECONDS
        while (found := self._flow_runs.find_readable(name)) is None:
            if time.monotonic() > end:
                raise ClusterNotStarted(
                    f"The driver has not got the permission to read child run {name} within {UNNOTICED_SECONDS:g} s: "
                    "check that flowcluster's operator runs and serves this namespace.",
                    "Unnoticed",
                )
            time.sleep(LOOK_SECONDS)
        if all(owner.get("uid") != self._uid for owner in found["metadata"].get("ownerReferences") or []):
            raise KubernetesError(f"FlowRun {name} exists, and is not a child run of this one.")
        return found

    def resize(self, name: str, minimum: int, maximum: int | None) -> None:
        """Request other bounds for a child run's workers. The errors are those of `create`."""
        self._flow_runs.patch_lease(self.lease, child_runs.resize(name, minimum, maximum))
        self._wait(name, f"change child run {name}")

    def _wait(self, name: str, what: str) -> None:
        """Wait until the operator has removed the request, or refused it."""
        end = time.monotonic() + UNNOTICED_SECONDS
        while (request := child_runs.read(self._flow_runs.get_lease(self.lease)).get(name)) is not None:
            if request.refused is not None:
                self._flow_runs.patch_lease(self.lease, child_runs.withdraw(name))
                raise KubernetesError(f"The operator refused to {what}: {request.refused}")
            if time.monotonic() > end:
                self._flow_runs.patch_lease(self.lease, child_runs.withdraw(name))
                raise ClusterNotStarted(
                    f"No operator has answered the request to {what}: check that flowcluster's operator runs and "
                    "serves this namespace.",
                    "Unnoticed",
                )
            time.sleep(LOOK_SECONDS)
