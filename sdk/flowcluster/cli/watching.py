"""A submitted run as somebody watches it: its phases, its log, its end."""

from __future__ import annotations

import json
import queue
import threading
import time
from typing import Any, TextIO

from flowcluster.errors import KubernetesError
from flowcluster.kube.submitted import REMEDY, SubmittedRun, phase_at_end
from flowcluster.storage import shown
from flowcluster_api import driver as api
from flowcluster_api.conditions import cause_class

Object = dict[str, Any]

#: Seconds between two looks, at most, so that an end is soon noticed.
LONGEST_LOOK = 1.0
#: Seconds after which it is told that nobody serves a run.
UNNOTICED_SECONDS = 5.0
#: Seconds after the run's end for which its log may go on coming without a line.
LOG_SECONDS = 10.0

_EXIT = {"Succeeded": api.EXIT_COMPLETED, "Cancelled": api.EXIT_CANCELLED}
_STATES = {"Succeeded": "Completed"}


def watch(run: SubmittedRun, entrypoint: str, told: TextIO) -> Object:
    """Show a run on `told` until it has ended; a document that says how, as ``flowcluster run --json`` does.

    Raises `NotFound` if the run is deleted, `KubernetesError` if the API server is away for long.
    """
    began = time.monotonic()
    log, story = _Log(run, told), _Story(told)
    status: Object = {}
    for status in run.statuses(lambda seconds: log.show(min(seconds, LONGEST_LOOK))):
        story.tell(status, time.monotonic() - began)
    log.finish()
    story.tell(status, 0.0)
    document = _document(run, entrypoint, status)
    _tell_end(document, told)
    return document


class _Story:
    """Tells each change of a run's status once."""

    def __init__(self, told: TextIO) -> None:
        self._told = told
        self._known: set[tuple[str, ...]] = set()
        self._last = ("", "")
        self._of_story = ""
        self._is_unnoticed = False

    def tell(self, status: Object, seconds: float) -> None:
        """What is new in `status`, which was read `seconds` after the run had been created."""
        phase = status.get("phase")
        if phase is None:
            if seconds > UNNOTICED_SECONDS and not self._is_unnoticed:
                self._is_unnoticed = True
                self._line(_now(), "Pending", "Unnoticed", "no operator has taken notice of the run yet: does it run?")
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
        # What the story tells in other words is not told again.
        if cause_class(now[0]) not in ("", self._of_story) and now != self._last:
            self._line(_now(), phase, *now)
            self._last, self._of_story = now, ""

    def _line(self, clock: str, phase: str, reason: str, message: str) -> None:
        print(f"{clock} {phase:<9} {reason}: {message}".rstrip(": "), file=self._told, flush=True)


class _Log:
    """Shows the driver's log as it comes; a thread waits for it."""

    def __init__(self, run: SubmittedRun, told: TextIO) -> None:
        self._told = told
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._is_over = threading.Event()
        self._has_ended = False
        threading.Thread(target=self._read, args=[run], name="flowcluster-log", daemon=True).start()

    def show(self, seconds: float) -> None:
        """Show what comes for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._has_ended:
                time.sleep(left)
            else:
                self._next(left)

    def finish(self) -> None:
        """Show the rest."""
        self._is_over.set()
        while not self._has_ended and self._next(LOG_SECONDS):
            pass

    def _next(self, seconds: float) -> bool:
        """Show a line if one comes in time."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            return False
        if line is None:
            self._has_ended = True
        else:
            print(line, file=self._told, flush=True)
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
    """How a run has ended, in the form of ``flowcluster run --json``."""
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
        document["resultError"] = f"Nobody has kept the result: {flow['resultOmitted']}. {REMEDY}"
    return document


def _tell_end(document: Object, told: TextIO) -> None:
    tasks = document["tasks"]
    done = f" ({tasks['completed']} of {tasks['total']} tasks completed)" if tasks["total"] else ""
    print(f"{document['name']}: {document['state']}{done}", file=told)
    if document["result"] is not None:
        print(f"result: {json.dumps(document['result'], ensure_ascii=False)}", file=told)
    for name, what in (("resultUrl", "result, pickled: "), ("resultError", "")):
        if name in document:
            print(f"{what}{document[name]}", file=told)


def _now() -> str:
    """The time in UTC, as that of a pod's log and of a story."""
    return time.strftime("%H:%M:%S", time.gmtime())
