"""What only the Ray runner promises: to which Ray it connects."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import ray

from flowcluster import flow
from flowcluster.errors import ClusterUnreachable
from flowcluster.task_runners import RayTaskRunner
from tests.contract.kinds import SMALL_RAY
from tests.support.ray_head import RayHead
from tests.support.tasks import echo, where
from tests.support.waiting import wait_until

PRINTS = Path(__file__).with_name("flows") / "ray_prints.py"
SILENT = Path(__file__).with_name("flows") / "ray_silent.py"
#: For a head's Python: the first process that its proxy of clients forks ends before it runs a program. The proxy lets
#: that client wait for the log of its server, and in total for half a minute. Here it waits for a second.
FIRST_SERVER_CRASHES = """
import os, pathlib, sys

crashed = pathlib.Path(__file__).with_name("crashed")
forks = []

def crash():
    if not crashed.exists():
        crashed.touch()
        os.abort()

def wait_less():
    forks.append(True)
    proxier = sys.modules["ray.util.client.server.proxier"]
    proxier.CHECK_CHANNEL_TIMEOUT_S = 0.1 if len(forks) == 1 else 30
    proxier.LOGSTREAM_RETRY_INTERVAL_SEC = 0.1

if "--mode=proxy" in sys.orig_argv:
    os.register_at_fork(after_in_child=crash, after_in_parent=wait_less)
"""


def test_own_ray_is_logged_and_ends_with_the_run(no_ray: None, lines: Any) -> None:
    """Without an address the run starts a Ray, logs that, and leaves no process of it behind."""

    @flow(task_runner=RayTaskRunner(init_kwargs={**SMALL_RAY, "include_dashboard": True}))
    def body() -> str:
        assert where.submit().result() != os.getpid() == where()
        name: str = ray._private.worker.global_worker.node.session_name
        return name

    session = body()
    seen = [line for line in lines() if "task_runner.ray" in line]

    assert not ray.is_initialized()
    assert seen[:2] == [
        "flowcluster.task_runner.ray - Creating a local Ray instance",
        "flowcluster.task_runner.ray - Using Ray cluster with 1 nodes.",
    ]
    assert seen[2].startswith("flowcluster.task_runner.ray - The Ray UI is available at 127.0.0.1:")
    wait_until(lambda: not commands_with(session), "the processes have ended", 10)


def commands_with(text: str) -> list[str]:
    """Return the command lines of living processes that contain `text`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_text(errors="replace").replace("\0", " "))
        except OSError:
            continue  # it ended while we looked
    return [command for command in found if text in command]


def test_flows_use_the_ray_of_the_process_and_do_not_end_it(own_ray: None) -> None:
    """Flows and subflows use the connection of the process, which stays open after them."""
    job = ray.get_runtime_context().get_job_id()

    @flow(task_runner=RayTaskRunner)
    def inner() -> Any:
        return echo.submit(1)

    @flow(task_runner=RayTaskRunner)
    def outer() -> Any:
        return [inner(), echo.submit(2)]

    assert outer() == [1, 2]
    assert ray.is_initialized()
    assert ray.get_runtime_context().get_job_id() == job


def test_flows_of_one_process_share_their_connection(no_ray: None, ray_head: RayHead, lines: Any) -> None:
    """Nested flows and flows in other threads use one connection, which is closed with the last of them."""
    runner, others, results = RayTaskRunner(address=ray_head.address), [], []

    @flow(task_runner=runner)
    def inner() -> Any:
        return echo.submit(1)

    @flow(task_runner=runner)
    def outer() -> Any:
        others.append(threading.Thread(target=lambda: results.append(inner())))
        others[0].start()
        return [inner(), echo.submit(2)]

    assert outer() == [1, 2]
    others[0].join()
    assert results == [1]
    assert not ray.is_initialized()
    assert sum("Connecting to Ray at" in line for line in lines()) == 1


def test_flow_fails_when_no_ray_head_answers_at_the_address(no_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the address, the time limit and what to check."""
    monkeypatch.setenv("FLOWCLUSTER_CLUSTER_TIMEOUT", "0.2")

    @flow(task_runner=RayTaskRunner(address="ray://127.0.0.1:9"))
    def body() -> None:
        raise AssertionError("started")

    state = body(return_state=True)

    assert state.is_crashed()
    with pytest.raises(
        ClusterUnreachable, match=r"No process answered at ray://127\.0\.0\.1:9 within 0\.2 s.*Ray head"
    ):
        state.result()


def test_ray_client_reports_that_it_waits_and_fails_when_a_head_does_not_accept_it() -> None:
    """The program ends although the client of Ray still waits."""
    done = subprocess.run([sys.executable, str(SILENT)], capture_output=True, text=True, timeout=60, check=True)

    assert re.search(r"Waiting for Ray at ray://127\.0\.0\.1:\d+ to accept the connection \(0 of 1\.5 s\)", done.stderr)
    assert "Ray did not connect within 1.5 s. Check that it is the port of a Ray head" in done.stdout


@pytest.mark.timeout(300)
def test_ray_client_retries_when_the_head_cannot_start_a_server_for_it(
    no_ray: None, tmp_path: Path, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's head forks a server for each client. A server that crashes does not fail the flow run."""
    monkeypatch.setenv("FLOWCLUSTER_CLUSTER_TIMEOUT", "200")
    # A head reserves the place of a client that it refused for this time (s), and the client waits for it.
    monkeypatch.setenv("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "1")
    (tmp_path / "sitecustomize.py").write_text(FIRST_SERVER_CRASHES)

    @flow(task_runner=RayTaskRunner)
    def body() -> Any:
        return echo.submit(1)

    with RayHead.start(cpus=1, modules=tmp_path) as head:
        on_head = body.with_options(task_runner=RayTaskRunner(address=head.client_address))

        assert on_head() == 1

    assert (tmp_path / "crashed").exists()
    retried = "could not start a server for this process; retrying (attempt 2 of 8)"
    assert [line for line in lines() if retried in line]


@pytest.mark.parametrize("address", ["http://head:8265", "ray://", "ray://head:x"])
def test_wrong_address_is_refused_when_the_runner_is_made(address: str) -> None:
    """The constructor raises for a text that cannot be a head's address."""
    with pytest.raises(ValueError, match="not an address of a Ray head"):
        RayTaskRunner(address=address)


def test_ray_logs_nothing_when_a_flow_completes(own_ray: None, caplog: pytest.LogCaptureFixture) -> None:
    """Ray's own logger writes no line about a flow that completes."""

    @flow(task_runner=RayTaskRunner)
    def body() -> Any:
        return echo.submit(1)

    caplog.set_level(logging.INFO)
    body()

    assert [record.getMessage() for record in caplog.records if record.name.startswith("ray")] == []


@pytest.mark.parametrize("way", ["address", "client_address"])
def test_all_that_tasks_print_is_shown_before_the_program_ends(ray_head: RayHead, way: str) -> None:
    """Ray shows prints with a delay, longer through a client. A program that ends immediately shows all of them."""
    command = [sys.executable, str(PRINTS), getattr(ray_head, way)]
    # Longer than a program waits for a head that does not accept its connection; it then fails with the cause.
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)

    assert done.returncode == 0, done.stderr
    assert re.findall(r"line (\d+)", done.stdout) == [str(number) for number in range(300)]
    assert "to stderr" in done.stderr
