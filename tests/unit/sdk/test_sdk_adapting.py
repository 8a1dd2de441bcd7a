"""Arguments of ``adapt``, the smoothing of demand, and messages between driver and agent. Pure."""

from __future__ import annotations

from typing import Any

import pytest

from flowcluster.agent.protocol import (
    Adapt,
    AgentJob,
    Forward,
    Forwarding,
    Lost,
    Release,
    Released,
    Trouble,
    read,
    write,
)
from flowcluster.agent.smoothing import SmoothedDemand
from flowcluster.clusters.adapt import UNLIMITED, parse_adapt
from flowcluster.clusters.manifest import cluster_spec, flow_run
from flowcluster.clusters.versions import check, check_ray, own_image
from flowcluster.errors import ClusterNotStarted
from flowcluster.kube.choice import Choice

WORKER = {"threads": 2, "resources": {"limits": {"memory": "4Gi"}}}


def bounds(**given: Any) -> tuple[int, int]:
    found = parse_adapt("tcp://s:1", WORKER, given)
    return found.minimum, found.maximum


def test_bounds_are_given_in_workers_threads_or_memory() -> None:
    """Without a maximum, the limit of the administrator holds."""
    assert bounds() == (0, UNLIMITED)
    assert bounds(minimum=1, maximum=None) == (1, UNLIMITED)
    assert bounds(minimum=1, maximum=float("inf")) == (1, UNLIMITED)
    assert bounds(minimum_cores=3, maximum_cores=9) == (2, 4)
    assert bounds(minimum_memory="5 GiB", maximum_memory="17 GiB") == (2, 4)
    assert bounds(maximum=3, maximum_cores=20) == (0, 3)


def test_durations_are_seconds_or_texts_of_dask() -> None:
    found = parse_adapt(
        "tcp://s:1", {}, {"interval": "500ms", "wait_count": 4, "target_duration": "10s", "up_delay": 1}
    )
    assert found.agent == Adapt("tcp://s:1", 0.5, 10.0, 1.0, 5.0, 2.0)
    assert parse_adapt("tcp://s:1", {}, {"idle": "1 minute"}).agent.idle_seconds == 60


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"worker_key": id}, "worker_key"),
        ({"Adaptive": object}, "Adaptive"),
        # codespell:ignore-next-line maximun
        ({"maximun": 3}, "maximun"),
        ({"minimum": -1}, "minimum"),
        ({"maximum": 1.5}, "maximum"),
        ({"minimum": 3, "maximum": 2}, "greater"),
        ({"interval": "soon"}, "interval"),
        ({"idle": -1}, "idle"),
        ({"maximum_memory": "much"}, "maximum_memory"),
        ({"maximum_cores": "2"}, "maximum_cores"),
    ],
)
def test_invalid_argument_of_adapt_is_refused_by_name(given: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        parse_adapt("tcp://s:1", WORKER, given)


def test_memory_without_a_limit_is_refused() -> None:
    """Without a limit, the memory cannot be converted to a number of workers."""
    with pytest.raises(ValueError, match="memory limit"):
        parse_adapt("tcp://s:1", {}, {"maximum_memory": "1GiB"})


def test_demand_rises_immediately_and_falls_after_a_delay() -> None:
    """A short dip in the work removes no worker; a lasting one does."""
    demand = SmoothedDemand(0, 5)
    seen = [
        demand.follow(wanted, now) for now, wanted in enumerate([0, 4, 1, 4, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    ]
    assert seen == [0, 4, 4, 4, 4, 4, 4, 4, 4, 1, 1, 1, 1, 1, 1, 0, 0]


def test_demand_rises_after_a_delay_when_one_is_given() -> None:
    """A burst that is shorter than the delay starts no worker."""
    demand = SmoothedDemand(2, 0)
    assert [demand.follow(wanted, now) for now, wanted in enumerate([0, 5, 0, 5, 5, 5, 3])] == [0, 0, 0, 0, 0, 5, 3]


@pytest.mark.parametrize(
    "message",
    [
        Forward("pod", {8786: 0}),
        Forward("pod", {8786: 0}, "data"),
        Adapt("tcp://s:1"),
        Adapt("tcp://s:1", when_edited=True),
        Release("{}"),
        Forwarding({8786: 40001}),
        Forwarding({}, "no"),
        Lost("Deleted", "gone"),
        Trouble("slow"),
        Released(),
    ],
)
def test_message_is_read_as_it_was_written(message: Any) -> None:
    assert read(write(message)) == message


def test_agent_job_is_read_as_it_was_written() -> None:
    """The job names the Kubernetes cluster, too."""
    job = AgentJob(Choice("a", None, "b"), "run", "uid", "lease", 60, "me", 1)
    assert AgentJob.from_json(job.to_json()) == job


def test_arguments_become_a_manifest() -> None:
    """Both containers get the environment variables, besides the fields of a template. The name is made unique."""
    worker = {
        "threads": 2,
        "template": {"spec": {"nodeSelector": {"a": "b"}, "containers": [{"name": "worker", "tty": 1}]}},
    }
    spec = cluster_spec("Dask", "mine:1", 2, {"limits": {"cpu": 1}}, {"A": "1"}, worker, None)
    container = {"name": "worker", "tty": 1, "env": [{"name": "A", "value": "1"}]}
    assert spec["image"] == "mine:1"
    assert spec["workers"] == {
        "threads": 2,
        "minimum": 2,
        "maximum": 2,
        "resources": {"limits": {"cpu": 1}},
        "template": {"spec": {"nodeSelector": {"a": "b"}, "containers": [container]}},
    }
    assert spec["scheduler"]["template"]["spec"]["containers"][0]["env"] == [{"name": "A", "value": "1"}]
    assert flow_run("My Flow_1!", {}, is_exact=False)["metadata"] == {"generateName": "my-flow-1-"}
    assert flow_run("mine", {}, is_exact=True)["metadata"] == {"name": "mine"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"n_workers": -1}, "n_workers"),
        ({"n_workers": True}, "n_workers"),
        ({"workers": {"minimum": 1}}, "minimum"),
        ({"resources": {}, "workers": {"resources": {}}}, "resources"),
    ],
)
def test_invalid_argument_of_a_cluster_is_refused_by_name(given: dict[str, Any], words: str) -> None:
    """The SDK checks before it sends a request to Kubernetes."""
    given = {"image": None, "n_workers": 0, "resources": None, "env": None, "workers": None, "scheduler": None} | given
    with pytest.raises(ValueError, match=words):
        cluster_spec("Dask", **given)


def versions(python: str = "3.11.7.final.0", **packages: str) -> dict[str, Any]:
    known = {"dask": "1", "distributed": "1", "cloudpickle": "3"} | packages
    return {"host": {"python": python}, "packages": known}


def test_other_versions_are_reported_with_the_remedy() -> None:
    """Another version of Python is an error, another version of a package a warning."""
    assert list(check(versions(), versions("3.11.2.final.0"), own_image("x:1"))) == []
    (difference,) = check(versions(), versions(dask="2"), own_image("x:1"))
    assert "dask==2" in difference
    with pytest.raises(ClusterNotStarted, match=r"Python 3\.12 .*image with Python 3\.11"):
        list(check(versions(), versions("3.12.1.final.0"), own_image("x:1")))


def test_another_version_of_ray_is_an_error() -> None:
    """Even the patch level of Ray has to be the same."""
    check_ray("2.60.0", "2.60.0", own_image("x:1"))
    with pytest.raises(ClusterNotStarted, match=r"Ray 2\.60\.1 .*ray==2\.60\.1 .*image with Ray 2\.60\.0"):
        check_ray("2.60.1", "2.60.0", own_image("x:1"))
