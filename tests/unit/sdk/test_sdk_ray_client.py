"""The configuration of a Ray job, as a Ray client sends it."""

from __future__ import annotations

import pytest

ray = pytest.importorskip("ray")

from ray.job_config import JobConfig  # noqa: E402

from flowcluster.clusters.ray.client import address_with_job_config, with_metadata  # noqa: E402


@pytest.mark.parametrize(
    "given", [None, {"ray_namespace": "a", "metadata": {"c": "d"}}, JobConfig(ray_namespace="a", metadata={"c": "d"})]
)
def test_metadata_is_added_to_a_copy_of_the_configuration(given: JobConfig | dict[str, object] | None) -> None:
    first, second = (with_metadata(given, {"run": run})._get_proto_job_config() for run in ("1", "2"))

    more = {} if given is None else {"c": "d"}
    assert [dict(one.metadata) for one in (first, second)] == [{**more, "run": "1"}, {**more, "run": "2"}]
    assert given is None or {first.ray_namespace, second.ray_namespace} == {"a"}


@pytest.mark.parametrize("address", ["head:6379", "local", "auto"])
def test_address_of_a_node_is_not_changed(address: str) -> None:
    assert address_with_job_config(address) == address
