"""When the agent of a run with a fixed number of workers begins to report the demand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from flowcluster.agent.protocol import Adapt
from flowcluster.agent.worker_bounds import bounds_in, wait_until_scaling_is_needed
from flowcluster.cli import pod_agent
from flowcluster.cli.pod_agent import PodAgent, pod_agent_of
from flowcluster.cli.startup_error import StartupError
from flowcluster.errors import KubernetesError
from flowcluster_api import driver as api

ENVIRONMENT = {
    api.ENV_RUN_UID: "uid", api.ENV_RUN_NAME: "run", api.ENV_NAMESPACE: "team", api.ENV_POD_NAME: "pod",
    api.ENV_LEASE_DURATION: "60",
}  # fmt: skip


def flow_run(**workers: int) -> dict[str, Any]:
    return {"spec": {"cluster": {"kind": "Dask", **({"workers": workers} if workers else {})}}}


@pytest.mark.parametrize(
    ("workers", "bounds"),
    [({}, (0, 1)), ({"minimum": 2}, (2, 2)), ({"maximum": 3}, (0, 3)), ({"minimum": 1, "maximum": 1}, (1, 1))],
)
def test_bounds_are_those_that_the_operator_reads(workers: dict[str, int], bounds: tuple[int, int]) -> None:
    found = bounds_in(flow_run(**workers))

    assert (found["minimum"], found["maximum"]) == bounds


@pytest.mark.parametrize(
    ("looks", "used"),
    [
        ([(1, 1), (1, 1), (1, 2)], 3),
        ([(4, 4), (2, 2)], 2),
        ([(0, 1)], 1),
        ([(1, 1), KubernetesError("no"), (1, 1), (2, 2)], 4),
        ([KubernetesError("no"), (1, 1), (0, 1)], 3),
    ],
)
def test_wait_ends_with_the_first_look_at_edited_bounds(looks: list[Any], used: int) -> None:
    left: Iterator[Any] = iter(looks)

    def read() -> dict[str, Any]:
        look = next(left)
        if isinstance(look, Exception):
            raise look
        return flow_run(minimum=look[0], maximum=look[1])

    asyncio.run(asyncio.wait_for(wait_until_scaling_is_needed(read, 0.0), 10))

    assert len(looks) - len(list(left)) == used


def test_wait_ends_with_the_first_look_at_an_idle_timeout() -> None:
    looks = [flow_run(minimum=1, maximum=1) for _ in range(3)]
    looks[1]["spec"]["idleTimeoutSeconds"] = 60
    left = iter(looks)

    asyncio.run(asyncio.wait_for(wait_until_scaling_is_needed(lambda: next(left), 0.0), 10))

    assert len(list(left)) == 1


class Recorded:
    """An agent that records its requests."""

    made: list[Recorded]

    def __init__(self, *_: Any) -> None:
        self.wanted: list[Adapt] = []
        Recorded.made.append(self)

    def adapt(self, wanted: Adapt) -> None:
        self.wanted.append(wanted)

    def stop(self) -> None:
        pass


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    Recorded.made = []
    monkeypatch.setattr(pod_agent, "AgentHandle", Recorded)
    return Recorded.made


@pytest.fixture
def made(agents: list[Recorded], monkeypatch: pytest.MonkeyPatch) -> Iterator[PodAgent]:
    """The agent of a driver with a fixed number of workers."""
    monkeypatch.setattr(pod_agent, "_lack", lambda: None)
    found = pod_agent_of({**ENVIRONMENT, api.ENV_CLUSTER_ADAPTS: api.ADAPTS_WHEN_EDITED})
    assert found is not None
    yield found
    found.stop()


def test_request_that_waits_for_an_edit_starts_no_agent(made: PodAgent, agents: list[Recorded]) -> None:
    """An agent uses a CPU for a second while scheduler and workers start."""
    made.adapt(Adapt("tcp://s:1", when_edited=True))

    assert agents == []


def test_agent_that_starts_later_gets_the_request(made: PodAgent, agents: list[Recorded]) -> None:
    wanted = Adapt("tcp://s:1", when_edited=True)
    made.adapt(wanted)
    made._begin()

    assert [agent.wanted for agent in agents] == [[wanted]]


def test_running_agent_gets_the_request(made: PodAgent, agents: list[Recorded]) -> None:
    wanted = Adapt("tcp://s:1", when_edited=True)
    made._begin()
    made.adapt(wanted)

    assert [agent.wanted for agent in agents] == [[wanted]]


def test_image_without_an_agent_is_an_error_only_when_the_workers_adapt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pod_agent, "_lack", lambda: "the image lacks kubernetes")

    assert pod_agent_of({**ENVIRONMENT, api.ENV_CLUSTER_ADAPTS: api.ADAPTS_WHEN_EDITED}) is None
    with pytest.raises(StartupError, match="cannot follow the work"):
        pod_agent_of({**ENVIRONMENT, api.ENV_CLUSTER_ADAPTS: api.ADAPTS_NOW})
