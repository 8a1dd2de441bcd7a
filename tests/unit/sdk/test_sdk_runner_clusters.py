"""The cluster in the spec of a FlowRun, from the task runner of its flow."""

from __future__ import annotations

from typing import Any

import pytest

from flowcluster.kube.choice import Choice
from flowcluster.submit.runner_cluster import cluster_of_runner
from flowcluster.task_runners import ConcurrentTaskRunner, DaskTaskRunner, RayTaskRunner

CLASS = "flowcluster.clusters.DaskKubernetesCluster"


def on_kubernetes(cluster_kwargs: Any = None, adapt_kwargs: Any = None, **more: Any) -> DaskTaskRunner:
    return DaskTaskRunner(
        cluster_class=more.pop("cluster_class", CLASS), cluster_kwargs=cluster_kwargs, adapt_kwargs=adapt_kwargs, **more
    )


class TestClusters:
    """Arguments of a task runner become fields of a FlowRun."""

    def test_runner_without_a_class_for_kubernetes_requests_no_cluster(self) -> None:
        """The driver has threads, a local cluster, or a cluster at an address without the operator."""
        for runner in (ConcurrentTaskRunner(), DaskTaskRunner(), DaskTaskRunner(address="tcp://somewhere:8786")):
            assert cluster_of_runner(runner, None).spec == {}

    def test_workers_adapt_by_default(self) -> None:
        """The administrator sets the limit, as with the class itself. The class and its name have the same result."""
        from flowcluster.clusters import DaskKubernetesCluster

        for named in (CLASS, DaskKubernetesCluster):
            spec = cluster_of_runner(on_kubernetes(cluster_class=named), None).spec
            assert spec["cluster"]["workers"] == {"minimum": 0, "maximum": 10_000}

    @pytest.mark.parametrize(
        ("cluster_kwargs", "adapt_kwargs", "workers", "bounds"),
        [
            ({"n_workers": 3}, {}, None, (3, 3)),
            ({}, {"maximum": 5}, None, (0, 5)),
            ({"n_workers": 1}, {"minimum": 2, "maximum": 5}, None, (2, 5)),
            ({"n_workers": 3}, {}, 4, (4, 4)),
            ({}, {"maximum": 5}, (1, 2), (1, 2)),
        ],
    )
    def test_workers_of_the_submission_precede_adapt_and_n_workers(
        self, cluster_kwargs: Any, adapt_kwargs: Any, workers: Any, bounds: Any
    ) -> None:
        """`adapt_kwargs` precede `n_workers`, and `workers` of the submission precedes both."""
        found = cluster_of_runner(on_kubernetes(cluster_kwargs, adapt_kwargs), workers).spec["cluster"]["workers"]

        assert (found["minimum"], found["maximum"]) == bounds

    def test_ray_cluster_is_requested_like_a_dask_cluster(self) -> None:
        """The class selects the kind. The head gets its environment, too."""
        cluster_class = "flowcluster.clusters.RayKubernetesCluster"
        runner = RayTaskRunner(cluster_class=cluster_class, cluster_kwargs={"n_workers": 2, "env": {"A": "1"}})
        cluster = cluster_of_runner(runner, None).spec["cluster"]

        assert (cluster["kind"], cluster["workers"]["minimum"], cluster["workers"]["maximum"]) == ("Ray", 2, 2)
        assert cluster["scheduler"]["template"]["spec"]["containers"][0]["name"] == "head"

    @pytest.mark.parametrize(("runner", "kind"), [(RayTaskRunner(), "Ray"), (ConcurrentTaskRunner(), "Dask")])
    def test_workers_are_of_the_kind_of_the_runner(self, runner: Any, kind: str) -> None:
        """A number of workers is enough to request a cluster of the kind of the flow's task runner."""
        cluster = cluster_of_runner(runner, 2).spec["cluster"]

        assert cluster == {"kind": kind, "workers": {"minimum": 2, "maximum": 2}}

    def test_arguments_of_the_class_become_fields(self) -> None:
        """Image, resources, environment, deadlines, name and namespace."""
        kwargs = {
            "image": "registry/dask:1",
            "resources": {"limits": {"memory": "1Gi"}},
            "env": {"A": "1"},
            "workers": {"threads": 2},
            "start_deadline_seconds": 30,
            "name": "mine",
            "namespace": "team",
        }
        found = cluster_of_runner(on_kubernetes(kwargs), None)
        cluster = found.spec["cluster"]

        assert (found.name, found.choice) == ("mine", Choice(namespace="team"))
        assert (found.spec["startDeadlineSeconds"], cluster["image"]) == (30, "registry/dask:1")
        assert cluster["workers"]["resources"] == {"limits": {"memory": "1Gi"}}
        assert cluster["workers"]["threads"] == 2
        assert cluster["scheduler"]["template"]["spec"]["containers"][0]["env"] == [{"name": "A", "value": "1"}]

    @pytest.mark.parametrize(
        ("runner", "named"),
        [
            (on_kubernetes({"quiet": False}), r"cluster_kwargs\['quiet'\]"),
            (on_kubernetes(None, {"interval": "1s"}), r"adapt_kwargs\['interval'\]"),
            (on_kubernetes(client_kwargs={"timeout": 3}), "client_kwargs"),
            (on_kubernetes(performance_report_path="report.html"), "performance_report_path"),
            (on_kubernetes({"n_workers": -1}), "n_workers"),
        ],
    )
    def test_argument_without_a_field_is_refused_by_name(self, runner: DaskTaskRunner, named: str) -> None:
        """The SDK ignores no argument."""
        with pytest.raises(ValueError, match=named):
            cluster_of_runner(runner, None)

    @pytest.mark.parametrize("workers", [-1, (3, 2), (0, -1)])
    def test_invalid_numbers_of_workers_are_refused(self, workers: Any) -> None:
        with pytest.raises(ValueError, match="workers"):
            cluster_of_runner(ConcurrentTaskRunner(), workers)
