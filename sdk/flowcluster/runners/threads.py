"""A thread pool that a program can leave behind.

The standard library's pool makes the interpreter wait at its exit for functions that run in it, so
that Ctrl-C would not end a program before its slowest task. These threads are daemons.

Each thread is in one of three states, counted under one lock: it is *idle*, it executes a job and *counts*,
or it is *blocked* in a job that waits for others. At most `size` threads count. A job is queued only while that many
do, so whatever lowers the number (the end of a job, a job that begins to wait) starts the next one.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flowcluster import guarding
from flowcluster.waiting import occupying

logger = logging.getLogger("flowcluster.task_runner")


class Job:
    """A function that was submitted, and the context variables that it is called with."""

    __slots__ = ("context", "function")

    def __init__(self, function: Callable[[], object]) -> None:
        self.context = contextvars.copy_context()
        self.function = function


class _Idle:
    """A thread that waits for a job: `job` is set before the lock is released; None ends the thread."""

    __slots__ = ("job", "wakeup")

    def __init__(self, job: Job | None = None) -> None:
        self.wakeup = threading.Lock()
        self.wakeup.acquire()
        self.job = job

    def take(self) -> Job | None:
        """Return the job, and keep nothing of it."""
        job, self.job = self.job, None
        return job


class ThreadPool:
    """Runs functions in at most `size` threads; a thread is started only when a function waits and none is free.

    Args:
        size: how many functions run at a time; those that wait for others do not count.
        linger: seconds after which an idle thread ends; None: at `close`.
    """

    def __init__(self, size: int, linger: float | None = None) -> None:
        self._size = size
        self._linger = -1 if linger is None else linger
        # Garbage collection can call code of users, which may submit a job, in the thread that holds the lock.
        self._lock = threading.RLock()
        self._queue: deque[Job] = deque()
        self._idle: list[_Idle] = []
        self._counting = 0
        self._blocked = 0
        self._started = 0
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def submit(self, function: Callable[[], object]) -> Job:
        """Run `function` in a thread, with a copy of the caller's context variables. It must not raise.

        Raises RuntimeError after `close`, and if the system cannot start the only thread that could run it.
        """
        job = Job(function)
        with self._lock:
            if self._closed:
                raise RuntimeError("The thread pool is closed.")
            self._queue.append(job)
            try:
                self._start_next()
            except RuntimeError:
                if not self._threads:
                    self._queue.remove(job)
                    raise
        return job

    def cancel(self, job: Job) -> bool:
        """Take a job back; False if it has begun."""
        with self._lock:
            try:
                self._queue.remove(job)
            except ValueError:
                return False
        return True

    def _start_next(self) -> None:
        """Give the next queued job to a thread, if one more may count. The caller holds the lock."""
        if not self._queue or self._counting >= self._size:
            return
        if self._idle:
            thread = self._idle.pop()
            thread.job = self._queue.popleft()
            self._counting += 1
            thread.wakeup.release()
            return
        first = _Idle(self._queue[0])  # a thread keeps its arguments until it ends
        new = threading.Thread(target=self._main, args=(first,), name=f"flowcluster-{self._started}", daemon=True)
        new.start()  # may raise; it waits for the lock before it does anything with the pool
        self._queue.popleft()
        self._threads.add(new)
        self._started += 1
        self._counting += 1

    @contextmanager
    def _place(self) -> Iterator[None]:
        """While a function waits for others, its thread does not count: they may need one."""
        with self._lock:
            self._blocked += 1
            self._counting -= 1
            try:
                self._start_next()
            except RuntimeError:
                pass  # the system has no thread left: the next job begins when one ends
        try:
            yield
        finally:
            with self._lock:
                self._blocked -= 1
                self._counting += 1  # it may be one too many until some job ends

    def close(self, abandon: bool = False) -> None:
        """End the threads: wait for them, or with `abandon` leave those that are busy and drop what is queued."""
        with self._lock:
            self._closed = True
            if abandon:
                self._queue.clear()
            idle, self._idle = self._idle, []
        for thread in idle:
            thread.wakeup.release()
        # A job that is still queued may start one more thread.
        while not abandon and (busy := self._others()):
            for each in busy:
                each.join()

    def _others(self) -> list[threading.Thread]:
        with self._lock:
            return [thread for thread in self._threads if thread is not threading.current_thread()]

    def _main(self, first: _Idle) -> None:
        job = first.take()
        try:
            with occupying(self._place):
                while job is not None:
                    _run(job)
                    # Nothing may keep the last job's arguments and result alive while this thread is idle.
                    del job
                    job = self._next()
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _next(self) -> Job | None:
        """Return the next job of a thread whose job has ended; None ends the thread."""
        with self._lock:
            self._counting -= 1
            if self._queue and self._counting < self._size:
                self._counting += 1
                return self._queue.popleft()
            # A thread that stood in for a blocked one is not needed any more.
            if self._closed or self._counting + len(self._idle) >= self._size:
                return None
            idle = _Idle()
            self._idle.append(idle)
        if not idle.wakeup.acquire(timeout=self._linger):
            with self._lock:
                if idle in self._idle:
                    self._idle.remove(idle)
        return idle.take()


def _run(job: Job) -> None:
    try:
        job.context.run(job.function)
    except BaseException as error:
        guarding.quietly(logger.error, "A thread of the task runner went on after an error:", exc_info=error)
