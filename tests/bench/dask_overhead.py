"""What a task run costs on Dask beside ``client.submit``: ``python -m tests.bench.dask_overhead``.

A cluster of two processes with one thread each; each round times the same number of no-op tasks submitted and
gathered, first with Dask's own client, then in a flow. Medians over the rounds and their ratio are printed, and
what one task weighs on its way to the scheduler.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
from typing import Any

import distributed

from flowcluster import flow, get_dask_client, task
from flowcluster.task_runners import DaskTaskRunner


def noop(number: int) -> int:
    """Nothing, so that everything measured is overhead."""
    return number


def raw(cluster: Any, tasks: int) -> tuple[float, float, float]:
    """Seconds for `tasks` calls with Dask's own client, and bytes per task to the scheduler and to workers."""
    with distributed.Client(cluster, set_as_default=False) as client:
        before = sent(cluster, client)
        started = time.perf_counter()
        futures = [client.submit(noop, number, pure=False) for number in range(tasks)]
        found = client.gather(futures)
        took = time.perf_counter() - started
        assert found == list(range(tasks))
        return took, *per_task(before, sent(cluster, client), tasks)


def ours(cluster: Any, tasks: int) -> tuple[float, float, float]:
    """The same for `tasks` task runs in a flow."""
    one = task(noop)

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> tuple[float, float, float]:
        with get_dask_client() as client:
            before = sent(cluster, client)
            started = time.perf_counter()
            futures = [one.submit(number) for number in range(tasks)]
            found = [future.result() for future in futures]
            took = time.perf_counter() - started
            assert found == list(range(tasks))
            return took, *per_task(before, sent(cluster, client), tasks)

    result: tuple[float, float, float] = body()
    return result


def sent(cluster: Any, client: Any) -> tuple[int, int]:
    """Bytes that went to the scheduler from the client, and from the scheduler to workers, so far."""
    streams = cluster.scheduler.stream_comms.values()
    return client.scheduler_comm.byte_count, sum(stream.byte_count for stream in streams)


def per_task(before: tuple[int, int], after: tuple[int, int], tasks: int) -> tuple[float, float]:
    """What was sent in between, divided by the number of tasks."""
    return (after[0] - before[0]) / tasks, (after[1] - before[1]) / tasks


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    logging.getLogger("flowcluster").setLevel(logging.WARNING)
    found: dict[str, list[tuple[float, float, float]]] = {"raw": [], "ours": []}
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        for number in range(arguments.rounds):
            sys.stderr.write(f"round {number + 1} of {arguments.rounds}\n")
            found["raw"].append(raw(cluster, arguments.tasks))
            found["ours"].append(ours(cluster, arguments.tasks))
    report(found, arguments.tasks)


def report(found: dict[str, list[tuple[float, float, float]]], tasks: int) -> None:
    """Print the table."""
    table = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    ratio = table["ours"][0] / table["raw"][0]
    for name, (seconds, *_) in table.items():
        print(
            f"{name:<4} {tasks} no-op tasks                  {seconds:8.2f} s  {seconds / tasks * 1000:6.3f} ms a task"
        )
    print(f"ratio                                    {ratio:8.2f}    (bound 1.2)")
    for name, (_, up, down) in table.items():
        print(f"{name:<4} bytes a task, to the scheduler       {up:8.0f}    to a worker {down:6.0f}  (bound 1500)")


if __name__ == "__main__":
    main()
