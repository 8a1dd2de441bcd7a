"""Templates of users for clusters: what is added to them, what is made to fit, and what is refused by its field."""

from __future__ import annotations

import importlib.resources
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from distributed.cli import dask_worker

from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.dask_cluster import dask_cluster, scheduler_address
from flowcluster_operator.desired.driver_job import driver_job
from flowcluster_operator.desired.ray_cluster import ray_cluster
from flowcluster_operator.errors import TemplateError
from flowcluster_operator.model.failures import Rejection
from flowcluster_operator.model.plan import Create
from flowcluster_operator.model.workers import Scale
from flowcluster_operator.policies.refusals import final_refusal
from flowcluster_operator.resources import DASK_CLUSTER, JOB, RAY_CLUSTER, Object
from tests.support.built import BUILT
from tests.support.makers import KEY, KEYS, SETTINGS, observed, spec
from tests.support.plans import CHILDREN, settled, started

SIDECAR = {"name": "shipper", "image": "shipper:1", "restartPolicy": "Always"}
PREPARE = {"name": "prepare", "image": "prepare:1"}
ADDRESS = scheduler_address(names.child_name(KEY.name, KEY.uid), KEY.namespace, SETTINGS)


def parsed(kind: str = "Dask", **templates: Any) -> FlowRunSpec:
    """A spec with these templates of scheduler and workers."""
    parts = {part: {"template": template} for part, template in templates.items()}
    return FlowRunSpec.model_validate(spec(cluster={"kind": kind, **parts}))


def dask(**templates: Any) -> Object:
    return dask_cluster(KEY, parsed(**templates), SETTINGS, 1, KEYS)


def pod_of(cluster: Object, part: str) -> dict[str, Any]:
    """The pod of a part of a DaskCluster."""
    found: dict[str, Any] = cluster["spec"]["worker" if part == "workers" else part]["spec"]
    return found


def with_line(part: str = "workers", **line: list[str]) -> dict[str, Any]:
    """The main container of a part whose template has this command line."""
    name = "worker" if part == "workers" else part
    pod = pod_of(dask(**{part: {"spec": {"containers": [{"name": name, **line}]}}}), part)
    found: dict[str, Any] = pod["containers"][0]
    return found


class TestCommandLines:
    BEGINS = (
        ["dask", "worker"],
        ["dask-worker"],
        ["python", "-m", "distributed.cli.dask_worker"],
        ["tini", "--", "dask", "worker"],
    )

    @pytest.mark.parametrize("begin", BEGINS)
    def test_options_that_a_worker_needs_are_added_to_those_of_a_template(self, begin: list[str]) -> None:
        given = [*begin, "--nthreads", "2", "--lifetime=1h"]
        container = with_line(args=given)
        added = container["args"][len(given) :]

        assert container["args"][: len(given)] == given
        assert added == [
            "--protocol", "tls", "--no-nanny", "--name", "$(DASK_WORKER_NAME)", "--dashboard-address", ":8788",
        ]  # fmt: skip
        assert {"name": "DASK_SCHEDULER_ADDRESS", "value": ADDRESS} in container["env"]
        assert "readinessProbe" in container

    def test_command_line_in_command_replaces_ours(self) -> None:
        container = with_line(command=["dask", "worker"])

        assert container["args"][:2] == ["--protocol", "tls"]
        assert "dask" not in container["args"]

    def test_wrapper_in_command_keeps_our_arguments(self) -> None:
        assert with_line(command=["tini", "--"])["args"][:3] == ["dask", "worker", ADDRESS]

    @pytest.mark.parametrize("given", [["--lifetime", "1h"], ["--nanny", "--nthreads=2"], []])
    def test_command_line_of_a_worker_is_one_that_dask_accepts(self, given: list[str]) -> None:
        args = with_line(args=["dask", "worker", *given])["args"]
        parsed = dask_worker.main.make_context("dask worker", args[2:]).params

        assert (parsed["protocol"], parsed["dashboard_address"]) == ("tls", ":8788")
        assert parsed["nanny"] is ("--nanny" in given)

    def test_nanny_of_a_template_stays(self) -> None:
        assert "--no-nanny" not in with_line(args=["dask", "worker", "--nanny"])["args"]

    @pytest.mark.parametrize("part", ["workers", "scheduler"])
    def test_command_line_of_a_shell_stays_and_has_the_address(self, part: str) -> None:
        """What it starts is not known: nothing may listen at the port of the probe."""
        args = ["sh", "-c", "pip install x && exec start"]
        container = with_line(part, args=args)

        assert container["args"] == args
        assert "readinessProbe" not in container

    def test_shell_that_names_the_port_keeps_the_probe(self) -> None:
        args = ["sh", "-c", "exec dask worker --dashboard-address :8788"]

        assert "readinessProbe" in with_line(args=args)

    @pytest.mark.parametrize(
        ("part", "option", "value"),
        [
            ("workers", "--dashboard-address", ":1"),
            ("workers", "--name", "mine"),
            ("workers", "--protocol", "tcp"),
            ("scheduler", "--port", "9"),
            ("scheduler", "--dashboard-address", ":9"),
            ("scheduler", "--protocol", "tcp"),
        ],
    )
    @pytest.mark.parametrize("joined", [True, False])
    def test_option_that_the_cluster_relies_on_is_refused_by_its_field(
        self, part: str, option: str, value: str, joined: bool
    ) -> None:
        given = [f"{option}={value}"] if joined else [option, value]
        name = "worker" if part == "workers" else part
        with pytest.raises(TemplateError) as refused:
            with_line(part, args=["dask", name, *given])

        assert f"spec.cluster.{part}.template.spec.containers[{name}].args: {option}" in str(refused.value)

    @pytest.mark.parametrize("part", ["workers", "scheduler"])
    def test_our_own_command_line_is_whole(self, part: str) -> None:
        name = "worker" if part == "workers" else part
        own = pod_of(dask(), part)["containers"][0]

        assert own["args"] == with_line(part, args=["dask", name, *own["args"][2:]])["args"]

    def test_scheduler_with_another_option_keeps_its_port(self) -> None:
        assert with_line("scheduler", args=["dask", "scheduler", "--jupyter"])["args"] == [
            "dask", "scheduler", "--jupyter", "--protocol", "tls", "--port", "8786", "--dashboard-address", ":8787",
        ]  # fmt: skip


class TestSidecars:
    @pytest.mark.parametrize("part", ["workers", "scheduler"])
    @pytest.mark.parametrize("before", [[], [PREPARE]])
    def test_sidecar_is_a_container_of_a_dask_pod(self, part: str, before: list[Any]) -> None:
        pod = pod_of(dask(**{part: {"spec": {"initContainers": [*before, SIDECAR]}}}), part)
        sidecar = pod["containers"][-1]

        assert (sidecar["name"], "restartPolicy" in sidecar) == ("shipper", False)
        assert [item["name"] for item in pod.get("initContainers", [])] == [item["name"] for item in before]

    def test_init_container_after_a_sidecar_is_refused_by_its_field(self) -> None:
        with pytest.raises(
            TemplateError, match=r"spec\.cluster\.workers\.template\.spec\.initContainers.*restartPolicy"
        ):
            dask(workers={"spec": {"initContainers": [SIDECAR, PREPARE]}})

    def test_sidecar_of_a_driver_stays_as_kubernetes_knows_it(self) -> None:
        body = FlowRunSpec.model_validate(
            {"flow": {"entrypoint": "a.py:b", "template": {"spec": {"initContainers": [SIDECAR]}}}}
        )
        pod = driver_job(KEY, body, SETTINGS, KEYS, None)["spec"]["template"]["spec"]

        assert pod["initContainers"][0]["restartPolicy"] == "Always"


def unknown(value: Any, schema: Any, path: str = "") -> Iterator[str]:
    """The fields of an object that its schema does not know."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    for name, item in value.items() if isinstance(value, dict) else ():
        more = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
        if more is None:
            yield f"{path}.{name}"
        else:
            yield from unknown(item, more, f"{path}.{name}")
    for item in value if isinstance(value, list) else ():
        yield from unknown(item, schema["items"], f"{path}[]")


@pytest.fixture(scope="module")
def schema() -> Any:
    """The schema of DaskCluster's spec."""
    crds = importlib.resources.files("dask_kubernetes") / "operator/deployment/helm/dask-kubernetes-operator/crds"
    # PyYAML's own parser takes a second for this file.
    crd = yaml.load((crds / "daskcluster.yaml").read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (version,) = crd["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]["properties"]["spec"]


@pytest.mark.parametrize("name", [name for name in BUILT if name.startswith("dask")])
def test_dask_cluster_has_only_fields_that_its_schema_knows(name: str, schema: Any) -> None:
    (built,) = BUILT[name]()

    assert list(unknown(built["spec"], schema)) == []


def test_dask_cluster_with_sidecars_has_only_fields_that_its_schema_knows(schema: Any) -> None:
    template = {"spec": {"initContainers": [PREPARE, SIDECAR]}}

    assert list(unknown(dask(workers=template, scheduler=template)["spec"], schema)) == []


@pytest.mark.parametrize("name", [name for name in BUILT if name.startswith(("dask", "ray", "driver-job"))])
def test_every_container_leaves_the_end_of_its_log(name: str) -> None:
    (built,) = BUILT[name]()
    found = list(containers(built))

    assert found
    assert {container["terminationMessagePolicy"] for container in found} == {"FallbackToLogsOnError"}


def containers(value: Any) -> Iterator[Object]:
    for name, item in value.items() if isinstance(value, dict) else ():
        if name in ("containers", "initContainers"):
            yield from item
        yield from containers(item)
    for item in value if isinstance(value, list) else ():
        yield from containers(item)


#: A template with a field that no Kubernetes knows.
ODD: dict[str, Any] = {
    "spec": {"containers": [{"name": "NAME"}, {"name": "extra", "image": "x", "fancy": 1}], "novel": True}
}
KINDS = {
    "Job": ("spec.template.", ["spec.flow.template."]),
    "DaskCluster": ("spec.worker.", ["spec.cluster.workers.template."]),
    "RayCluster": ("spec.workerGroupSpecs[0].template.", ["spec.cluster.workers.template."]),
}


def made(kind: str) -> tuple[Object, Create]:
    """A spec with an odd template, and the child that is made of it."""
    name = "driver" if kind == "Job" else "worker"
    odd = {"spec": {**ODD["spec"], "containers": [{"name": name}, ODD["spec"]["containers"][1]]}}
    if kind == "Job":
        body: Object = {"flow": {"entrypoint": "a.py:b", "template": odd}}
        return body, Create(JOB, driver_job(KEY, FlowRunSpec.model_validate(body), SETTINGS, KEYS, None))
    body = spec(cluster={"kind": kind.removesuffix("Cluster"), "workers": {"template": odd}})
    full = FlowRunSpec.model_validate(body)
    if kind == "DaskCluster":
        return body, Create(DASK_CLUSTER, dask_cluster(KEY, full, SETTINGS, 1, KEYS))
    return body, Create(RAY_CLUSTER, ray_cluster(KEY, full, SETTINGS, Scale(1, 1, 1), KEYS))


def strict(kind: str, *paths: str) -> Rejection:
    """The API server's answer to fields that it does not know."""
    fields = ", ".join(f'unknown field "{path}"' for path in paths)
    message = f'{kind} in version "v1" cannot be handled as a {kind}: strict decoding error: {fields}'
    return Rejection(kind, "x", 400, message)


@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("Dask", f"a{odd}b") for odd in "=, "), *(("Ray", f"a{odd}b") for odd in '$`"\\')],
)
def test_name_of_a_task_resource_that_would_change_on_its_way_ends_the_run(kind: str, name: str) -> None:
    workers = {"minimum": 1, "taskResources": {name: 1}}
    status = settled(observed(spec(cluster={"kind": kind, "workers": workers})))

    assert status["reason"] == "InvalidSpec"
    assert "spec.cluster.workers.taskResources" in status["message"]


@pytest.mark.parametrize("name", ["a$$b", "a$(HOME)b"])
def test_name_of_a_task_resource_reaches_dask_as_it_is(name: str) -> None:
    workers = {"minimum": 1, "taskResources": {name: 2}}
    full = FlowRunSpec.model_validate(spec(cluster={"kind": "Dask", "workers": workers}))
    args = pod_of(dask_cluster(KEY, full, SETTINGS, 1, KEYS), "workers")["containers"][0]["args"]

    assert args[args.index("--resources") + 1].replace("$$", "$") == f"{name}=2"


class TestRefusals:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(
        ("field", "named"), [("spec.novel", "spec.novel"), ("spec.containers[1].fancy", "spec.containers[extra].fancy")]
    )
    def test_unknown_field_of_a_template_ends_the_run_by_its_name(self, kind: str, field: str, named: str) -> None:
        body, create = made(kind)
        prefix, (ours,) = KINDS[kind]
        found = final_refusal([strict(kind, prefix + field)], [create], body)

        assert found is not None
        assert found[0] == "InvalidTemplate"
        assert ours + named in found[1]
        assert kind in found[1]

    @pytest.mark.parametrize("kind", KINDS)
    def test_unknown_field_that_the_operator_set_ends_no_run(self, kind: str) -> None:
        """An administrator can upgrade the kind."""
        body, create = made(kind)

        assert final_refusal([strict(kind, KINDS[kind][0] + "spec.enableServiceLinks")], [create], body) is None

    @pytest.mark.parametrize("kind", KINDS)
    def test_value_that_is_not_valid_ends_the_run_by_the_field_of_the_template(self, kind: str) -> None:
        body, create = made(kind)
        prefix, (ours,) = KINDS[kind]
        message = f'{kind} "x" is invalid: {prefix}spec.containers[1].image: Required value'
        found = final_refusal([Rejection(kind, "x", 422, message)], [create], body)

        assert found is not None
        assert found[0] == "InvalidTemplate"
        assert f"{ours}spec.containers[extra].image: Required value" in found[1]

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(
        ("status", "message"),
        list(
            itertools.product(
                [400, 403, 422],
                [
                    "is forbidden: ValidatingAdmissionPolicy 'a' with binding 'a' denied request: no team",
                    'admission webhook "a" denied the request: no team',
                ],
            )
        ),
    )
    def test_policy_of_the_cluster_ends_no_run(self, kind: str, status: int, message: str) -> None:
        body, create = made(kind)

        assert final_refusal([Rejection(kind, "x", status, message)], [create], body) is None

    def test_run_with_a_field_that_dask_cluster_does_not_know_fails_immediately(self) -> None:
        body, _ = made("DaskCluster")
        refused = strict("DaskCluster", "spec.worker.spec.novel")
        status = settled(observed(body, status=started(), **{**CHILDREN, "cluster": None, "rejections": (refused,)}))

        assert (status["phase"], status["reason"]) == ("Stopping", "InvalidTemplate")
        assert "spec.cluster.workers.template.spec.novel" in status["message"]
