"""A program that connects to a server that is not a Ray head, and reports how that ended."""

import os
import socket

from flowcluster import flow
from flowcluster.clusters import address
from flowcluster.runners.ray import connection_thread
from flowcluster.task_runners import RayTaskRunner

# Instead of half a minute, with a log line each ten seconds.
connection_thread._ACCEPT_SECONDS = 1.0
address.REPORT_INTERVAL = 0.4
os.environ["FLOWCLUSTER_CLUSTER_TIMEOUT"] = "0.5"


@flow
def body() -> None:
    raise AssertionError("started")


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as listener:
        runner = RayTaskRunner(address=f"ray://127.0.0.1:{listener.getsockname()[1]}")
        print(body.with_options(task_runner=runner)(return_state=True).message)
