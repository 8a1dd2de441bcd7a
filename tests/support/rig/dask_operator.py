"""Run the stock dask-kubernetes operator as in a cluster, in which names of Services resolve.

Before dask-kubernetes removes workers, it queries the scheduler for their names. If the scheduler's name does not
resolve, it forwards a port, and blocks for 200 s while no process listens there: no other cluster is served in that
time. Here the names resolve, and connections are refused, as those to a scheduler that does not listen.
"""

from __future__ import annotations

import re
import runpy
import socket
import sys
from typing import Any

_SERVICE = re.compile(r"[a-z0-9-]+-scheduler\.[a-z0-9-]+")
#: No process listens at this port.
_NOWHERE = ("127.0.0.1", 1)


def main() -> None:
    """Run the operator until a signal."""
    genuine = socket.getaddrinfo

    def resolved(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        if isinstance(host, str) and _SERVICE.fullmatch(host):
            host, port = _NOWHERE
        return genuine(host, port, *more, **options)

    socket.getaddrinfo = resolved
    sys.argv = ["kopf", "run", "--quiet", "-m", "dask_kubernetes.operator.controller", "--all-namespaces"]
    runpy.run_module("kopf", run_name="__main__")


if __name__ == "__main__":
    main()
