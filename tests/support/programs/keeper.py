"""A keeper whose API server is a fake one: see `tests.support.kept`.

Its arguments: the URL of that server, and the fields of its assignment.
"""

import asyncio
import sys
from pathlib import Path

from flowcluster.agent.keeper.assignment import Assignment
from flowcluster.agent.keeper.keep_cluster import keep
from flowcluster.kube.lease_client import OneLease

server, namespace, lease, kind, address, holder, *credentials = sys.argv[1:]
assignment = Assignment(namespace, lease, kind, address, holder, Path(credentials[0]) if credentials else None)
asyncio.run(keep(assignment, OneLease(server, namespace, lease)))
