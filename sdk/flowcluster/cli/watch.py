"""Watching a submitted run: its phases, its log, its end."""

from __future__ import annotations

import json
import queue
import threading
import time
from typing import Any, TextIO

from flowcluster._util.storage import shown
from flowcluster.errors import KubernetesError
from flowcluster.submit.handle import REMEDY, SubmittedRun, phase_at_end
from flowcluster_api import driver as api
from flowcluster_api.conditions import cause_class

Object = dict[str, Any]

#: Maximum seconds between two reads of the FlowRun, so that its end is shown soon.
LONGEST_LOOK = 1.0
#: Seconds after which a line reports that no operator serves the run.
REPORT_UNNOTICED_SECONDS = 5.0
#: Seconds after the run's end to wait for another line of its log.
LOG_SECONDS = 10.0

_EXIT = {"Succeeded": api.EXIT_COMPLETED, "Cancelled": api.EXIT_CANCELLED}
_STATES = {"Succeeded": "Completed"}


def watch(run: SubmittedRun, entrypoint: str, output: TextIO) -> Object:
    """Show a run until it has ended, and return its outcome as ``flowcluster run --json`` prints it.

    Args:
        run: the run.
        entrypoint: of its flow.
        output: where to print.

    Raises:
        NotFound: the run was deleted.
        KubernetesError: the API server cannot be reached for long.
    """
    began = time.monotonic()
    log, story = _Log(run, output), _Story(output)
    status: Object = {}
    for status in run.statuses(lambda seconds: log.show(min(seconds, LONGEST_LOOK))):
        story.show(status, time.monotonic() - began)
    log.finish()
    story.show(status, 0.0)
    document = _document(run, entrypoint, status)
    _print_end(document, output)
    return document


class _Story:
    """Prints each change of a run's status once."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._known: set[tuple[str, ...]] = set()
        self._last = ("", "")
        self._of_story = ""
        self._is_unnoticed = False

    def show(self, status: Object, seconds: float) -> None:
        """Print what is new in a status.

        Args:
            status: of the FlowRun.
            seconds: since the FlowRun was created.
        """
        phase = status.get("phase")
        if phase is None:
            if seconds > REPORT_UNNOTICED_SECONDS and not self._is_unnoticed:
                self._is_unnoticed = True
                self._line(_now(), "Pending", "Unnoticed", "no operator has observed the run yet: does it run?")
            return
        for entry in status.get("story") or []:
            text = entry["reason"], entry.get("message") or ""
            # The text of a cause is refreshed while it lasts: Kubernetes alternates between its reasons.
            cause = (entry["part"], cause_class(text[0])) if "part" in entry else text
            if (entry["time"], *cause) not in self._known:
                self._known.add((entry["time"], *cause))
                self._line(entry["time"][11:19], phase, *text)
                self._last, self._of_story = text, cause_class(text[0])
        now = status.get("reason") or "", status.get("message") or ""
        # A cause that the status's story already has, in other words, is not printed again.
        if cause_class(now[0]) not in ("", self._of_story) and now != self._last:
            self._line(_now(), phase, *now)
            self._last, self._of_story = now, ""

    def _line(self, clock: str, phase: str, reason: str, message: str) -> None:
        print(f"{clock} {phase:<9} {reason}: {message}".rstrip(": "), file=self._output, flush=True)


class _Log:
    """Prints the driver's log line by line; a thread reads it."""

    def __init__(self, run: SubmittedRun, output: TextIO) -> None:
        self._output = output
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._is_over = threading.Event()
        self._has_ended = False
        threading.Thread(target=self._read, args=[run], name="flowcluster-log", daemon=True).start()

    def show(self, seconds: float) -> None:
        """Print lines for some seconds."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._has_ended:
                time.sleep(left)
            else:
                self._next(left)

    def finish(self) -> None:
        """Print the rest."""
        self._is_over.set()
        while not self._has_ended and self._next(LOG_SECONDS):
            pass

    def _next(self, seconds: float) -> bool:
        """Print a line. Return False if none arrives in time."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            return False
        if line is None:
            self._has_ended = True
        else:
            print(line, file=self._output, flush=True)
        return True

    def _read(self, run: SubmittedRun) -> None:
        try:
            for line in run.log().lines(self._is_over.is_set):
                self._lines.put(line)
        except KubernetesError as error:
            self._lines.put(f"The flow's log cannot be read: {error}")
        finally:
            self._lines.put(None)


def _document(run: SubmittedRun, entrypoint: str, status: Object) -> Object:
    """Return the outcome of a run in the form of ``flowcluster run --json``."""
    phase, flow = phase_at_end(status) or "Failed", status.get("flow") or {}
    tasks = flow.get("tasks") or {}
    document: Object = {
        "state": _STATES.get(phase, phase),
        "reason": status.get("reason"),
        "message": status.get("message"),
        "name": run.name,
        "namespace": run.namespace,
        "flow": entrypoint,
        "result": None,
        "tasks": {name: tasks.get(name, 0) for name in ("total", "completed", "failed")},
        "exitCode": _EXIT.get(phase, api.EXIT_FAILED),
    }
    if "result" in flow:
        document["result"] = json.loads(flow["result"])
    elif "resultUrl" in flow:
        document["resultUrl"] = shown(flow["resultUrl"])
    elif "resultOmitted" in flow:
        document["resultError"] = f"The result was not kept: {flow['resultOmitted']}. {REMEDY}"
    return document


def _print_end(document: Object, output: TextIO) -> None:
    tasks = document["tasks"]
    done = f" ({tasks['completed']} of {tasks['total']} tasks completed)" if tasks["total"] else ""
    print(f"{document['name']}: {document['state']}{done}", file=output)
    if document["result"] is not None:
        print(f"result: {json.dumps(document['result'], ensure_ascii=False)}", file=output)
    for name, what in (("resultUrl", "result, pickled: "), ("resultError", "")):
        if name in document:
            print(f"{what}{document[name]}", file=output)


def _now() -> str:
    """Return the time in UTC, as in a pod's log and in a story."""
    return time.strftime("%H:%M:%S", time.gmtime())
