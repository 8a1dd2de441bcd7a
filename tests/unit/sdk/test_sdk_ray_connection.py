"""The single connection of a process to Ray, and the arguments of later flow runs."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from flowcluster.runners.ray import connection as ray_connection


@pytest.mark.parametrize(
    ("given", "used", "ignored"),
    [
        ({}, {"num_cpus": 2}, []),
        ({"num_cpus": 2}, {"num_cpus": 2, "namespace": "a"}, []),
        ({"num_cpus": 4, "namespace": "a"}, {"num_cpus": 2, "namespace": "a"}, ["num_cpus"]),
        ({"runtime_env": {"pip": ["x"]}, "namespace": "b"}, {}, ["runtime_env", "namespace"]),
    ],
)
def test_arguments_that_a_connection_ignores_cause_a_warning(
    given: dict[str, Any],
    used: dict[str, Any],
    ignored: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("ray")
    connection = ray_connection.Connection(None, thread=None, init_kwargs=used)
    monkeypatch.setattr(ray_connection, "_current", connection)
    caplog.set_level(logging.WARNING, "flowcluster")

    assert ray_connection.connect(None, given, 1.0) is connection

    shown = [record.getMessage() for record in caplog.records]
    assert len(shown) == bool(ignored)
    assert all(f"have no effect: {', '.join(ignored)}. " in line for line in shown)
