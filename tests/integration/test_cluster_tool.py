"""The one-node cluster of the cluster tool, in an instance that can run beside any other."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.waiting import wait_until
from tools.cluster import api, cache
from tools.cluster.onenode import containers
from tools.cluster.onenode.files import SANDBOX_IMAGE
from tools.cluster.onenode.layout import Layout
from tools.cluster.processes import Process, boot_id

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = "flowcluster-tooltest"
LAYOUT = Layout(NAME)

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0, reason="the one-node cluster needs Linux and root"
    ),
    pytest.mark.xdist_group("cluster tool"),  # they use one instance
]


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tools.cluster", arguments[0], "--provider", "one-node", "--name", NAME]
    return subprocess.Popen(
        [*command, *arguments[1:]], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def tool(*arguments: str) -> str:
    """Run the tool to its end, and return what it printed on stdout and stderr."""
    with start(*arguments) as running:
        out, err = running.communicate()
    assert running.returncode == 0, err
    return out + err


def status() -> dict[str, Any]:
    with start("status", "--json") as running:
        out, _ = running.communicate()
    found: dict[str, Any] = json.loads(out)
    return found


def pids() -> dict[str, int]:
    return {process["name"]: process["pid"] for process in status()["processes"]}


def kubectl(*arguments: str) -> str:
    command = [str(api.tool("kubectl")), "--kubeconfig", str(LAYOUT.kubeconfig), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def machine() -> set[str]:
    """Return the machine's mounts, tables of packet rules and named network namespaces, a line each."""

    def shown(*command: str) -> list[str]:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    image_store = str(cache.root() / "images")  # an image can be built meanwhile
    mounts = [line for line in shown("cat", "/proc/mounts") if image_store not in line]
    return {*mounts, *shown("nft", "list", "tables"), *shown("ip", "netns", "list")}


def ours() -> list[str]:
    """Return the processes of this machine that run in the instance's control group or from its folder."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "cgroup").read_text() + (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue  # it ended meanwhile
        if LAYOUT.cgroup in text or str(LAYOUT.home) in text:
            found.append(text)
    return found


@pytest.fixture(autouse=True, scope="module")
def clean() -> Iterator[set[str]]:
    """The state of the machine without this instance, which is restored after the last test."""
    tool("down", "--purge")
    yield machine()
    tool("down", "--purge")


@pytest.fixture
def up() -> dict[str, int]:
    """The running instance: the pids of its processes, by name."""
    tool("up")
    return pids()


@pytest.mark.timeout(60)
def test_up_starts_nothing_again_when_the_cluster_is_healthy(up: dict[str, int]) -> None:
    printed = tool("up")

    assert "is up" in printed
    assert pids() == up


@pytest.mark.timeout(60)
def test_restarted_process_runs_again(up: dict[str, int]) -> None:
    tool("restart", "kube-apiserver")
    wait_until(lambda: status()["ready"], "it is ready again")

    after = pids()
    assert after.pop("kube-apiserver") != up["kube-apiserver"]
    assert after == {name: pid for name, pid in up.items() if name != "kube-apiserver"}


def enforces() -> bool:
    rules = ["nsenter", "--target", str(json.loads(LAYOUT.record.read_text())["pid"]), "--net", "iptables-save"]
    shown = subprocess.run([*rules, "--table", "mangle"], check=True, capture_output=True, text=True).stdout
    return "NFQUEUE" in shown


@pytest.mark.timeout(300)  # the first time, the program is built
def test_enforcement_of_policies_is_switched_on_and_off(up: dict[str, int]) -> None:
    """`tests/e2e/test_network_policies.py` tests with runs which connections it allows."""
    assert not enforces()
    tool("enforce", "on")
    assert enforces()
    after = pids()
    assert after.pop("network-policies") is not None
    assert after == up

    tool("enforce", "off")
    assert not enforces()
    assert pids() == up


@pytest.mark.timeout(60)
def test_up_replaces_a_cluster_that_lost_processes(up: dict[str, int]) -> None:
    for name in ("etcd", "kubelet"):
        os.kill(up[name], signal.SIGKILL)
    wait_until(lambda: not status()["ready"], "the loss shows in the status")

    tool("up")

    assert status()["ready"]
    assert not set(pids().values()) & set(up.values())


@pytest.mark.timeout(60)
def test_up_continues_an_up_that_was_killed_half_way() -> None:
    tool("down")
    killed = start("up")
    wait_until((LAYOUT.home / "run" / "etcd.pid").exists, "the first process was started", 30)
    killed.kill()
    killed.communicate()
    assert not status()["ready"]

    tool("up")

    assert status()["ready"]


@pytest.mark.timeout(60)
def test_down_leaves_nothing_on_the_machine_but_the_images(clean: set[str], up: dict[str, int]) -> None:
    kubectl("run", "sleeper", f"--image={SANDBOX_IMAGE}", "--image-pull-policy=Never")
    kubectl("wait", "pod/sleeper", "--for=condition=Ready", "--timeout=30s")
    assert len(ours()) > len(up)

    printed = tool("down")

    assert "removed" in printed
    assert ours() == []
    assert LAYOUT.interface not in os.listdir("/sys/class/net")
    assert not list(pathlib.Path("/sys/fs/cgroup").glob(f"**/{LAYOUT.cgroup}"))
    assert machine() - clean == set()
    assert not LAYOUT.home.exists()
    assert LAYOUT.images.exists()


@pytest.mark.timeout(60)
def test_containers_of_a_cluster_that_was_killed_are_gone_in_the_next_one(up: dict[str, int]) -> None:
    kubectl("run", "sleeper", f"--image={SANDBOX_IMAGE}", "--image-pull-policy=Never")
    kubectl("wait", "pod/sleeper", "--for=condition=Ready", "--timeout=30s")
    init = json.loads(LAYOUT.record.read_text())["pid"]
    os.kill(init, signal.SIGKILL)
    wait_until(lambda: Process.of(init) is None, "the node died")

    tool("up")

    assert containers.ctr(LAYOUT, "containers", "list", "--quiet").split() == []


@pytest.mark.timeout(60)
def test_process_that_reuses_a_recorded_pid_is_not_ended() -> None:
    tool("down")
    with subprocess.Popen(["sleep", "60"]) as stranger:
        LAYOUT.home.mkdir(parents=True)
        record = {"boot": boot_id(), "pid": stranger.pid, "start": 1}
        LAYOUT.record.write_text(json.dumps(record))

        tool("down")

        assert stranger.poll() is None
        stranger.kill()
