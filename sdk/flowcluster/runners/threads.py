"""A thread pool whose threads do not delay the end of the program.

With the standard library's pool, the interpreter waits at its exit for the functions in the pool, so Ctrl-C would not
end a program before its slowest task. These threads are daemons.

Each thread is in one of three states, counted under one lock: it is *idle*, it *counts*, as it has a job or is due to
take one, or it is *blocked* in a job that waits for others. At most `size` threads count. A job is queued only while
that many do, so whatever lowers the number (the end of a job, a job that begins to wait) starts the next one.

While a thread holds the lock, it calls nothing, except to start a thread: the interpreter switches threads at calls,
and once one thread waits for a lock that another one holds without running, each job costs a switch (four times the
time).
"""

from __future__ import annotations

import contextvars
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

from flowcluster._util import guarding, platforms, waiting
from flowcluster._util.waiting import occupying_slot

logger = logging.getLogger("flowcluster.task_runner")


class Job:
    """A function that was submitted, and the context variables for its call. Once it has begun, the job is empty."""

    __slots__ = ("_content",)

    def __init__(self, function: Callable[[], object]) -> None:
        self._content = [(contextvars.copy_context(), function)]

    def take(self) -> tuple[contextvars.Context, Callable[[], object]] | None:
        """Begin or cancel the job: return its content; None if it was begun or cancelled before."""
        try:
            return self._content.pop()  # one operation of the interpreter
        except IndexError:
            return None


class ThreadPool:
    """Runs functions in at most `size` threads; a thread is started only when a function waits and none is free.

    Args:
        size: how many functions run at a time; those that wait for others do not count.
        linger: seconds after which an idle thread ends; None for at `close`.
    """

    def __init__(self, size: int, linger: float | None = None) -> None:
        self._size = size
        self._linger = linger
        # The start of a thread allocates: a garbage collection can call code of users there, which submits.
        self._lock = threading.RLock()
        # A job is in `_due` if a thread counts for it already, which takes it; whichever thread is free first. Both are
        # filled after the numbers are changed, so a thread that takes a job can have to wait for it a moment.
        self._due: SimpleQueue[Job | None] = SimpleQueue()
        self._queue: SimpleQueue[Job] = SimpleQueue()
        self._queued = 0
        self._idle = 0
        self._counting = 0
        self._blocked = 0
        self._started = 0
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def submit(self, function: Callable[[], object]) -> Job:
        """Call `function` in a thread, with a copy of the caller's context variables. It must not raise.

        Raises:
            RuntimeError: the pool is closed, or the system cannot start the only thread.
        """
        job = Job(function)
        with self._lock:
            is_closed, is_due, is_new = self._closed, self._counting < self._size, False
            if not is_closed:
                if not is_due:
                    self._queued += 1
                else:
                    self._counting += 1
                    if self._idle:
                        self._idle -= 1
                    else:
                        is_new = True
        if is_closed:
            raise RuntimeError("The thread pool is closed.")
        if is_new:
            is_due = self._start_thread(or_queue=True)
        (self._due if is_due else self._queue).put(job)
        return job

    def _start_thread(self, or_queue: bool) -> bool:
        """Start a thread that counts already, and return whether the system could.

        If it could not, the thread does not count any more, and the job is queued if the pool has other threads.

        Args:
            or_queue: whether the thread is for a new job.

        Raises:
            RuntimeError: the pool has no other thread that could run the new job.
        """
        with self._lock:
            new = threading.Thread(target=self._main, name=f"flowcluster-{self._started}", daemon=True)
            self._started += 1
            self._threads.add(new)  # once it runs, it can end at any time, and removes itself
        try:
            new.start()
        except RuntimeError:
            with self._lock:
                self._threads.discard(new)
                self._counting -= 1
                has_others = bool(self._threads)
                if has_others or not or_queue:
                    self._queued += 1
            if or_queue and not has_others:
                raise
            return False
        return True

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Do not count the thread for the time of the block, in which it waits for others: those can need a thread."""
        with self._lock:
            self._blocked += 1
            self._counting -= 1
            is_next = self._queued > 0 and self._counting < self._size
            is_new = is_next and not self._idle
            if is_next:
                self._queued -= 1
                self._counting += 1
                self._idle -= not is_new
        if is_next:
            self._move_next(is_new)
        try:
            yield
        finally:
            with self._lock:
                self._blocked -= 1
                self._counting += 1  # until another job ends, this can be one more than `size`

    def _move_next(self, is_new: bool) -> None:
        """Move a queued job to a thread that counts for it."""
        if not is_new or self._start_thread(or_queue=False):
            self._due.put(self._queue.get())

    def close(self, abandon: bool = False) -> None:
        """Wait for the ends of all threads. With `abandon`, end only idle threads, and drop the queued jobs."""
        with self._lock:
            self._closed = True
            dropped = self._queued if abandon else 0
            self._queued -= dropped
            idle, self._idle = self._idle, 0
            self._counting += idle
        for _ in range(dropped):
            self._queue.get()
        for _ in range(idle):
            self._due.put(None)
        # A job that is still queued can start one more thread.
        while not abandon and (busy := self._others()):
            for each in busy:
                with suppress(RuntimeError):  # another thread is about to start it
                    each.join()

    def _others(self) -> list[threading.Thread]:
        with self._lock:
            return [thread for thread in self._threads if thread is not threading.current_thread()]

    def _main(self) -> None:
        try:
            with occupying_slot(self._place):
                job = self._due.get()
                while job is not None:
                    _run(job)
                    # The variable must not keep the last job's arguments and result alive while this thread is idle.
                    del job
                    job = self._next()
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _next(self) -> Job | None:
        """Return the next job of a thread whose job has ended; None ends the thread."""
        with self._lock:
            counting = self._counting - 1
            is_next = self._queued > 0 and counting < self._size
            # A thread that was started while another one was blocked is not needed any more.
            is_over = not is_next and (self._closed or counting + self._idle >= self._size)
            if is_next:
                self._queued -= 1
            else:
                self._counting = counting
                self._idle += not is_over
        if is_next:
            return self._queue.get()
        if is_over:
            return None
        job = self._taken()
        if job is None:
            with self._lock:
                self._counting -= 1
        return job

    def _taken(self) -> Job | None:
        """Wait for a job in an idle thread, and return it; None if the thread is to end instead."""
        try:
            return self._due.get(timeout=self._linger)
        except Empty:
            with self._lock:
                is_idle = self._idle > 0
                if is_idle:
                    self._idle -= 1
                    self._counting += 1
        return None if is_idle else self._due.get()  # no thread is idle, so a job is about to be put


def _run(job: Job) -> None:
    content = job.take()
    if content is None:
        return  # it was cancelled
    context, function = content
    try:
        context.run(function)
    except BaseException as error:
        guarding.quietly(logger.error, "A thread of the task runner went on after an error:", exc_info=error)


def _keep_threads_for_calls() -> None:
    """Use a pool for functions that coroutines call: with a thread for each call, which stays a while afterwards."""
    waiting.call_in_thread = ThreadPool(sys.maxsize, linger=1.0).submit


_keep_threads_for_calls()
platforms.after_fork(_keep_threads_for_calls)  # a process that is forked has none of these threads
