"""The driver's side of its agent."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from flowcluster import platforms
from flowcluster.agent import messages
from flowcluster.agent.messages import Adapt, Counted, Forward, Forwarding, Job, Lost, Released, Trouble
from flowcluster.context import Counts
from flowcluster.errors import KubernetesError
from flowcluster_api.driver import Outcome

logger = logging.getLogger("flowcluster.cluster")

#: Seconds for an answer: the agent itself waits for the API server, and starts within one.
ANSWER_SECONDS = 20.0
#: Seconds before an agent that died is replaced: what ended it may end the next one too.
RESTART_SECONDS = 0.5
#: Seconds between two counts of task runs, and the share of the time that counting takes at most.
COUNT_SECONDS, _COUNT_SHARE = 1.0, 0.02

_PACKAGE = Path(__file__).resolve().parents[1]


class Agent:
    """Starts the agent, asks it for things, and starts it again should it die.

    Args:
        job: what it is for.
        on_lost: is called, on a thread of this object, when the run was ended by somebody else.
        count: returns the task runs of the flow, or None while there is none; called on a thread of this object.
    """

    def __init__(
        self, job: Job, on_lost: Callable[[Lost], None], count: Callable[[], Counts | None] | None = None
    ) -> None:
        self._job, self._on_lost = job, on_lost
        self._answers: queue.Queue[Forwarding | Released] = queue.Queue()
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._pid = os.getpid()
        self._forward: Forward | None = None
        self._adapt: Adapt | None = None
        self._is_over = False
        self._ending = threading.Event()
        self._process = self._started()
        if count is not None:
            threading.Thread(target=self._count, args=[count], name="flowcluster-counts", daemon=True).start()

    def forward(self, pod: str, ports: list[int], namespace: str | None = None) -> dict[int, int]:
        """Return local ports, by the ports of a pod that they lead to.

        Args:
            pod: its name.
            ports: of the pod.
            namespace: of the pod, where that is not the run's.

        Raises:
            KubernetesError: no path leads to the pod.
        """
        wanted = Forward(pod, dict.fromkeys(ports, 0), namespace)
        self._ask(wanted)
        answer = self._answer()
        if not isinstance(answer, Forwarding) or answer.error:
            raise KubernetesError(f"The cluster cannot be reached from here: {getattr(answer, 'error', answer)}")
        # A new agent has to listen where clients know the cluster to be.
        self._forward = dataclasses.replace(wanted, ports=answer.ports)
        return answer.ports

    def adapt(self, wanted: Adapt) -> None:
        """Have the operator told what the cluster needs, from now on in this way."""
        self._adapt = wanted
        self._ask(wanted)

    def release(self, outcome: Outcome) -> str | None:
        """Give the cluster back; why it is kept until its lease has run out, if it is.

        Does nothing in a process that was forked: the cluster is its parent's.
        """
        if os.getpid() != self._pid:
            return None
        with self._lock:
            self._is_over = True
        self._ending.set()
        try:
            self._ask(messages.Release(outcome.to_json()))
            answer = self._answer()
        except KubernetesError as error:
            return str(error)
        finally:
            self._end()
        return answer.error

    def stop(self) -> None:
        """End the agent, and leave the Lease as it is."""
        with self._lock:
            self._is_over = True
        self._ending.set()
        self._hang_up()

    def _count(self, count: Callable[[], Counts | None]) -> None:
        """Send the counts to the agent, also while they stay the same: it must know how old they are."""
        pause = COUNT_SECONDS
        while not self._ending.wait(pause):
            started = time.monotonic()
            counts = count()
            # With very many open task runs they are counted less often.
            pause = max(COUNT_SECONDS, (time.monotonic() - started) / _COUNT_SHARE)
            if counts is None:
                continue
            with contextlib.suppress(KubernetesError, ValueError):  # it ended: another one is being started
                if self._has_room():
                    self._ask(Counted(*counts))

    def _has_room(self) -> bool:
        """Whether a message can be written without waiting: an agent that is stopped reads none."""
        assert self._process.stdin is not None
        return platforms.has_room(self._process.stdin.fileno())

    def _ask(self, message: messages.Message) -> None:
        try:
            with self._asking:
                assert self._process.stdin is not None
                self._process.stdin.write(messages.write(message))
                self._process.stdin.flush()
        except OSError as error:
            raise KubernetesError("The agent that keeps the run's Lease has ended.") from error

    def _answer(self) -> Forwarding | Released:
        try:
            return self._answers.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise KubernetesError("The agent that keeps the run's Lease does not answer.") from None

    def _started(self) -> subprocess.Popen[str]:
        # Not from the working directory, in which a file may be called like a module; where no Ctrl-C in a
        # terminal reaches it.
        path = os.pathsep.join([str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{_PACKAGE.name}.agent", self._job.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            **platforms.beyond_ctrl_c(),
        )
        threading.Thread(target=self._listen, args=[process], name="flowcluster-agent", daemon=True).start()
        return process

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._hear(messages.read(line))
        process.wait()
        time.sleep(RESTART_SECONDS)
        with self._lock:
            if self._is_over:
                return
            logger.warning("The agent that keeps the run's Lease has ended (%s); starting another", process.returncode)
            self._process = self._started()
        if self._forward is not None:
            self._ask(self._forward)
            self._answer()
        if self._adapt is not None:
            self._ask(self._adapt)

    def _hear(self, message: messages.Message) -> None:
        if isinstance(message, Lost):
            with self._lock:
                expected, self._is_over = self._is_over, True
            if not expected:
                self._on_lost(message)
        elif isinstance(message, Trouble):
            logger.warning(message.message)
        elif isinstance(message, Forwarding | Released):
            self._answers.put(message)

    def _hang_up(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass  # it ended before all was written

    def _end(self) -> None:
        self._hang_up()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            pass  # it goes on trying to end the lease, and ends then
