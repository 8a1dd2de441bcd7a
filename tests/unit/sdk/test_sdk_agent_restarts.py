"""What a driver does when its agent crashes."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from types import SimpleNamespace
from typing import Any

import pytest

from flowcluster.agent import handle, protocol
from flowcluster.agent.handle import AgentHandle
from flowcluster.agent.protocol import Adapt, AgentJob, Forward, Forwarding
from flowcluster.kube.choice import Choice

JOB = AgentJob(Choice(None, None, "team"), "run", "uid", "lease", 60, "me", 1)


class FakeAgent:
    """An agent's process, whose side the test plays.

    Attributes:
        requests: lines from the driver.
        answers: lines to the driver.
    """

    returncode = 1

    def __init__(self, files: ExitStack) -> None:
        ends = [os.pipe(), os.pipe()]
        self.requests, self.stdin = (os.fdopen(end, mode) for end, mode in zip(ends[0], "rw", strict=True))
        self.stdout, self.answers = (os.fdopen(end, mode) for end, mode in zip(ends[1], "rw", strict=True))
        for file in (self.requests, self.stdout, self.answers):
            files.callback(file.close)
        files.callback(self._close_stdin)

    def answer(self, message: protocol.Message) -> None:
        self.answers.write(protocol.write(message))
        self.answers.flush()

    def crash(self) -> None:
        self.requests.close()
        self.answers.close()

    def wait(self, timeout: float | None = None) -> int:
        return self.returncode

    def _close_stdin(self) -> None:
        with suppress(OSError):  # the other end is closed
            self.stdin.close()


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeAgent]]:
    """Return the three agents that the driver starts, one after the other."""
    with ExitStack() as files:
        agents = [FakeAgent(files) for _ in range(3)]
        left = list(agents)
        fake = SimpleNamespace(Popen=lambda *_, **__: left.pop(0), PIPE=subprocess.PIPE)
        monkeypatch.setattr(handle, "subprocess", fake)
        monkeypatch.setattr(handle, "RESTART_SECONDS", 0.05)
        yield agents


def test_agent_that_replaces_two_crashed_ones_gets_all_requests(
    agents: list[FakeAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: errors.append(args.exc_value))
    first, second, third = agents
    agent = AgentHandle(JOB, lambda lost: None)
    first.answer(Forwarding({8786: 40_000}))
    agent.forward("pod", [8786])
    agent.adapt(Adapt("tcp://127.0.0.1:40000"))
    second.crash()
    first.crash()
    third.answer(Forwarding({8786: 40_000}))
    received = [protocol.read(third.requests.readline()) for _ in range(2)]
    agent.stop()

    assert received == [Forward("pod", {8786: 40_000}), Adapt("tcp://127.0.0.1:40000")]
    assert errors == []
