"""Interrupted programs and killed clusters: how the process ends, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ray_head import RayHead
from tests.support.waiting import wait_until

FLOWS = Path(__file__).with_name("flows") / "hanging.py"

LOCAL = ("on_threads", "in_order", "on_threads_async")


class Program:
    """A process that runs a flow whose only task hangs."""

    def __init__(self, directory: Path, command: list[str], environment: dict[str, str]) -> None:
        self.pipe = directory / "pipe"
        os.mkfifo(self.pipe)
        self.process = subprocess.Popen(
            [*command, str(self.pipe)] if command[-1] != "-p" else [*command, f"where={self.pipe}"],
            cwd=directory,
            env={**os.environ, "FLOWCLUSTER_LOGGING_LEVEL": "WARNING", **environment},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A test run that was started in the background ignores Ctrl-C, and its child processes inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def until_it_hangs(self) -> int:
        """Wait until the task runs, and return the id of the process that runs it."""
        with self.pipe.open() as pipe:
            return int(pipe.read())

    def after(self, number: int) -> tuple[int, str]:
        """Send a signal, wait for the end, and return the exit code and what was written to stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@pytest.fixture
def flows() -> Path:
    """A file of flows that hang."""
    return FLOWS


def test_signal_that_another_thread_receives_interrupts_the_main_thread() -> None:
    """Ctrl-C ends a wait in the main thread, whichever thread the kernel delivers the signal to."""
    program = (
        "import os, signal, threading\n"
        "from flowcluster._util.waiting import wait_blocking\n"
        "def take():\n"
        "    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\n"
        "wait_blocking(lambda _: threading.Thread(target=take).start())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert done.stderr.endswith("KeyboardInterrupt\n")


def is_gone(process: int) -> bool:
    """Return whether no process has this id any more."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{process}/status").read_text(errors="replace").split("State:\t")[1][0] == "Z"


def left_in_session(session: int) -> list[str]:
    """Return the command lines of the living processes of a session."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            fields = (directory / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((directory / "cmdline").read_text(errors="replace").replace("\0", " "))
        except OSError:
            continue  # it ended while we looked
    return [command for command in found if command]  # without a command line it is ending


# A LocalCluster takes four seconds to give up a worker that hangs, and a Ray as long to start. So not every
# combination is tried with them.
@pytest.mark.parametrize(
    ("name", "number"),
    [("on_dask", signal.SIGINT), ("on_dask_async", signal.SIGTERM)]
    + [("on_ray", signal.SIGINT), ("on_ray_async", signal.SIGTERM)]
    + [pytest.param("on_ray", signal.SIGTERM, marks=pytest.mark.long)]
    + [(name, number) for name in LOCAL for number in (signal.SIGTERM, signal.SIGINT)],
)
def test_interrupted_program_leaves_nothing_behind(
    name: str, number: signal.Signals, flows: Path, tmp_path: Path
) -> None:
    """SIGTERM and Ctrl-C immediately end a script and its cluster, with the usual exit code."""
    program = Program(tmp_path, [sys.executable, str(flows), name], {})
    worker = program.until_it_hangs()
    exit_code, errors = program.after(number)

    assert exit_code == (143 if number == signal.SIGTERM else -signal.SIGINT), errors
    assert "Finished in state Cancelled(" in errors
    assert is_gone(worker)
    assert left_in_session(program.process.pid) == []


@pytest.mark.parametrize("where", ["dask", "threads"])
def test_processes_of_tasks_end_with_a_killed_driver(where: str, flows: Path, tmp_path: Path) -> None:
    """This holds for processes that multiprocessing forked or spawned, and for those of the local cluster."""
    program = Program(tmp_path, [sys.executable, str(flows), f"processes_on_{where}"], {})
    program.until_it_hangs()
    session = program.process.pid
    program.process.kill()
    program.process.wait()

    wait_until(lambda: not left_in_session(session), "no process is left")
    assert program.process.stderr is not None
    program.process.stderr.close()


@pytest.mark.parametrize("where", ["dask", "threads"])
def test_processes_of_tasks_end_with_an_interrupted_driver(where: str, flows: Path, tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to the program and to the processes that it started."""
    program = Program(tmp_path, [sys.executable, str(flows), f"processes_on_{where}"], {})
    program.until_it_hangs()
    os.killpg(program.process.pid, signal.SIGINT)
    program.process.communicate(timeout=60)

    wait_until(lambda: not left_in_session(program.process.pid), "no process is left")


@pytest.mark.parametrize("name", [pytest.param("on_dask", marks=pytest.mark.long), "on_threads_async"])
def test_driver_reports_a_cancellation_when_it_is_stopped(name: str, flows: Path, tmp_path: Path) -> None:
    """A driver that receives SIGTERM leaves its outcome and exits with the code for it."""
    outcome = tmp_path / "outcome"
    command = [sys.executable, "-m", "flowcluster.cli.main", "run", f"{flows}:{name}", "-p"]
    program = Program(tmp_path, command, {"FLOWCLUSTER_OUTCOME_PATH": str(outcome)})
    program.until_it_hangs()
    exit_code, errors = program.after(signal.SIGTERM)
    written = json.loads(outcome.read_text())

    assert exit_code == 3
    assert (written["state"], written["reason"], written["exitCode"]) == ("Cancelled", "Cancelled", 3)
    assert "Cancelled: The flow run was stopped by SIGTERM." in errors
    assert left_in_session(program.process.pid) == []


@pytest.fixture
def doomed_cluster(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A scheduler and a worker in a process of their own, to be killed."""
    file = tmp_path / "scheduler.json"
    os.mkfifo(file)
    program = (
        "import asyncio, os, signal, sys, distributed\n"
        "async def main():\n"
        "    async with distributed.Scheduler(host='127.0.0.1', port=0, dashboard=False) as scheduler:\n"
        "        async with distributed.Worker(scheduler.address, nthreads=1, dashboard=False):\n"
        "            open(sys.argv[1], 'w').write(scheduler.address)\n"
        "            await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(file)], stderr=subprocess.DEVNULL)
    try:
        yield process, file.read_text()
    finally:
        process.kill()
        process.wait()


def test_lost_scheduler_ends_the_flow(doomed_cluster: Any, flows: Path, tmp_path: Path) -> None:
    """A scheduler that dies while a task runs ends the flow with ClusterLost, which names the address."""
    process, address = doomed_cluster
    outcome = tmp_path / "outcome"
    program = Program(
        tmp_path,
        [sys.executable, "-m", "flowcluster.cli.main", "run", f"{flows}:on_threads", "-p"],
        {
            "FLOWCLUSTER_OUTCOME_PATH": str(outcome),
            "FLOWCLUSTER_CLUSTER_KIND": "Dask",
            "FLOWCLUSTER_CLUSTER_ADDRESS": address,
        },
    )
    program.until_it_hangs()
    process.kill()
    _, errors = program.process.communicate(timeout=60)
    written = json.loads(outcome.read_text())

    assert (program.process.returncode, written["state"], written["reason"]) == (1, "Crashed", "ClusterLost")
    assert written["message"].startswith(f"The Dask scheduler at {address} was lost while the flow ran")
    assert "Traceback" not in errors


def test_interrupted_program_releases_its_workers(ray_head: RayHead, flows: Path, tmp_path: Path) -> None:
    """A script cancels its own tasks when it disconnects from a Ray that continues to run."""
    program = Program(tmp_path, [sys.executable, str(flows), "at_ray_head"], {"HEAD": ray_head.address})
    worker = program.until_it_hangs()
    exit_code, errors = program.after(signal.SIGTERM)

    assert exit_code == 143
    assert "Finished in state Cancelled(" in errors
    wait_until(lambda: is_gone(worker), "the worker has ended")


def test_lost_ray_head_ends_the_flow(flows: Path, tmp_path: Path) -> None:
    """A head that dies while tasks run ends flows with ClusterLost. It names the address, of a node or of a client."""
    programs = {}
    with RayHead.start(cpus=2) as head:
        for name, address in {"node": head.address, "client": head.client_address}.items():
            (tmp_path / name).mkdir()
            # A Ray client would look for a lost head for half a minute.
            settings = {"HEAD": address, "RAY_CLIENT_RECONNECT_GRACE_PERIOD": "2"}
            programs[address] = Program(tmp_path / name, [sys.executable, str(flows), "at_ray_head"], settings)
        for program in programs.values():
            program.until_it_hangs()
        head.kill()
        errors = {address: program.process.communicate(timeout=100)[1] for address, program in programs.items()}

    for address, program in programs.items():
        assert program.process.returncode == 1
        assert f"ClusterLost: The Ray head at {address} was lost while the flow ran" in errors[address]
