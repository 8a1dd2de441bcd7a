"""What threads of gRPC raise when Ray's client closes their channel."""

from __future__ import annotations

import threading

import pytest

from flowcluster.runners import ray_channels


def raised_in_thread(error: Exception) -> None:
    def fail() -> None:
        raise error

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def test_only_the_error_of_a_closed_channel_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_value))
    monkeypatch.setattr(ray_channels, "_is_installed", False)
    ray_channels.silence_closed_channels()
    ray_channels.silence_closed_channels()
    other = ValueError("another error")

    raised_in_thread(ValueError("Cannot monitor channel state: Channel closed!"))
    raised_in_thread(other)

    assert reported == [other]
