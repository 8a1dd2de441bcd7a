"""A cluster that exists as long as one flow run, created by any class or function that returns a cluster."""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from flowcluster._util.portal import Portal

#: The attribute with a cluster's address, by kind.
_ADDRESSES = {"Dask": "scheduler_address", "Ray": "address"}

#: Paths of the class for shared Dask clusters. In a runner for Ray, the class for shared Ray clusters replaces it. So
#: users can give the first path for both kinds, and it does not import Dask for Ray.
_SHARED = (f"{__package__}.SharedKubernetesCluster", f"{__package__}.shared_dask.SharedKubernetesCluster")
_SHARED_ON_RAY = f"{__package__}.SharedRayKubernetesCluster"

ClusterClass = str | Callable[..., Any]


def find_class(cluster_class: ClusterClass, kind: str = "Dask") -> Callable[..., Any]:
    """Return the class or function that creates clusters of a kind. Import it if it is given by its dotted name.

    Raises:
        ValueError: there is no such class or function.
    """
    if kind == "Ray" and (cluster_class if isinstance(cluster_class, str) else path_of(cluster_class)) in _SHARED:
        cluster_class = _SHARED_ON_RAY
    if not isinstance(cluster_class, str):
        return cluster_class
    module, _, name = cluster_class.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"There is no cluster class {cluster_class!r}: {error}.") from error
    if not callable(found):
        raise ValueError(f"The cluster class {cluster_class!r} cannot be called.")
    make: Callable[..., Any] = found
    return make


@contextmanager
def temporary_cluster(
    cluster_class: ClusterClass,
    cluster_kwargs: Mapping[str, Any],
    adapt_kwargs: Mapping[str, Any],
    kind: str = "Dask",
) -> Iterator[Any]:
    """Create a cluster, and close it at the end of the block.

    A cluster that only coroutines can open and close gets an event loop as long as it exists.

    Args:
        cluster_class: class or function that returns a cluster, or its dotted name.
        cluster_kwargs: arguments of the class or function.
        adapt_kwargs: arguments of the cluster's ``adapt``. Without them, ``adapt`` is not called.
        kind: Dask or Ray.

    Raises:
        TypeError: the created object is not a cluster of this kind, or cannot adapt.
    """
    make = find_class(cluster_class, kind)
    name = path_of(make)
    logging.getLogger(f"flowcluster.task_runner.{kind.lower()}").info("Creating a new %s cluster with `%s`", kind, name)
    with ExitStack() as resources:
        portal = Portal()
        resources.callback(portal.close)
        cluster = _entered(make, cluster_kwargs, name, kind, portal, resources)
        where = _ADDRESSES[kind]
        if not isinstance(getattr(cluster, where, None), str):
            raise TypeError(f"{_what(cluster, name)} is not a {kind} cluster: it has no text {where!r}.")
        if adapt_kwargs:
            if not callable(getattr(cluster, "adapt", None)):
                raise TypeError(f"{_what(cluster, name)} cannot adapt: it has no method 'adapt'. Remove adapt_kwargs.")
            _adapt(cluster, adapt_kwargs, portal)
        yield cluster


def is_async_only(kind: type) -> bool:
    """Return whether clusters of this class can be used only on an event loop."""
    return not hasattr(kind, "__enter__") and (hasattr(kind, "__aenter__") or hasattr(kind, "__await__"))


def _entered(
    make: Callable[..., Any], kwargs: Mapping[str, Any], name: str, kind: str, portal: Portal, resources: ExitStack
) -> Any:
    """Return the open cluster; `resources` closes it."""

    async def made() -> Any:
        # Call the constructor on the loop, too: the constructor of such a cluster can require a running loop.
        cluster = make(**kwargs)
        return await cluster if inspect.iscoroutine(cluster) else cluster

    on_loop = inspect.iscoroutinefunction(make) or (isinstance(make, type) and is_async_only(make))
    cluster = portal.run(made()) if on_loop else make(**kwargs)
    type_ = type(cluster)
    if hasattr(type_, "__enter__"):
        return resources.enter_context(cluster)
    if hasattr(type_, "__aenter__"):
        entered = portal.run(type_.__aenter__(cluster))
        resources.push(lambda *error: portal.run(type_.__aexit__(cluster, *error)))
        return entered
    if hasattr(type_, "__await__"):
        cluster = portal.run(_awaited(cluster))
    close = getattr(cluster, "close", None)
    if not callable(close):
        raise TypeError(
            f"{_what(cluster, name)} is not a {kind} cluster: it is not a context manager, sync or async, and has no "
            "'close'."
        )
    resources.callback(lambda: portal.run(_called(close)))
    return cluster


def _adapt(cluster: Any, kwargs: Mapping[str, Any], portal: Portal) -> None:
    if is_async_only(type(cluster)):
        portal.run(_called(functools.partial(cluster.adapt, **kwargs)))
        return
    adapting = cluster.adapt(**kwargs)
    if inspect.isawaitable(adapting):
        # Use the cluster's own event loop, to which the objects of the coroutine belong.
        if hasattr(cluster, "sync"):
            cluster.sync(_awaited, adapting)
        else:
            portal.run(_awaited(adapting))


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


async def _called(function: Callable[[], Any]) -> Any:
    result = function()
    return await result if inspect.isawaitable(result) else result


def path_of(make: Callable[..., Any]) -> str:
    """Return module and name of a class or function, or its representation if it has no name."""
    if isinstance(make, functools.partial):
        return path_of(make.func)
    name = getattr(make, "__qualname__", None)
    return f"{make.__module__}.{name}" if name else repr(make)


def _what(cluster: Any, name: str) -> str:
    return f"The object that `{name}` returned, of type {type(cluster).__name__},"
