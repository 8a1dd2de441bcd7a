"""The keeper's program, in the pod of a SharedCluster: ``python -m flowcluster.agent.keeper``."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from flowcluster.agent.keeper.assignment import Assignment
from flowcluster.agent.keeper.keep_cluster import keep
from flowcluster.kube.lease_client import OneLease


def main() -> None:
    """Keep the cluster that the environment names, until this process is stopped."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # The first process of a container ignores signals without a handler.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    assignment = Assignment.from_env(os.environ)
    asyncio.run(keep(assignment, OneLease.from_pod(assignment.namespace, assignment.lease)))


if __name__ == "__main__":
    main()
