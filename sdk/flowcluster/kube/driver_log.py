"""The log of a run's driver, line by line as it comes, over connections that break and pods that are replaced."""

from __future__ import annotations

import collections
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import urllib3

from flowcluster.errors import KubernetesError, NotFound
from flowcluster.kube.access import Access, headers
from flowcluster_api import names

Object = dict[str, Any]

#: Seconds between two looks at a pod: a log can be read until its pod is removed, soon after its end; and at most
#: between two looks for pods.
POLL, LONGEST_POLL = 0.3, 1.0
#: Seconds to connect, and for which a log may be silent before it is asked for again: its connection may be dead.
CONNECT_SECONDS, SILENCE_SECONDS = 3.0, 30.0
#: Seconds for which the API server may be away.
AWAY_SECONDS = 60.0

#: What begins each line that a kubelet gives.
_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\S* ")
#: Answers that may be others a moment later: the container has not started, the node's kubelet is away.
_PASSING = (400, 408, 429)


class _Again(KubernetesError):
    """It did not work this time."""


class Unrepeated:
    """Tells lines that are new after a log was opened again from those that were there before.

    A log can only be opened from a whole second on, and lines of stdout and stderr may change places: so it is asked
    for from a second with lines before the last one on, and what was there is known by its nanoseconds and its text.
    """

    def __init__(self) -> None:
        self._before: list[bytes] = []
        self._now: list[bytes] = []
        self._again: collections.Counter[bytes] = collections.Counter()
        self._since = self._second = b""

    def reopened(self) -> str | None:
        """The log is opened anew: the time from which on it has to be read; None: from its beginning."""
        self._again = collections.Counter([*self._before, *self._now])
        return f"{self._since.decode()}Z" if self._since else None

    def is_new(self, line: bytes) -> bool:
        """Whether this line, which begins with its time, was not there before the log was opened last."""
        if self._again[line]:
            self._again[line] -= 1
            return False
        found = _TIME.match(line)
        if found is None:
            return False  # the kubelet speaks, not the driver
        # Times of one form compare as texts do.
        if found[1] > self._second:
            self._since, self._second = self._second or found[1], found[1]
            self._before, self._now = self._now, []
        self._now.append(line)
        return True


class DriverLog:
    """The log of the driver of one run, with all its attempts.

    Args:
        access: leads to the run's namespace.
        uid: of the FlowRun.
    """

    def __init__(self, access: Access, uid: str) -> None:
        self._access, self._uid = access, uid

    def lines(self, is_over: Callable[[], bool]) -> Iterator[str]:
        """Each line once, without its line break, until `is_over` and there are no more.

        Raises `KubernetesError` if the API server refuses, or is away for long.
        """
        read: set[str] = set()
        wait = POLL
        while True:
            over = is_over()  # asked first: what is over has all its pods
            pods = [pod for pod in self._pods() if pod["metadata"]["uid"] not in read]
            for pod in pods:
                if _has_run(pod):
                    yield from self._of(pod["metadata"]["name"])
                    read.add(pod["metadata"]["uid"])
            if over:
                return
            wait = POLL if pods else min(1.1 * wait, LONGEST_POLL)
            time.sleep(wait)

    def _of(self, pod: str) -> Iterator[str]:
        lines, is_last, heard, rest = Unrepeated(), False, time.monotonic(), b""
        query = {"container": names.COMPONENT_DRIVER, "timestamps": "true"}
        while True:
            since = lines.reopened()
            options = query | ({} if is_last else {"follow": "true"}) | ({"sinceTime": since} if since else {})
            try:
                for line in self._stream(f"/pods/{pod}/log", options):
                    heard, rest = time.monotonic(), b""
                    if not line.endswith(b"\n"):
                        rest = line  # as far as it came
                    elif lines.is_new(line):
                        yield _text(line)
                if is_last:
                    break
                is_last = _has_ended(self._get(f"/pods/{pod}"))
                heard = time.monotonic()
                if is_last:
                    continue
            except NotFound:
                break
            except _Again:
                if time.monotonic() - heard > AWAY_SECONDS:
                    raise
            time.sleep(POLL)
        if rest and lines.is_new(rest):
            yield _text(rest)

    def _pods(self) -> list[Object]:
        """The driver's pods, oldest first."""
        selector = f"{names.LABEL_RUN_UID}={self._uid},{names.LABEL_COMPONENT}={names.COMPONENT_DRIVER}"
        began = time.monotonic()
        while True:
            try:
                found = self._get("/pods", labelSelector=selector)["items"]
                return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
            except _Again:
                if time.monotonic() - began > AWAY_SECONDS:
                    raise
            time.sleep(POLL)

    def _get(self, path: str, **query: str) -> Object:
        try:
            found: Object = json.loads(b"".join(self._stream(path, query)))
        except ValueError as error:
            raise _Again(f"What Kubernetes said of {path} broke off: {error}") from error
        return found

    def _stream(self, path: str, query: dict[str, str]) -> Iterator[bytes]:
        """The lines of an answer; the last one may lack its line break. Raises `NotFound`, `_Again`, `KubernetesError`.

        What has taken longer than `SILENCE_SECONDS` to come is no error: it ends the lines.
        """
        settings = self._access.api.configuration
        url = f"{settings.host}/api/v1/namespaces/{self._access.namespace}{path}?{urlencode(query)}"
        try:
            answer = self._access.api.rest_client.pool_manager.request(
                "GET",
                url,
                headers=headers(self._access),
                preload_content=False,
                retries=False,
                timeout=urllib3.Timeout(CONNECT_SECONDS, SILENCE_SECONDS),
            )
        except urllib3.exceptions.HTTPError as error:
            raise _Again(f"The API server at {settings.host} cannot be reached: {error}") from error
        try:
            if answer.status != 200:
                raise _refusal(path, answer.status, answer.read())
            begun = b""
            for chunk in answer.stream(2**16):
                *whole, begun = (begun + chunk).split(b"\n")
                for line in whole:
                    yield line + b"\n"
            if begun:
                yield begun
        except urllib3.exceptions.ReadTimeoutError:
            pass  # nothing was written for long
        except urllib3.exceptions.HTTPError as error:
            raise _Again(f"The connection to the API server broke: {error}") from error
        finally:
            answer.close()


def _refusal(path: str, status: int, body: bytes) -> KubernetesError:
    try:
        message = str(json.loads(body)["message"])
    except (TypeError, ValueError, KeyError):
        message = str(status)
    text = f"Kubernetes would not read {path[1:]}: {message}"
    if status == 404:
        return NotFound(text)
    return _Again(text) if status >= 500 or status in _PASSING else KubernetesError(text)


def _has_run(pod: Object) -> bool:
    """Whether the driver's container has begun, so that it has a log."""
    return bool({"running", "terminated"} & _state(pod).keys())


def _has_ended(pod: Object) -> bool:
    return "terminated" in _state(pod)


def _state(pod: Object) -> Object:
    for status in (pod.get("status") or {}).get("containerStatuses") or []:
        if status["name"] == names.COMPONENT_DRIVER:
            return status.get("state") or {}
    return {}


def _text(line: bytes) -> str:
    return line.partition(b" ")[2].decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
