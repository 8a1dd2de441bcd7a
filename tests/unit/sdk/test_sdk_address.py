"""Waiting for a scheduler's address, on a clock that the test moves."""

from __future__ import annotations

import logging
import re
import socket
from typing import Any

import pytest

from flowcluster.clusters import address
from flowcluster.errors import ClusterUnreachable
from flowcluster.task_runners import DaskTaskRunner, RayTaskRunner


class World:
    """A clock, and a host that starts to answer at a given time."""

    def __init__(self, answers_at: float, error: OSError | None = None) -> None:
        self.time = 100.0
        self.answers_at = 100.0 + answers_at
        self.error = error or ConnectionRefusedError(111, "Connection refused")
        self.attempts: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def connect(self, host: str, port: int, timeout: float) -> None:
        self.attempts.append(round(self.time - 100.0, 3))
        if self.time < self.answers_at:
            raise self.error

    def wait(self, timeout: float) -> None:
        address.wait_for("tcp://sched:8786", timeout, now=self.now, sleep=self.sleep, connect=self.connect)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("tcp://10.0.0.1:8786", ("10.0.0.1", 8786)),
        ("tls://name.ns.svc:1234", ("name.ns.svc", 1234)),
        ("name", ("name", 8786)),
        ("name:99", ("name", 99)),
        ("tcp://[::1]:99", ("::1", 99)),
        ("inproc://1.2.3.4/5/6", None),
    ],
)
def test_address_is_split_into_host_and_port(text: str, target: tuple[str, int] | None) -> None:
    """Scheme and port are optional. The SDK cannot wait for an address that is not TCP."""
    assert address.split(text) == target


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("http://my-dask-cluster", "tcp://my-dask-cluster:8786"),
        ("HTTP://my-dask-cluster:8000/status", "tcp://my-dask-cluster:8000"),
        ("https://my-dask-cluster", "tls://my-dask-cluster:8786"),
        ("tcp://...", "tcp://...:8786"),
        ("name", "tcp://name:8786"),
        ("name:99", "tcp://name:99"),
        ("tls://name", "tls://name:8786"),
        ("tcp://[::1]", "tcp://[::1]:8786"),
        ("inproc://1.2.3.4/5/6", "inproc://1.2.3.4/5/6"),
        ("ws://host:80", "ws://host:80"),
    ],
)
def test_runner_connects_to_the_scheduler_that_an_address_means(text: str, wanted: str) -> None:
    assert DaskTaskRunner(address=text).address == text
    assert address.for_client(text) == wanted


@pytest.mark.parametrize(
    ("make", "text", "remedy"),
    [
        (DaskTaskRunner, "ray://head:10001", "use RayTaskRunner(address='ray://head:10001')"),
        (RayTaskRunner, "tcp://sched:8786", "use DaskTaskRunner(address='tcp://sched:8786')"),
        (RayTaskRunner, "tls://sched:8786", "use DaskTaskRunner(address='tls://sched:8786')"),
        (RayTaskRunner, "http://head:8265", "such as ray://head:10001"),
    ],
)
def test_address_of_another_kind_is_refused_with_what_to_write(make: Any, text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=re.escape(remedy)):
        make(address=text)


@pytest.mark.parametrize("text", ["http://", "tcp://", "tcp://host:port"])
def test_invalid_address_is_refused(text: str) -> None:
    """The error shows an example of a valid address."""
    with pytest.raises(ValueError, match="tcp://HOST:8786"):
        address.split(text)


def test_waiting_ends_with_the_first_answer() -> None:
    """The SDK tries to connect every tenth of a second until a process listens."""
    world = World(answers_at=0.25)
    world.wait(60)

    assert world.attempts == [0.0, 0.1, 0.2, 0.3]


def test_waiting_is_logged_every_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    """The first line comes after one second."""
    caplog.set_level(logging.INFO, "flowcluster")
    World(answers_at=15).wait(60)

    assert [record.getMessage() for record in caplog.records] == [
        "Waiting for tcp://sched:8786 to answer (1 of 60 s; [Errno 111] Connection refused)",
        "Waiting for tcp://sched:8786 to answer (11 of 60 s; [Errno 111] Connection refused)",
    ]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (None, "no process listens on that port"),
        (socket.gaierror(-2, "Name or service not known"), "name sched is right"),
        (TimeoutError("timed out"), "network policy"),
    ],
)
def test_deadline_says_what_to_check(error: OSError | None, advice: str) -> None:
    """The error after the deadline contains the duration, the last cause and what to check."""
    with pytest.raises(ClusterUnreachable, match=r"within 2 s") as caught:
        World(answers_at=99, error=error).wait(2)

    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("text", "target"),
    [("ray://head", ("head", 10001)), ("ray://head:1", ("head", 1)), ("head:6379", ("head", 6379)), ("auto", None)],
)
def test_ray_address_is_split_into_host_and_port(text: str, target: tuple[str, int] | None) -> None:
    """Ray clients use another port than programs on the cluster's machines."""
    assert address.split_ray(text) == target
