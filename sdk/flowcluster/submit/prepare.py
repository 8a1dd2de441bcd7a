"""Check a flow and its parameters, and make the objects of its run on Kubernetes, before anything is created."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from flowcluster._util import exact_json
from flowcluster._util.storage import ENV_STORAGE
from flowcluster.clusters.manifest import default_image, slug, with_env, with_operator_class
from flowcluster.engine import parameters as binding
from flowcluster.engine.flow_spec import FlowSpec
from flowcluster.engine.parameter_converters import converters_of
from flowcluster.kube.choice import Choice
from flowcluster.runners.base import TaskRunner
from flowcluster.submit.manifests import Object, SubmitRequest, submit_request
from flowcluster.submit.packing import Code, FlowLocation, location_of, packed
from flowcluster.submit.runner_cluster import Workers, cluster_of_runner
from flowcluster_api import names
from flowcluster_api.driver import PARAMETERS_LIMIT


class _Flow(Protocol):
    """What `prepare` reads of a `Flow`. It is a protocol, because a `Flow` submits itself."""

    @property
    def spec(self) -> FlowSpec: ...
    @property
    def name(self) -> str: ...
    @property
    def fn(self) -> Callable[..., Any]: ...
    @property
    def task_runner(self) -> TaskRunner: ...


def prepare(
    flow: _Flow,
    parameters: Mapping[str, Any],
    *,
    location: FlowLocation | None = None,
    image: str | None = None,
    name: str | None = None,
    workers: Workers | None = None,
    cluster: str | None = None,
    result_storage: str | None = None,
    spec: Mapping[str, Any] | None = None,
    choice: Choice = Choice(),  # noqa: B008 - a value
) -> SubmitRequest:
    """Return the objects to create for one run of a flow.

    `location` is where the flow was found, if that is known. `Flow.submit_to_kubernetes` describes the other arguments.

    Raises:
        ParameterError: the flow does not accept these parameters.
        ValueError: something else cannot be submitted.
    """
    location = location or location_of(flow)
    given = _parameters(flow, parameters)
    declaration = cluster_of_runner(flow.task_runner, workers, cluster)
    code, entrypoint = _code(location, image)
    image = image or default_image()
    described: Object = {"entrypoint": entrypoint, "parameters": given}
    if image:
        described["image"] = image
    body: Object = with_operator_class(_merged({"flow": described, **declaration.spec}, spec or {}))
    if result_storage:
        _store_results(body, result_storage)
    wanted = Choice(*(mine or theirs for mine, theirs in zip(choice, declaration.choice, strict=True)))
    exact = name or declaration.name
    return submit_request(
        body,
        code,
        wanted,
        result_storage,
        name=exact or slug(flow.name),
        is_exact=exact is not None,
    )


def _code(location: FlowLocation, image: str | None) -> tuple[Code | None, str]:
    """Return the packed file, if the flow is in a file, and the entrypoint."""
    if not location.name.isidentifier():
        raise ValueError(
            f"'{location.name}' is not the name of a variable: only a flow that is a variable of its module can be "
            "submitted."
        )
    if not location.is_file:
        if not image:
            raise ValueError(
                f"{location.where} is a module, not a file, so its code is not sent: give an image that has the module."
            )
        return None, f"{location.where}:{location.name}"
    code = packed(location.where)
    return code, code.entrypoint(location.name)


def _parameters(flow: _Flow, given: Mapping[str, Any]) -> Object:
    """Return the parameters as JSON has them."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    binding.bind(flow.name, flow.fn, (), dict(given), convert=flow.spec.validate)
    plain = {}
    for name, value in given.items():
        try:
            plain[name] = to_jsonable_python(value)
            changed = exact_json.change(plain[name], in_kubernetes=True)
            if changed is None and (changed := exact_json.change(value, in_kubernetes=True)) is not None:
                # Keys become text, which the annotation can convert back.
                is_about_keys = exact_json.change(value, keys=False, in_kubernetes=True) is None
                if is_about_keys and _comes_back(flow, name, value, plain[name]):
                    changed = None
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            raise ValueError(f"Parameter '{name}' cannot be written as JSON, as a FlowRun has it: {error}") from None
        if changed is not None:
            raise ValueError(f"Parameter '{name}' cannot be written as JSON, as a FlowRun has it: {name}{changed}.")
    if (size := len(json.dumps(plain).encode())) > PARAMETERS_LIMIT:
        raise ValueError(
            f"The parameters have {size} bytes as JSON, and {PARAMETERS_LIMIT} can be passed: keep large ones in a "
            "storage, and pass their URL."
        )
    return plain


def _comes_back(flow: _Flow, name: str, value: Any, plain: Any) -> bool:
    """Return whether the flow gets an equal value for a parameter from its JSON."""
    converters = converters_of(flow.fn) if flow.spec.validate else {}
    converter = converters.get(name)
    try:
        return converter is not None and bool(converter.convert(plain) == converter.convert(value))
    except Exception:
        return False


def _store_results(body: Object, url: str) -> None:
    """Set the storage of a large result and of cached results of tasks, in the driver and in the workers.

    The workers of an existing cluster do not belong to the run, and stay unchanged.
    """
    env = {ENV_STORAGE: url}
    body["flow"] = with_env(body["flow"], names.COMPONENT_DRIVER, env)
    if (cluster := body.get("cluster")) and "ref" not in cluster:
        workers = with_env(cluster.get("workers"), names.COMPONENT_WORKER, env)
        body["cluster"] = cluster | {"workers": workers}


def _merged(base: Any, over: Any) -> Any:
    """Return `base` with `over` merged into it: objects merge by field, other values are replaced."""
    if not isinstance(base, dict) or not isinstance(over, Mapping):
        return over
    return base | {name: _merged(base[name], value) if name in base else value for name, value in over.items()}
