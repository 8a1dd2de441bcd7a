"""From a flow to the objects of its run on Kubernetes, checked here: mistakes are reported before anything exists."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from flowcluster import exact_json
from flowcluster.clusters.declared import Workers, declared
from flowcluster.clusters.manifest import default_image, of_class, slug, with_env
from flowcluster.engine import hints
from flowcluster.engine import parameters as binding
from flowcluster.engine.flow_spec import FlowSpec
from flowcluster.kube.choice import Choice
from flowcluster.kube.submission import Object, SubmitRequest, submit_request
from flowcluster.packing import Code, Place, packed, place_of
from flowcluster.runners.base import TaskRunner
from flowcluster.storage import ENV_STORAGE
from flowcluster_api import names
from flowcluster_api.driver import PARAMETERS_LIMIT


class _Flow(Protocol):
    """What a submission reads of a `Flow`. It is a protocol, as a `Flow` submits itself."""

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
    place: Place | None = None,
    image: str | None = None,
    name: str | None = None,
    workers: Workers | None = None,
    cluster: str | None = None,
    result_storage: str | None = None,
    spec: Mapping[str, Any] | None = None,
    choice: Choice = Choice(),  # noqa: B008 - a value
) -> SubmitRequest:
    """Return the objects to create for one run of a flow.

    `place` is where the flow was found, if that is known. `Flow.submit_to_kubernetes` describes the other arguments.

    Raises:
        ParameterError: the flow does not take these parameters.
        ValueError: something else cannot be submitted.
    """
    place = place or place_of(flow)
    given = _parameters(flow, parameters)
    declaration = declared(flow.task_runner, workers, cluster)
    code, entrypoint = _code(place, image)
    image = image or default_image()
    described: Object = {"entrypoint": entrypoint, "parameters": given}
    if image:
        described["image"] = image
    body: Object = of_class(_laid_over({"flow": described, **declaration.spec}, spec or {}))
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


def _code(place: Place, image: str | None) -> tuple[Code | None, str]:
    """The packed file, if there is one, and the entrypoint."""
    if not place.name.isidentifier():
        raise ValueError(f"'{place.name}': only a flow that its module has as a variable of its own can be submitted.")
    if not place.is_file:
        if not image:
            raise ValueError(f"{place.where} is a module, which only an image can have in it: give an image that does.")
        return None, f"{place.where}:{place.name}"
    code = packed(place.where)
    return code, code.entrypoint(place.name)


def _parameters(flow: _Flow, given: Mapping[str, Any]) -> Object:
    """The parameters as JSON has them."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    binding.bind(flow.name, flow.fn, (), dict(given), convert=flow.spec.validate)
    plain = {}
    for name, value in given.items():
        try:
            plain[name] = to_jsonable_python(value)
            changed = exact_json.change(plain[name], in_kubernetes=True)
            if changed is None and (changed := exact_json.change(value, in_kubernetes=True)) is not None:
                # Keys become text, and the annotation may convert them back.
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
    """Whether the flow gets an equal value for a parameter from its JSON."""
    converters = hints.converters(flow.fn) if flow.spec.validate else {}
    converter = converters.get(name)
    try:
        return converter is not None and bool(converter.convert(plain) == converter.convert(value))
    except Exception:
        return False


def _store_results(body: Object, url: str) -> None:
    """Write into driver and workers where results go: what the record cannot hold, and what tasks cache.

    The workers of a cluster that exists already are not the run's to change.
    """
    env = {ENV_STORAGE: url}
    body["flow"] = with_env(body["flow"], names.COMPONENT_DRIVER, env)
    if (cluster := body.get("cluster")) and "ref" not in cluster:
        workers = with_env(cluster.get("workers"), names.COMPONENT_WORKER, env)
        body["cluster"] = cluster | {"workers": workers}


def _laid_over(base: Any, over: Any) -> Any:
    """`over` laid over `base`: objects merge by field, all else is replaced."""
    if not isinstance(base, dict) or not isinstance(over, Mapping):
        return over
    return base | {name: _laid_over(base[name], value) if name in base else value for name, value in over.items()}
