"""Parameters and the entrypoint travel as they are written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster.clusters.manifest import with_env
from flowcluster_api import driver
from flowcluster_api.literals import literal
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.driver_job import driver_job
from flowcluster_operator.desired.parameters_config_map import parameters
from flowcluster_operator.errors import SpecError
from flowcluster_operator.resources import CONFIG_MAP, FLOW_RUN, JOB
from tests.support.built import BUILT
from tests.support.fake_api import Answer, FakeApi
from tests.support.makers import KEY, KEYS, SETTINGS, access, job, lease, observed, spec
from tests.support.makers import run as flow_run
from tests.support.passes import Passes
from tests.support.plans import kinds, plan_for, settled
from tests.support.strategies import json_values

#: What the kubelet expands: see k8s.io/kubernetes/third_party/forked/golang/expansion.
_REFERENCE = re.compile(r"\$(\$|\([^)]*\))")
DOLLARS = st.text(st.sampled_from("$$$()ab_ {}"), max_size=12) | st.text(max_size=12)


def expanded(text: str, environment: dict[str, str]) -> str:
    """What the kubelet makes of a value in `env`, `args` or `command`."""

    def value(match: re.Match[str]) -> str:
        found = match[1]
        return "$" if found == "$" else environment.get(found[1:-1], match[0])

    return _REFERENCE.sub(value, text)


@given(DOLLARS)
def test_literal_text_is_what_the_container_gets(text: str) -> None:
    assert expanded(literal(text), {"a": "x", "b": "$(a)", "": "y"}) == text


@given(st.dictionaries(st.text(max_size=5), json_values(DOLLARS), max_size=4))
def test_parameters_are_in_the_config_map_as_they_are_in_the_spec(values: dict[str, Any]) -> None:
    flow = FlowRunSpec.model_validate({"flow": {"entrypoint": "a.py:b", "parameters": values}}).flow
    assert flow is not None
    (text,) = parameters(KEY, flow)["data"].values()

    assert json.loads(text) == values


def main(flow: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The driver's container for a flow."""
    parsed = FlowRunSpec.model_validate({"flow": {"entrypoint": "a.py:b", **flow}})
    containers = driver_job(KEY, parsed, SETTINGS, KEYS, None, **more)["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = containers[0]
    return found


@pytest.mark.parametrize("name", ["a$(HOME).py:b", "a$$.py:b", "a$.py:b"])
def test_entrypoint_is_not_expanded(name: str) -> None:
    assert [expanded(item, {"HOME": "/root"}) for item in main({"entrypoint": name})["args"]][-1] == name


def test_driver_reads_its_parameters_from_the_mounted_file() -> None:
    container = main({"parameters": {"x": 1}}, parameters="given")
    environment = {item["name"]: item.get("value") for item in container["env"]}
    (mount,) = (item for item in container["volumeMounts"] if item["name"] == "flowcluster-parameters")
    flow = FlowRunSpec.model_validate({"flow": {"entrypoint": "a.py:b", "parameters": {"x": 1}}}).flow
    assert flow is not None
    (file,) = parameters(KEY, flow)["data"]

    assert environment[driver.ENV_PARAMETERS_PATH] == f"{mount['mountPath']}/{file}"


@pytest.mark.parametrize(("letter", "count"), [("x", driver.PARAMETERS_LIMIT), ("ü", driver.PARAMETERS_LIMIT // 2)])
def test_parameters_that_a_config_map_cannot_hold_are_refused_by_the_field(letter: str, count: int) -> None:
    body = spec(flow=False) | {"flow": {"entrypoint": "a.py:b", "parameters": {"x": letter * count}}}
    status = settled(observed(body))

    assert status["reason"] == "InvalidSpec"
    assert "spec.flow.parameters" in status["message"]
    assert "storage" in status["message"]


def test_parameters_up_to_the_limit_are_accepted() -> None:
    room = driver.PARAMETERS_LIMIT - len('{"x":""}')
    flow = FlowRunSpec.model_validate({"flow": {"entrypoint": "a.py:b", "parameters": {"x": "y" * room}}}).flow
    assert flow is not None

    assert parameters(KEY, flow)["data"]
    with pytest.raises(SpecError):
        parameters(KEY, flow.model_copy(update={"parameters": {"x": "y" * (room + 1)}}))


class TestOrder:
    BODY = spec(flow=False) | {"flow": {"entrypoint": "a.py:b", "parameters": {"x": 1}}}

    def plans(self, **more: Any) -> list[str]:
        role, binding, account = access()
        there = {"lease": lease(), "access": (role, binding, account), "credentials": KEYS}
        return kinds(plan_for(observed(self.BODY, **{**there, **more})))

    def test_parameters_are_there_before_the_driver(self) -> None:
        assert self.plans() == ["ConfigMap"]
        assert self.plans(credentials=None) == ["Secret", "ConfigMap"]
        assert self.plans(parameters=KEYS) == ["DaskCluster", "Job"]

    def test_parameters_are_not_made_again_when_the_job_is_there(self) -> None:
        """An operator that was started again remembers nothing of them."""
        assert self.plans(job=job(self.BODY)) == ["DaskCluster"]

    def test_run_without_parameters_has_no_config_map(self) -> None:
        assert kinds(plan_for(observed(lease=lease(), access=access(), credentials=KEYS))) == ["DaskCluster", "Job"]

    @pytest.fixture
    def passes(self, kube: Any, loop_runner: Any) -> Iterator[Passes]:
        made = Passes(kube, SETTINGS)
        running = made.running()
        loop_runner.run(running.__aenter__())
        yield made
        loop_runner.run(running.__aexit__(None, None, None))

    async def test_config_map_is_deleted_together_with_the_lease(self, api: FakeApi, passes: Passes) -> None:
        passes.store.put(FLOW_RUN, api.objects.create(FLOW_RUN, KEY.namespace, flow_run(self.BODY)))
        await passes.make()
        (made,) = api.objects.all(CONFIG_MAP)

        assert [owner["kind"] for owner in made["metadata"]["ownerReferences"]] == ["Lease"]
        assert made["immutable"] is True
        (job,) = api.objects.all(JOB)
        volumes = job["spec"]["template"]["spec"]["volumes"]
        assert {"name": "flowcluster-parameters", "configMap": {"name": made["metadata"]["name"]}} in volumes

    async def test_config_map_that_is_refused_is_the_cause(self, api: FakeApi, passes: Passes) -> None:
        api.inject(Answer(403, "exceeded quota: team, requested: count/configmaps=1"), "POST", CONFIG_MAP, times=None)
        passes.store.put(FLOW_RUN, api.objects.create(FLOW_RUN, KEY.namespace, flow_run(self.BODY)))
        await passes.make()
        status = api.objects.all(FLOW_RUN)[0]["status"]

        assert status["reason"] == "Rejected"
        assert "count/configmaps=1" in status["message"]
        assert api.objects.all(JOB) == []


def test_environment_from_python_is_not_expanded() -> None:
    container = with_env(None, "worker", {"PRICE": "US$$5 $(HOME)"})["template"]["spec"]["containers"][0]

    assert expanded(container["env"][0]["value"], {"HOME": "/root"}) == "US$$5 $(HOME)"


def texts(value: Any) -> Iterator[str]:
    """All values of variables, arguments and commands in an object."""
    for name, item in value.items() if isinstance(value, dict) else ():
        if name in ("args", "command"):
            yield from item or ()
        elif name == "value" and isinstance(item, str):
            yield item
        yield from texts(item)
    for item in value if isinstance(value, list) else ():
        yield from texts(item)


@pytest.mark.parametrize("name", BUILT)
def test_objects_refer_to_no_variable_but_those_of_dask_kubernetes(name: str) -> None:
    found = {match[0] for built in BUILT[name]() for text in texts(built) for match in _REFERENCE.finditer(text)}

    assert found <= {"$(DASK_WORKER_NAME)"}
