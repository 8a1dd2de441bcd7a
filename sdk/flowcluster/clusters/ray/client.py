"""A Ray client that sends the configuration of its job.

A Ray client pickles the `JobConfig` of its builder. ``ray.init`` does not set that: it sends its argument `job_config`
as JSON, which fails, and reads ``RAY_JOB_CONFIG_JSON_ENV_VAR`` only in a process that is not a client. Ray loads the
builder from the module that the scheme of an address names, so an address can name this module.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
import ray.client_builder
from ray.job_config import JobConfig

#: Variable with the configuration of the job for ``ray.init``, as the Ray Jobs API sets it.
JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
_SCHEME = "ray://"


class ClientBuilder(ray.client_builder.ClientBuilder):  # type: ignore[misc]
    """Connects as Ray's own builder does, with the `job_config` of ``ray.init`` and the metadata of the environment."""

    def _init_args(self, *, job_config: JobConfig | Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
        self._job_config = with_metadata(job_config, _metadata_here())
        return super()._init_args(**kwargs)


def address_with_job_config(address: str) -> str:
    """Return the address of a Ray client in a form with which ``ray.init`` accepts a `job_config`."""
    return f"{__name__}://{address.removeprefix(_SCHEME)}" if address.startswith(_SCHEME) else address


def with_metadata(job_config: JobConfig | Mapping[str, Any] | None, metadata: Mapping[str, str]) -> JobConfig:
    """Return a new configuration of a job: the given one, with more metadata."""
    given = JobConfig.from_json(job_config) if isinstance(job_config, Mapping) else job_config or JobConfig()
    config = copy.copy(given)
    config.metadata = {**given.metadata, **metadata}
    config.set_runtime_env(given.runtime_env)  # drops the message that Ray has made from the given one
    return config


@contextmanager
def clients_tagged() -> Iterator[None]:
    """Let Ray clients that start in the block have the metadata of ``RAY_JOB_CONFIG_JSON_ENV_VAR``."""
    before = ray.ClientBuilder
    ray.ClientBuilder = ClientBuilder
    try:
        yield
    finally:
        ray.ClientBuilder = before


def _metadata_here() -> dict[str, str]:
    metadata: dict[str, str] = json.loads(os.environ.get(JOB_CONFIG) or "{}").get("metadata") or {}
    return metadata
