"""Submitting a flow to Kubernetes: the objects of the run, and the checks before they are created."""

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
    """Return the location of a file with a flow."""
    (tmp_path / "flows.py").write_text("from flowcluster import flow\n")
    return FlowLocation(str(tmp_path / "flows.py"), "greetings", is_file=True)


class TestObjects:
    """Objects of a run."""

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
    def test_text_that_utf8_cannot_encode_is_refused(self, place: FlowLocation, given: Any) -> None:
        """The API server would replace the character."""
        with pytest.raises(ValueError, match=r"'a.udc80' has a character"):
            prepare(greetings, {"names": []}, location=place, **given)

    def test_file_is_mounted_from_a_config_map(self, place: FlowLocation) -> None:
        """The FlowRun mounts a ConfigMap with the file. The names of both begin with the name of the flow."""
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

    def test_each_submitted_run_has_its_own_names(self, place: FlowLocation) -> None:
        """The ConfigMap of a run with a given name has its own name, too: that of an earlier run can still exist."""
        one, other = (prepare(greetings, {"names": []}, location=place, name="daily") for _ in range(2))
        assert one.config_map is not None
        assert other.config_map is not None

        assert one.flow_run["metadata"] == other.flow_run["metadata"] == {"name": "daily"}
        assert one.config_map["metadata"]["name"] != other.config_map["metadata"]["name"]

    def test_arguments_become_fields_of_the_flow_run(self, place: FlowLocation) -> None:
        """Image, name, namespace, workers and other fields of the spec become the same fields of the FlowRun."""
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

    def test_driver_and_workers_get_the_storage_of_results(self, place: FlowLocation) -> None:
        """It is an environment variable besides those of the spec's own templates."""
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
        spec, storage = made.flow_run["spec"], {"name": "FLOWCLUSTER_RESULT_STORAGE", "value": "s3://results"}
        (driver,) = spec["flow"]["template"]["spec"]["containers"]
        (worker,) = spec["cluster"]["workers"]["template"]["spec"]["containers"]

        assert driver == {"name": "driver", "env": [{"name": "A", "value": "1"}, storage]}
        assert worker == {"name": "worker", "env": [storage]}
        assert made.storage == "s3://results"

    def test_module_is_not_packed(self) -> None:
        """The image contains the module. A module without an image is refused."""
        place = location_at("package.flows:greetings")
        made = prepare(greetings, {"names": []}, location=place, image="registry/flows:1")

        assert made.config_map is None
        assert made.flow_run["spec"]["flow"]["entrypoint"] == "package.flows:greetings"
        with pytest.raises(ValueError, match=r"package\.flows is a module.*image"):
            prepare(greetings, {"names": []}, location=place)

    def test_image_of_the_environment_is_the_default(
        self, place: FlowLocation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The variable is FLOWCLUSTER_IMAGE, as for clusters from Python."""
        monkeypatch.setenv("FLOWCLUSTER_IMAGE", "registry/mine:1")

        assert prepare(greetings, {"names": []}, location=place).flow_run["spec"]["flow"]["image"] == "registry/mine:1"


class TestParameters:
    """Parameters of the flow: checked by its annotations, sent as JSON."""

    # codespell:ignore-next-line nam
    @pytest.mark.parametrize(("given", "word"), [({}, "names"), ({"names": 1}, "names"), ({"nam": []}, "nam")])
    def test_parameters_that_the_flow_does_not_accept_are_refused(
        self, place: FlowLocation, given: dict[str, Any], word: str
    ) -> None:
        """The error is that of a call. The SDK raises it before it creates an object."""
        with pytest.raises(ParameterError, match=f"'{word}'"):
            prepare(greetings, given, location=place)

    @pytest.mark.parametrize("value", [object(), float("nan")])
    def test_parameter_that_json_cannot_represent_is_refused(self, place: FlowLocation, value: object) -> None:
        """The error has the parameter's name."""
        untyped: Flow[..., Any] = Flow(flow(lambda names: names).spec)

        with pytest.raises(ValueError, match="'names' cannot be written as JSON"):
            prepare(untyped, {"names": value}, location=place)

    def test_parameters_of_too_many_bytes_are_refused(self, place: FlowLocation) -> None:
        """Linux would not start the driver."""
        with pytest.raises(ValueError, match=f"{PARAMETERS_LIMIT} can be passed"):
            prepare(greetings, {"names": ["x" * PARAMETERS_LIMIT]}, location=place)


def test_flow_that_is_called_imports_no_kubernetes() -> None:
    """Programs without a call of `submit_to_kubernetes` do not import its modules."""
    program = (
        "import sys, flowcluster, flowcluster.cli.main; print(json.dumps([n for n in sys.modules if 'kube' in n]))"
    )
    shown = subprocess.check_output([sys.executable, "-c", f"import json; {program}"], text=True)

    assert json.loads(shown) == []
