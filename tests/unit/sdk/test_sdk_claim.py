"""How a process finds out that a cluster that it requested is lost."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from typing import Any, cast

import pytest

from flowcluster.clusters.claim import Claim, _release_abandoned


class DeletedRuns:
    """FlowRuns that are all deleted. A query returns when another thread has queried, too, or waits."""

    def __init__(self, claim: Claim) -> None:
        self.losses: list[Any] = []
        self.other = threading.Thread(target=lambda: self.losses.append(claim.find_loss()))

    def find(self, _name: str, _uid: str) -> None:
        self.other.start()
        self.other.join(0.1)


def test_query_for_a_loss_waits_for_the_answer_to_another_one() -> None:
    """Threads that observe the same loss report the same cause."""
    claim = Claim({"spec": {"cluster": {}}}, cast("Any", None), adapts=False)
    claim._flow_runs = runs = cast("Any", DeletedRuns(claim))

    loss = claim.find_loss()
    runs.other.join(10)

    assert loss is not None
    assert runs.losses == [loss]


class BusyAgent:
    """An agent in use by a thread that holds its lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_released = threading.Event()

    def release(self, _outcome: Any) -> None:
        with self.lock:
            self.is_released.set()


def test_abandoned_cluster_is_released_when_its_agent_is_in_use_by_the_thread_that_collects_garbage() -> None:
    claim, agent = Claim({"spec": {"cluster": {}}}, cast("Any", None), adapts=False), BusyAgent()
    weakref.finalize(claim, _release_abandoned, cast("Any", agent))

    with agent.lock:
        del claim

    assert agent.is_released.wait(10)


LEFT = """
import weakref
from flowcluster.clusters import claim

class Agent:
    def release(self, outcome): print("released")

class Claim: pass

left = Claim()
weakref.finalize(left, claim._release_abandoned, Agent())
"""


@pytest.mark.processes
def test_cluster_that_a_program_leaves_is_released_at_its_exit() -> None:
    done = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, check=True, timeout=60)

    assert (done.stdout, done.stderr) == ("released\n", "")
