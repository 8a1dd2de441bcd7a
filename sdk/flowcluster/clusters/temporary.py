"""A Dask cluster for the time of one flow run, made by any class or function that makes one."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

logger = logging.getLogger("flowcluster.task_runner.dask")

ClusterClass = str | Callable[..., Any]


def find_class(cluster_class: ClusterClass) -> Callable[..., Any]:
    """The class or function itself, imported if it is given by its dotted name.

    Raises ValueError if the name leads nowhere.
    """
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
    cluster_class: ClusterClass, cluster_kwargs: Mapping[str, Any], adapt_kwargs: Mapping[str, Any]
) -> Iterator[Any]:
    """Make a cluster, let it adapt if `adapt_kwargs` says how, and close it at the end of the block."""
    make = find_class(cluster_class)
    logger.info("Creating a new Dask cluster with `%s`", _path(make))
    with make(**cluster_kwargs) as cluster:
        if adapt_kwargs:
            adapting = cluster.adapt(**adapt_kwargs)
            if inspect.iscoroutine(adapting):
                # On the cluster's own event loop, as whatever the coroutine uses belongs to it.
                cluster.sync(_awaiting, adapting)
        yield cluster


async def _awaiting(coroutine: Any) -> Any:
    return await coroutine


def _path(make: Callable[..., Any]) -> str:
    name = getattr(make, "__qualname__", None)
    return f"{make.__module__}.{name}" if name else repr(make)
