"""A thread pool whose threads do not delay the end of the program.

With the standard library's pool, the interpreter waits at its exit for the functions in the pool, so Ctrl-C would not
end a program before its slowest task. These threads are daemons.

Each thread is in one of three states. One lock protects the number of threads in each state:

- An *idle* thread has no job.
- A *counting* thread has a job, or is about to take one. At most `size` threads count.
- A *blocked* thread has a job that waits for others.

A job is queued only while `size` threads count. So each event that lowers their number starts the next queued job: the
end of a job, and a job that begins to wait.

While a thread holds the lock, it calls no functions, except to start a thread. The interpreter switches threads at
calls. Once a thread waits for a lock whose owner does not run, each job costs a switch, and takes four times as long.
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
    """A submitted function, and the context variables for its call. The job is empty once the call has begun."""

    __slots__ = ("_content",)

    def __init__(self, function: Callable[[], object]) -> None:
        self._content = [(contextvars.copy_context(), function)]

    def take(self) -> tuple[contextvars.Context, Callable[[], object]] | None:
        """Take the function, to call or to cancel it. Return None if another thread has taken it before."""
        try:
            return self._content.pop()  # atomic
        except IndexError:
            return None


class ThreadPool:
    """Runs functions in threads. It starts a thread only when a function waits and no thread is idle.

    Args:
        size: maximum number of functions that run at a time. Functions that wait for others do not count.
        linger: seconds after which an idle thread ends; None if idle threads end only at `close`.
    """

    def __init__(self, size: int, linger: float | None = None) -> None:
        self._size = size
        self._linger = linger
        # Reentrant: the start of a thread allocates memory, and a garbage collection can then call code of users, which
        # submits.
        self._lock = threading.RLock()
        # A job is in `_due` if a thread already counts for it, else in `_queue`. The first free thread takes it. A job
        # is put there after the numbers have changed, so a thread that takes a job can wait for it for a moment.
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
            RuntimeError: the pool is closed, or it has no thread and the system cannot start one.
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
        """Start a thread that already counts. Return whether the system could start it.

        If it could not, the thread stops counting. Its job is queued for another thread of the pool.

        Args:
            or_queue: whether the thread is for a new job. If not, its job is already in `_queue`.

        Raises:
            RuntimeError: the thread was for a new job, and the pool has no other thread that could run it.
        """
        with self._lock:
            new = threading.Thread(target=self._main, name=f"flowcluster-{self._started}", daemon=True)
            self._started += 1
            self._threads.add(new)  # before its start: it removes itself at its end, which can be at any time
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
        """Stop counting this thread in the block, where it waits for other functions, which can need a thread."""
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
        """Move a queued job to the thread that already counts for it. Start this thread if it is new."""
        if not is_new or self._start_thread(or_queue=False):
            self._due.put(self._queue.get())

    def close(self, abandon: bool = False) -> None:
        """Wait until all threads have ended. With `abandon`, end only idle threads, and drop the queued jobs."""
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
        # In a loop, because a job that is still queued can need one more thread.
        while not abandon and (busy := self._others()):
            for thread in busy:
                with suppress(RuntimeError):  # another thread is about to start it
                    thread.join()

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
            # The pool starts threads while others are blocked, so it can have more than it needs afterwards.
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
        job = self._wait_for_job()
        if job is None:
            with self._lock:
                self._counting -= 1
        return job

    def _wait_for_job(self) -> Job | None:
        """Wait for a job in an idle thread, and return it; None if the thread must end instead."""
        try:
            return self._due.get(timeout=self._linger)
        except Empty:
            with self._lock:
                is_idle = self._idle > 0
                if is_idle:
                    self._idle -= 1
                    self._counting += 1
        return None if is_idle else self._due.get()  # no thread is idle: another thread is about to put a job


def _run(job: Job) -> None:
    content = job.take()
    if content is None:
        return  # it was cancelled
    context, function = content
    try:
        context.run(function)
    except BaseException as error:
        guarding.quietly(logger.error, "A thread of the task runner continues after an error:", exc_info=error)


def _use_pool_for_calls() -> None:
    """Let functions that coroutines call run in a pool, each in its own thread, which stays for a second afterwards."""
    waiting.call_in_thread = ThreadPool(sys.maxsize, linger=1.0).submit


_use_pool_for_calls()
platforms.after_fork(_use_pool_for_calls)  # a forked process has none of these threads
