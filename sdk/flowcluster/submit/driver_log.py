"""The log of a run's driver, line by line, across broken connections and replaced pods."""

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

#: Seconds between two reads of a pod, and maximum seconds between two listings of pods. A pod is deleted soon after its
#: end, and its log with it.
POLL, LONGEST_POLL = 0.3, 1.0
#: Seconds to connect, and seconds without a line after which the log is requested again: the connection can be dead.
CONNECT_SECONDS, SILENCE_SECONDS = 3.0, 30.0
#: Seconds for which the API server can be unreachable.
AWAY_SECONDS = 60.0

#: The beginning of each line that a kubelet sends.
_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\S* ")
#: HTTP statuses of transient errors: the container has not started, or the node's kubelet does not answer.
_TRANSIENT = (400, 408, 429)


class _Retriable(KubernetesError):
    """A request failed, and can succeed when it is repeated."""


class LineDeduplicator:
    """Detects lines that were read before the log was requested again.

    A request can name only a whole second from which to read, and lines of stdout and stderr can change places. So the
    log is requested from the second before the last one that has lines. A line is identified by its time, with
    nanoseconds, and its text.
    """

    def __init__(self) -> None:
        self._before: list[bytes] = []
        self._now: list[bytes] = []
        self._again: collections.Counter[bytes] = collections.Counter()
        self._since = self._second = b""

    def reopened(self) -> str | None:
        """Prepare for another request. Return the time from which to request the log; None for its beginning."""
        self._again = collections.Counter([*self._before, *self._now])
        return f"{self._since.decode()}Z" if self._since else None

    def is_new(self, line: bytes) -> bool:
        """Return whether a line, which begins with its time, was not read before the last request."""
        if self._again[line]:
            self._again[line] -= 1
            return False
        found = _TIME.match(line)
        if found is None:
            return False  # a message of the kubelet, not of the driver
        # Times of the same format compare as texts.
        if found[1] > self._second:
            self._since, self._second = self._second or found[1], found[1]
            self._before, self._now = self._now, []
        self._now.append(line)
        return True


class DriverLog:
    """The log of the driver of one run, with all its attempts.

    Args:
        access: the run's Kubernetes and namespace.
        uid: of the FlowRun.
    """

    def __init__(self, access: Access, uid: str) -> None:
        self._access, self._uid = access, uid

    def lines(self, is_over: Callable[[], bool]) -> Iterator[str]:
        """Yield each line once, without its line break, until the run has ended and there are no more lines.

        Args:
            is_over: returns whether the run has ended.

        Raises:
            KubernetesError: the API server refuses a request, or cannot be reached for long.
        """
        read: set[str] = set()
        wait = POLL
        while True:
            over = is_over()  # first: a run that has ended gets no further pods
            pods = [pod for pod in self._pods() if pod["metadata"]["uid"] not in read]
            for pod in pods:
                if _has_started(pod):
                    yield from self._of(pod["metadata"]["name"])
                    read.add(pod["metadata"]["uid"])
            if over:
                return
            wait = POLL if pods else min(1.1 * wait, LONGEST_POLL)
            time.sleep(wait)

    def _of(self, pod: str) -> Iterator[str]:
        lines, is_last, answered, rest = LineDeduplicator(), False, time.monotonic(), b""
        query = {"container": names.COMPONENT_DRIVER, "timestamps": "true"}
        while True:
            since = lines.reopened()
            options = query | ({} if is_last else {"follow": "true"}) | ({"sinceTime": since} if since else {})
            try:
                for line in self._stream(f"/pods/{pod}/log", options):
                    answered, rest = time.monotonic(), b""
                    if not line.endswith(b"\n"):
                        rest = line  # the connection broke within the line
                    elif lines.is_new(line):
                        yield _text(line)
                if is_last:
                    break
                is_last = _has_ended(self._get(f"/pods/{pod}"))
                answered = time.monotonic()
                if is_last:
                    continue
            except NotFound:
                break
            except _Retriable:
                if time.monotonic() - answered > AWAY_SECONDS:
                    raise
            time.sleep(POLL)
        if rest and lines.is_new(rest):
            yield _text(rest)

    def _pods(self) -> list[Object]:
        """Return the driver's pods, oldest first."""
        selector = f"{names.LABEL_RUN_UID}={self._uid},{names.LABEL_COMPONENT}={names.COMPONENT_DRIVER}"
        began = time.monotonic()
        while True:
            try:
                found = self._get("/pods", labelSelector=selector)["items"]
                return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
            except _Retriable:
                if time.monotonic() - began > AWAY_SECONDS:
                    raise
            time.sleep(POLL)

    def _get(self, path: str, **query: str) -> Object:
        try:
            found: Object = json.loads(b"".join(self._stream(path, query)))
        except ValueError as error:
            raise _Retriable(f"The answer of Kubernetes for {path} is incomplete: {error}") from error
        return found

    def _stream(self, path: str, query: dict[str, str]) -> Iterator[bytes]:
        """Yield the lines of an answer; the last one can lack its line break.

        Silence for longer than `SILENCE_SECONDS` is not an error: it ends the lines.

        Raises:
            NotFound: there is no such object.
            _Retriable: the request failed, and can be repeated.
            KubernetesError: the API server refuses the request.
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
            raise _Retriable(f"The API server at {settings.host} cannot be reached: {error}") from error
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
            pass  # the driver wrote nothing for long
        except urllib3.exceptions.HTTPError as error:
            raise _Retriable(f"The connection to the API server broke: {error}") from error
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
    return _Retriable(text) if status >= 500 or status in _TRANSIENT else KubernetesError(text)


def _has_started(pod: Object) -> bool:
    """Return whether the driver's container has started, so that it has a log."""
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
