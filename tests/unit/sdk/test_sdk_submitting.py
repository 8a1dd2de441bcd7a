"""A flow that is to run in Kubernetes: what is created for it, what is refused before, and how its log is read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flowcluster import Flow, flow
from flowcluster.errors import ParameterError
from flowcluster.kube.choice import Choice
from flowcluster.submit.packing import FlowLocation, location_at
from flowcluster.submit.prepare import prepare
from flowcluster_api.driver import ENV_OPERATOR_CLASS, PARAMETERS_LIMIT


@flow
def greetings(names: list[str], times: int = 1) -> int:
    return times


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


def test_a_flow_that_is_called_needs_no_kubernetes() -> None:
    """`submit_to_kubernetes` costs whoever does not call it nothing."""
    program = (
        "import sys, flowcluster, flowcluster.cli.main; print(json.dumps([n for n in sys.modules if 'kube' in n]))"
    )
    shown = subprocess.check_output([sys.executable, "-c", f"import json; {program}"], text=True)

    assert json.loads(shown) == []
