"""A thread pool that a program can leave behind.

The standard library's pool makes the interpreter wait at its exit for functions that run in it, so
that Ctrl-C would not end a program before its slowest task. These threads are daemons.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from flowcluster.waiting import occupying

_Job = tuple[contextvars.Context, Callable[[], object]]


class ThreadPool:
    """Runs functions in at most `size` threads; a thread is started only when a function waits and none is free."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._waiting = 0
        self._threads: set[threading.Thread] = set()
        self._started = 0
        self._closed = False

    def submit(self, function: Callable[[], object]) -> None:
        """Run `function` in a thread, with a copy of the caller's context variables. It must not raise."""
        self._jobs.put((contextvars.copy_context(), function))
        with self._lock:
            # Every queued job reserves one idle thread; without one left, a new thread takes it.
            if self._idle > 0:
                self._idle -= 1
                return
            thread = self._new_thread()
        if thread is not None:
            thread.start()

    def _new_thread(self) -> threading.Thread | None:
        if len(self._threads) >= self._size + self._waiting:
            return None
        thread = threading.Thread(target=self._main, name=f"flowcluster-{self._started}", daemon=True)
        self._threads.add(thread)
        self._started += 1
        return thread

    @contextmanager
    def _place(self) -> Iterator[None]:
        """While a function waits for others, its thread does not count: they may need one."""
        with self._lock:
            self._waiting += 1
            thread = None if self._jobs.empty() else self._new_thread()
        if thread is not None:
            thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    def close(self, abandon: bool = False) -> None:
        """End the threads: wait for them, or with `abandon` leave those that are busy and drop what is queued."""
        self._closed = abandon
        with self._lock:
            threads = list(self._threads)
        for _ in threads:
            self._jobs.put(None)
        if not abandon:
            for thread in threads:
                if thread is not threading.current_thread():
                    thread.join()

    def _main(self) -> None:
        with occupying(self._place):
            self._work()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None or self._closed:
                return
            context, function = job
            context.run(function)
            # Nothing may keep the last job's arguments and result alive while this thread is idle.
            del job, context, function
            with self._lock:
                if len(self._threads) > self._size + self._waiting:
                    # It stood in for one that waited.
                    self._threads.discard(threading.current_thread())
                    return
                self._idle += 1
