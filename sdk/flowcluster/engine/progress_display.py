"""The thread that shows the progress line of flow runs in the terminal.

The line appears when an outermost flow run has lasted `DELAY` seconds, and disappears at the end of the run. Runs
report only their beginning and their end. The thread reads the rest from their counts.
"""

from __future__ import annotations

import atexit
import dataclasses
import threading
import time

from flowcluster import context
from flowcluster._output import terminal
from flowcluster._output.progress_line import ProgressCounts, progress_line
from flowcluster.engine.flow_run import FlowRun
from flowcluster.states import Tally

#: Seconds before the line of a run appears, and between two updates of it.
DELAY, INTERVAL = 2.0, 0.15

# The share of time for counting: with many unfinished task runs, the line is updated less often.
_SHARE = 0.02

_condition = threading.Condition()
_trees: dict[context.FlowContext, RunTree] = {}
_row: terminal.LastRow | None = None
_thread: threading.Thread | None = None


class RunTree:
    """An outermost flow run with its subflow runs.

    Attributes:
        root: the outermost run.
        started: when it began, by the monotonic clock.
        runs: the runs that have not ended, in the order of their beginning.
    """

    def __init__(self, root: FlowRun) -> None:
        self.root = root
        self.started = time.monotonic()
        self.runs: dict[FlowRun, None] = {}
        self._ended = ProgressCounts(root.name, 0)
        self._activity: str | None = None
        self._since = self.started
        self._is_watched = False

    def fold(self, run: FlowRun) -> None:
        """Replace a subflow run that has ended by its counts."""
        del self.runs[run]
        self._ended.add(run.tally)
        if run.parent:
            # The parent counts the subflow run like a task run. The line shows only task runs.
            counted = Tally()
            counted.add(run.state)
            self._ended.add(counted, -1)

    def shown(self, now: float) -> ProgressCounts:
        """Return the progress of the tree."""
        shown = dataclasses.replace(self._ended, name=self.root.name, seconds=now - self.started)
        activity = None
        runners = set()
        for run in self.runs:
            shown.add(run.tally)
            unfinished = run.unfinished_runs()
            running = run.runner.running(unfinished) if unfinished else 0
            shown.unfinished += len(unfinished)
            shown.running = None if running is None or shown.running is None else shown.running + running
            if run.runner not in runners:  # a task submits through its flow's runner
                runners.add(run.runner)
                shown.workers += run.runner.workers() or 0
                activity = run.runner.activity or activity
        if activity != self._activity:
            # An activity before the first update began with the run.
            self._since = now if self._is_watched else self.started
            self._activity = activity
        self._is_watched = True
        if activity:
            shown.activity = f"{activity} ({now - self._since:.0f} s)"
        return shown


def began(run: FlowRun) -> None:
    """Record the beginning of a run, before it becomes the current run."""
    outer = context.current.get()
    if isinstance(outer, context.TaskContext):
        outer = outer.flow
        if outer is None:
            return  # on a worker: its terminal, if it has one, shows the driver's line
    if outer is not None:
        with _condition:
            if tree := _trees.get(outer):
                _trees[run] = tree
                tree.runs[run] = None
        return
    descriptor = terminal.usable()
    if descriptor is not None:
        _show(run, descriptor)


def _show(run: FlowRun, descriptor: int) -> None:
    global _row, _thread
    with _condition:
        tree = _trees[run] = RunTree(run)
        tree.runs[run] = None
        if _row is None:
            _row = terminal.LastRow(descriptor)
            atexit.register(clear)
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_draw, args=(_row,), name="flowcluster-progress", daemon=True)
            _thread.start()
        else:
            _condition.notify()


def ended(run: FlowRun) -> None:
    """Record the end of a run, and erase its line."""
    if run not in _trees:
        return
    with _condition:
        tree = _trees.pop(run)
        if tree.root is not run:
            tree.fold(run)
        elif _row is not None and not _visible(time.monotonic()):
            _row.clear()


def clear() -> None:
    """Erase the line, before the process ends."""
    # With a limit: the thread can hang in a terminal that accepts no more output.
    if _condition.acquire(timeout=1):
        try:
            _trees.clear()
            if _row is not None:
                _row.clear()
        finally:
            _condition.release()


def _visible(now: float) -> list[RunTree]:
    trees = {id(tree): tree for tree in _trees.values() if now - tree.started >= DELAY}
    return list(trees.values())


def _draw(row: terminal.LastRow) -> None:
    number = 0
    with _condition:
        while True:
            now = time.monotonic()
            if visible := _visible(now):
                shown = [tree.shown(now) for tree in visible]
                row.show(progress_line(shown, number, row.width, terminal.has_colours(), terminal.has_unicode()))
                number += 1
                _condition.wait(max(INTERVAL, (time.monotonic() - now) / _SHARE))
            elif _trees:
                _condition.wait(max(0.01, min(tree.started for tree in _trees.values()) + DELAY - now))
            else:
                _condition.wait()
