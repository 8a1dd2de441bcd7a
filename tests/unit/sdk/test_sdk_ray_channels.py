"""Errors of threads of gRPC and Ray when Ray's client closes their channel."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from flowcluster.runners.ray import channels

grpc: Any = pytest.importorskip("grpc")


@pytest.fixture
def closed_channel() -> Any:
    channel = grpc.insecure_channel("127.0.0.1:1")
    inner = channel._channel
    channel.close()
    return inner


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    errors: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: errors.append(str(args.exc_value)))
    monkeypatch.setattr(channels, "_is_installed", False)
    channels.silence_closed_channels()
    channels.silence_closed_channels()
    return errors


class Intercepting(grpc.StreamStreamClientInterceptor):  # type: ignore[misc] # grpc is not typed
    """A channel as Ray's client has one: the first response of a call raises its error."""

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        return continuation(details, requests)


def run_in_thread(work: Callable[[], Any]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def poll(channel: Any) -> None:
    grpc._channel._poll_connectivity(grpc._channel._ChannelConnectivityState(channel), channel, False)


@pytest.mark.parametrize("is_closed_in", ["check", "watch"])
def test_poll_of_a_closed_channel_is_not_reported(is_closed_in: str, closed_channel: Any, reported: list[str]) -> None:
    first_check = {"watch": lambda _: 0, "check": closed_channel.check_connectivity_state}[is_closed_in]
    channel = SimpleNamespace(
        check_connectivity_state=first_check, watch_connectivity_state=closed_channel.watch_connectivity_state
    )

    run_in_thread(lambda: poll(channel))

    assert reported == []


def test_log_thread_that_begins_to_read_from_a_closed_channel_is_not_reported(reported: list[str]) -> None:
    logsclient = pytest.importorskip("ray.util.client.logsclient")
    channel = grpc.intercept_channel(grpc.insecure_channel("127.0.0.1:1"), Intercepting())
    channel.close()
    client = object.__new__(logsclient.LogstreamClient)
    client.client_worker = SimpleNamespace(channel=channel, _in_shutdown=False)
    client.request_queue, client._metadata = queue.Queue(), []

    run_in_thread(client._log_main)

    assert reported == []


def test_call_on_a_closed_channel_is_reported(closed_channel: Any, reported: list[str]) -> None:
    run_in_thread(lambda: closed_channel.check_connectivity_state(False))

    assert reported == ["Cannot invoke RPC: Channel closed!"]


def test_other_errors_of_threads_are_reported(reported: list[str]) -> None:
    def fail() -> None:
        raise ValueError("another error")

    run_in_thread(fail)

    assert reported == ["another error"]
