"""A flow that is to run in Kubernetes: what is created for it, what is refused before, and how its log is read."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from flowcluster import Flow, flow
from flowcluster.cli.watch import _Story
from flowcluster.errors import ParameterError, SubmittedRunFailed
from flowcluster.kube.choice import Choice
from flowcluster.submit.driver_log import LineDeduplicator
from flowcluster.submit.handle import phase_at_end
from flowcluster.submit.packing import ARCHIVE, LIMIT, FlowLocation, location_at, location_of, packed
from flowcluster.submit.prepare import prepare
from flowcluster.submit.runner_cluster import cluster_of_runner
from flowcluster.task_runners import ConcurrentTaskRunner, DaskTaskRunner, RayTaskRunner
from flowcluster_api.driver import ENV_OPERATOR_CLASS, PARAMETERS_LIMIT

CLASS = "flowcluster.clusters.DaskKubernetesCluster"


@flow
def greetings(names: list[str], times: int = 1) -> int:
    return times


def on_kubernetes(cluster_kwargs: Any = None, adapt_kwargs: Any = None, **more: Any) -> DaskTaskRunner:
    return DaskTaskRunner(
        cluster_class=more.pop("cluster_class", CLASS), cluster_kwargs=cluster_kwargs, adapt_kwargs=adapt_kwargs, **more
    )


@pytest.fixture
def place(tmp_path: Path) -> FlowLocation:
    """A file with a flow."""
    (tmp_path / "flows.py").write_text("from flowcluster import flow\n")
    return FlowLocation(str(tmp_path / "flows.py"), "greetings", is_file=True)


class TestObjects:
    """What is created for a run."""

    @pytest.mark.parametrize(
        ("variable", "spec", "found"),
        [(None, {}, None), ("", {}, None), ("blue", {}, "blue"), ("blue", {"operatorClass": "red"}, "red")],
    )
    def test_operator_class_is_that_of_the_spec_or_of_the_environment(
        self, place: FlowLocation, monkeypatch: pytest.MonkeyPatch, variable: str | None, spec: Any, found: str | None
    ) -> None:
        monkeypatch.delenv(ENV_OPERATOR_CLASS, raising=False)
        if variable is not None:
            monkeypatch.setenv(ENV_OPERATOR_CLASS, variable)
        objects = prepare(greetings, {"names": []}, location=place, spec=spec)

        assert objects.flow_run["spec"].get("operatorClass") == found

    @pytest.mark.parametrize(
        "given", [{"image": "a\udc80"}, {"name": "a\udc80"}, {"spec": {"flow": {"template": {"a\udc80": 1}}}}]
    )
    def test_text_that_utf8_does_not_have_is_refused(self, place: FlowLocation, given: Any) -> None:
        """The API server would replace the character."""
        with pytest.raises(ValueError, match=r"'a.udc80' has a character"):
            prepare(greetings, {"names": []}, location=place, **given)

    def test_the_file_goes_along(self, place: FlowLocation) -> None:
        """The FlowRun mounts a ConfigMap that has the file; both are named after the flow."""
        made = prepare(greetings, {"names": ["ford"]}, location=place)
        assert made.config_map is not None
        spec = made.flow_run["spec"]

        assert made.config_map["data"] == {"flows.py": "from flowcluster import flow\n"}
        assert spec["flow"] == {
            "entrypoint": "flows.py:greetings",
            "parameters": {"names": ["ford"]},
            "source": {"configMap": {"name": made.config_map["metadata"]["name"]}},
        }
        assert "cluster" not in spec
        assert made.flow_run["metadata"]["name"].startswith("greetings-")
        assert made.config_map["metadata"]["name"].startswith(made.flow_run["metadata"]["name"])

    def test_each_submission_has_names_of_its_own(self, place: FlowLocation) -> None:
        """Also the ConfigMap of a run whose name was given: one of an earlier run may still be there."""
        one, other = (prepare(greetings, {"names": []}, location=place, name="daily") for _ in range(2))
        assert one.config_map is not None
        assert other.config_map is not None

        assert one.flow_run["metadata"] == other.flow_run["metadata"] == {"name": "daily"}
        assert one.config_map["metadata"]["name"] != other.config_map["metadata"]["name"]

    def test_all_that_a_person_says_arrives(self, place: FlowLocation) -> None:
        """Image, name, namespace, workers and other fields of the spec stand where the FlowRun has them."""
        made = prepare(
            greetings,
            {"names": (), "times": 3},
            location=place,
            image="registry/flows:1",
            name="daily",
            workers=(1, 4),
            spec={"ttlSecondsAfterFinished": 60, "flow": {"backoffLimit": 2}},
            choice=Choice(namespace="team"),
        )
        spec = made.flow_run["spec"]

        assert made.flow_run["metadata"] == {"name": "daily", "namespace": "team"}
        assert (spec["flow"]["image"], spec["flow"]["backoffLimit"]) == ("registry/flows:1", 2)
        assert spec["flow"]["parameters"] == {"names": [], "times": 3}
        assert spec["cluster"] == {"kind": "Dask", "workers": {"minimum": 1, "maximum": 4}}
        assert spec["ttlSecondsAfterFinished"] == 60

    def test_driver_and_workers_are_told_where_results_go(self, place: FlowLocation) -> None:
        """As an environment variable, beside what the spec's own templates say."""
        container = {"name": "driver", "env": [{"name": "A", "value": "1"}]}
        template = {"spec": {"containers": [container]}}
        made = prepare(
            greetings,
            {"names": []},
            location=place,
            workers=2,
            result_storage="s3://results",
            spec={"flow": {"template": template}},
        )
        spec, told = made.flow_run["spec"], {"name": "FLOWCLUSTER_RESULT_STORAGE", "value": "s3://results"}
        (driver,) = spec["flow"]["template"]["spec"]["containers"]
        (worker,) = spec["cluster"]["workers"]["template"]["spec"]["containers"]

        assert driver == {"name": "driver", "env": [{"name": "A", "value": "1"}, told]}
        assert worker == {"name": "worker", "env": [told]}
        assert made.storage == "s3://results"

    def test_a_module_is_in_the_image(self) -> None:
        """Nothing is packed for it, and without an image it is refused."""
        place = location_at("package.flows:greetings")
        made = prepare(greetings, {"names": []}, location=place, image="registry/flows:1")

        assert made.config_map is None
        assert made.flow_run["spec"]["flow"]["entrypoint"] == "package.flows:greetings"
        with pytest.raises(ValueError, match=r"package\.flows is a module.*image"):
            prepare(greetings, {"names": []}, location=place)

    def test_the_image_of_the_environment_is_the_default(
        self, place: FlowLocation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """FLOWCLUSTER_IMAGE, as for clusters from Python."""
        monkeypatch.setenv("FLOWCLUSTER_IMAGE", "registry/mine:1")

        assert prepare(greetings, {"names": []}, location=place).flow_run["spec"]["flow"]["image"] == "registry/mine:1"


class TestParameters:
    """Of the flow: checked by its annotations, sent as JSON."""

    @pytest.mark.parametrize(("given", "word"), [({}, "names"), ({"names": 1}, "names"), ({"nam": []}, "nam")])
    def test_what_the_flow_does_not_take_is_refused(
        self, place: FlowLocation, given: dict[str, Any], word: str
    ) -> None:
        """In the words of a call, before anything is created."""
        with pytest.raises(ParameterError, match=f"'{word}'"):
            prepare(greetings, given, location=place)

    @pytest.mark.parametrize("value", [object(), float("nan")])
    def test_what_json_cannot_say_is_refused(self, place: FlowLocation, value: object) -> None:
        """By the parameter's name."""
        untyped: Flow[..., Any] = Flow(flow(lambda names: names).spec)

        with pytest.raises(ValueError, match="'names' cannot be written as JSON"):
            prepare(untyped, {"names": value}, location=place)

    def test_too_many_bytes_are_refused(self, place: FlowLocation) -> None:
        """Linux would not start the driver."""
        with pytest.raises(ValueError, match=f"{PARAMETERS_LIMIT} can be passed"):
            prepare(greetings, {"names": ["x" * PARAMETERS_LIMIT]}, location=place)


class TestPacking:
    """Of a flow's file."""

    def test_a_flow_is_found_in_its_file(self, tmp_path: Path) -> None:
        """A script that submits its own flow packs itself."""
        script = tmp_path / "script.py"
        script.write_text(
            "from flowcluster import flow\nfrom flowcluster.submit.packing import location_of\n"
            "@flow\ndef f(): pass\nprint(*location_of(f))\n"
        )
        shown = subprocess.check_output([sys.executable, str(script)], text=True)

        assert shown == f"{script} f True\n"

    def test_a_flow_that_has_no_name_is_refused(self) -> None:
        """The driver could not find it, nor the options that it has."""
        with pytest.raises(ValueError, match="cannot be found by name"):
            location_of(greetings.with_options(retries=1))

    def test_modules_that_the_file_imports_go_along(self, tmp_path: Path) -> None:
        """Those beside it as keys of the ConfigMap, and packages as a whole, in an archive."""
        (tmp_path / "helpers").mkdir()
        for name in ("prices.py", "tax.py", "unused.py", "helpers/__init__.py", "helpers/more.py"):
            (tmp_path / name).write_text("import tax\n" if name == "prices.py" else "")
        file = tmp_path / "flows.py"
        file.write_text("import json, os.path\nimport prices\ndef f():\n    from helpers.more import x\n")
        made = prepare(greetings, {"names": []}, location=FlowLocation(str(file), "greetings", is_file=True))
        assert made.config_map is not None
        archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(made.config_map["binaryData"][ARCHIVE])))

        assert made.config_map["data"] == {"flows.py": file.read_text(), "prices.py": "import tax\n", "tax.py": ""}
        assert archive.namelist() == ["helpers/__init__.py", "helpers/more.py"]

    def test_modules_below_the_working_directory_go_along_where_python_finds_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As with a folder ``src`` beside that of the flows; also for a link to the file."""
        for name in ("flows/steps_of_test.py", "src/shop_of_test/__init__.py", "src/unused_of_test.py"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "flows" / "daily.py").write_text("import shop_of_test, steps_of_test, unittest\n")
        (tmp_path / "daily.py").symlink_to(tmp_path / "flows" / "daily.py")
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path / "src"))

        for file in ("flows/daily.py", "daily.py"):
            code = packed(file)
            assert set(code.files()) == {"daily.py", "steps_of_test.py", ARCHIVE}
            assert zipfile.ZipFile(io.BytesIO(code.modules[ARCHIVE])).namelist() == ["shop_of_test/__init__.py"]

    def test_file_that_imports_from_above_its_folder_goes_along_as_a_module(self, tmp_path: Path) -> None:
        """With its package as a whole; where there is none, it is refused."""
        for name in ("__init__.py", "rates.py", "jobs/__init__.py", "jobs/steps.py"):
            (tmp_path / "etl_of_test" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "etl_of_test" / name).touch()
        file = tmp_path / "etl_of_test" / "jobs" / "daily.py"
        file.write_text("from .steps import step\n")
        (file.parent / "steps.py").write_text("from ..rates import RATE\n")

        code = packed(str(file))

        assert code.entrypoint("main") == "etl_of_test.jobs.daily:main"
        (archive,) = code.files().values()
        assert zipfile.ZipFile(io.BytesIO(archive)).namelist() == [
            f"etl_of_test/{name}.py" for name in ("__init__", "jobs/__init__", "jobs/daily", "jobs/steps", "rates")
        ]
        (file.parent / "__init__.py").unlink()
        with pytest.raises(ValueError, match="imports relatively from above its folder, which is in no package"):
            packed(str(file))

    def test_what_no_config_map_can_hold_is_refused(self, tmp_path: Path) -> None:
        """By file and size, with what to do."""
        file = tmp_path / "flows.py"
        file.write_bytes(b"#" * LIMIT)

        with pytest.raises(ValueError, match=r"flows\.py has 1\.0 MiB.*image"):
            packed(str(file))

    def test_a_name_that_no_key_may_have_is_refused(self, tmp_path: Path) -> None:
        """Before the API server refuses it in words about keys."""
        (tmp_path / "my flow.py").touch()

        with pytest.raises(ValueError, match=r"'my flow\.py' cannot be packed"):
            packed(str(tmp_path / "my flow.py"))

    def test_another_encoding_stays_as_it_is(self, tmp_path: Path) -> None:
        """Bytes that are no UTF-8 go along as bytes."""
        file = tmp_path / "flows.py"
        file.write_bytes("# coding: latin-1\nNAME = 'é'\n".encode("latin-1"))
        made = prepare(greetings, {"names": []}, location=FlowLocation(str(file), "greetings", is_file=True))
        assert made.config_map is not None

        assert made.config_map["binaryData"]["flows.py"].startswith("IyBjb2Rpbmc6")


class TestClusters:
    """What a task runner asks for, as a FlowRun says it."""

    def test_a_runner_that_stays_here_asks_for_none(self) -> None:
        """Threads, a local cluster and one by its address are the flow's own affair."""
        for runner in (ConcurrentTaskRunner(), DaskTaskRunner(), DaskTaskRunner(address="tcp://somewhere:8786")):
            assert cluster_of_runner(runner, None).spec == {}

    def test_workers_follow_the_work_by_default(self) -> None:
        """As many as the administrator allows, as with the class itself; the class and its name are the same."""
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
    def test_numbers_of_workers(self, cluster_kwargs: Any, adapt_kwargs: Any, workers: Any, bounds: Any) -> None:
        """What adapts wins over a number, and what is said at submission over both."""
        found = cluster_of_runner(on_kubernetes(cluster_kwargs, adapt_kwargs), workers).spec["cluster"]["workers"]

        assert (found["minimum"], found["maximum"]) == bounds

    def test_a_ray_cluster_is_asked_for_as_a_dask_cluster_is(self) -> None:
        """The class says the kind; its environment goes to the head, too."""
        cluster_class = "flowcluster.clusters.RayKubernetesCluster"
        runner = RayTaskRunner(cluster_class=cluster_class, cluster_kwargs={"n_workers": 2, "env": {"A": "1"}})
        cluster = cluster_of_runner(runner, None).spec["cluster"]

        assert (cluster["kind"], cluster["workers"]["minimum"], cluster["workers"]["maximum"]) == ("Ray", 2, 2)
        assert cluster["scheduler"]["template"]["spec"]["containers"][0]["name"] == "head"

    @pytest.mark.parametrize(("runner", "kind"), [(RayTaskRunner(), "Ray"), (ConcurrentTaskRunner(), "Dask")])
    def test_workers_are_of_the_runners_kind(self, runner: Any, kind: str) -> None:
        """A number of workers alone makes a cluster that the flow's tasks were meant for."""
        cluster = cluster_of_runner(runner, 2).spec["cluster"]

        assert cluster == {"kind": kind, "workers": {"minimum": 2, "maximum": 2}}

    def test_what_the_class_takes_arrives(self) -> None:
        """Image, resources, environment, deadlines, name and place."""
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
    def test_what_a_flow_run_cannot_say_is_refused_by_name(self, runner: DaskTaskRunner, named: str) -> None:
        """Nothing that a person wrote is ignored."""
        with pytest.raises(ValueError, match=named):
            cluster_of_runner(runner, None)

    @pytest.mark.parametrize("workers", [-1, (3, 2), (0, -1)])
    def test_numbers_that_cannot_be_meant(self, workers: Any) -> None:
        """They are refused with the number."""
        with pytest.raises(ValueError, match="workers"):
            cluster_of_runner(ConcurrentTaskRunner(), workers)


class TestLog:
    """Lines of a log that was opened more than once."""

    LINES = tuple(
        line.encode()
        for line in (
            "2026-01-01T12:00:00.100Z a\n",
            "2026-01-01T12:00:01.000000001Z b\n",
            "2026-01-01T12:00:01.000000001Z b\n",
            "2026-01-01T12:00:00.999999999Z late\n",
            "2026-01-01T12:00:01.5Z c\n",
            "2026-01-01T12:00:07Z d\n",
            "2026-01-01T12:00:07.1Z e\n",
            "2026-01-01T12:00:06.999Z later\n",
            "2026-01-01T12:00:09Z f\n",
        )
    )

    @pytest.mark.parametrize("broken", [(0,), (1,), (2, 3), (4, 4), (5, 6, 7), (8, 9), tuple(range(10))])
    def test_each_line_is_told_once(self, broken: tuple[int, ...]) -> None:
        """Wherever the connection breaks: equal lines count, and so do those that changed places."""
        lines, told = LineDeduplicator(), list[bytes]()
        for end in (*broken, len(self.LINES)):
            since = lines.reopened()
            # What the log has by then, from the second on that was asked for.
            given = [line for line in self.LINES[:end] if since is None or line[:19].decode() + "Z" >= since]
            told += [line for line in given if lines.is_new(line)]

        assert sorted(told) == sorted(self.LINES)

    def test_what_the_kubelet_says_is_not_the_drivers(self) -> None:
        """A line without a time comes from the node."""
        assert not LineDeduplicator().is_new(b"unable to retrieve container logs for containerd://1\n")


class TestRecord:
    """What a run's status tells."""

    @pytest.mark.parametrize(
        ("status", "reason", "phase"),
        [
            ("True", "Succeeded", "Succeeded"),
            ("True", "Cancelled", "Cancelled"),
            ("True", "ParentEnded", "Cancelled"),
            ("True", "ClusterLost", "Failed"),
            ("False", "Waiting", None),
        ],
    )
    def test_the_end_is_known_before_all_is_removed(self, status: str, reason: str, phase: str | None) -> None:
        """By the condition Finished, which comes first."""
        told = {"phase": "Stopping", "conditions": [{"type": "Finished", "status": status, "reason": reason}]}

        assert phase_at_end(told) == phase

    def test_each_change_is_told_once(self) -> None:
        """The story with its own times, and what stands as reason and message between its entries."""
        told = io.StringIO()
        story = _Story(told)
        created = {"time": "2026-01-01T12:00:00Z", "reason": "Created", "message": "created Job x"}
        runs = {"time": "2026-01-01T12:00:09Z", "reason": "FlowRunning", "message": "the driver was started"}
        waiting = {"phase": "Starting", "reason": "Waiting", "message": "waiting for the driver", "story": [created]}
        story.show({}, 1.0)
        story.show({}, 6.0)
        story.show({}, 7.0)
        story.show(waiting, 8.0)
        story.show(waiting, 9.0)
        story.show({"phase": "Running", **runs, "message": "the flow runs", "story": [created, runs]}, 10.0)

        assert [line.split(" ", 1)[1] for line in told.getvalue().splitlines()] == [
            "Pending   Unnoticed: no operator has taken notice of the run yet: does it run?",
            "Starting  Created: created Job x",
            "Starting  Waiting: waiting for the driver",
            "Running   FlowRunning: the driver was started",
        ]
        assert "12:00:09 Running" in told.getvalue()

    def test_watch_shows_a_cause_once_while_its_reasons_alternate(self) -> None:
        told = io.StringIO()
        story = _Story(told)
        entry = {"time": "2026-01-01T12:00:01Z", "part": "driver"}
        for number, reason in enumerate(["ErrImagePull", "ImagePullBackOff"] * 3):
            text = {"reason": reason, "message": f"text {number}"}
            story.show({"phase": "Starting", **text, "story": [entry | text]}, float(number))

        assert told.getvalue() == "12:00:01 Starting  ErrImagePull: text 0\n"

    def test_its_failure_travels(self) -> None:
        """The exception keeps its reason when it is pickled."""
        import pickle

        error = pickle.loads(pickle.dumps(SubmittedRunFailed("no", "ClusterLost")))

        assert (str(error), error.reason) == ("no", "ClusterLost")


def test_a_flow_that_is_called_needs_no_kubernetes() -> None:
    """`submit_to_kubernetes` costs whoever does not call it nothing."""
    program = (
        "import sys, flowcluster, flowcluster.cli.main; print(json.dumps([n for n in sys.modules if 'kube' in n]))"
    )
    shown = subprocess.check_output([sys.executable, "-c", f"import json; {program}"], text=True)

    assert json.loads(shown) == []
