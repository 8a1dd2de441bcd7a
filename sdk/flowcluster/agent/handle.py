"""The driver's handle to its agent process."""

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

from flowcluster._util import platforms
from flowcluster.agent import protocol
from flowcluster.agent.protocol import Adapt, AgentJob, Counted, Forward, Forwarding, Lost, Released, Trouble
from flowcluster.context import Counts
from flowcluster.errors import KubernetesError
from flowcluster_api.driver import Outcome

logger = logging.getLogger("flowcluster.cluster")

#: Seconds to wait for an answer of the agent, which starts within a second, and itself waits for the API server.
ANSWER_SECONDS = 20.0
#: Seconds before a crashed agent is replaced: the cause of the crash can end the next one, too.
RESTART_SECONDS = 0.5
#: Seconds between two counts of task runs, and the largest share of the time that counting can take.
COUNT_SECONDS, _COUNT_SHARE = 1.0, 0.02

_PACKAGE = Path(__file__).resolve().parents[1]


class AgentHandle:
    """Starts the agent, sends it requests, and starts another one if it crashes.

    Args:
        job: what the agent does, and for which run.
        on_lost: called in a thread of this object when the run has ended, but this driver has not ended it.
        count: returns the task runs of the flow, or None while there is no flow. Called in a thread of this object.
    """

    def __init__(
        self, job: AgentJob, on_lost: Callable[[Lost], None], count: Callable[[], Counts | None] | None = None
    ) -> None:
        self._job, self._on_lost = job, on_lost
        self._answers: queue.Queue[Forwarding | Released] = queue.Queue()
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._pid = os.getpid()
        self._forward: Forward | None = None
        self._adapt: Adapt | None = None
        self._is_over = False
        self._ending = threading.Event()
        self._process = self._start_agent()
        if count is not None:
            threading.Thread(target=self._count, args=[count], name="flowcluster-counts", daemon=True).start()

    def forward(self, pod: str, ports: list[int], namespace: str | None = None) -> dict[int, int]:
        """Forward ports of a pod to local ports.

        Args:
            pod: name of the pod.
            ports: ports of the pod.
            namespace: of the pod, if that is not the run's.

        Returns:
            The local ports, by the ports of the pod.

        Raises:
            KubernetesError: the pod cannot be reached.
        """
        request = Forward(pod, dict.fromkeys(ports, 0), namespace)
        self._send(request)
        answer = self._wait_for_answer()
        if not isinstance(answer, Forwarding) or answer.error:
            raise KubernetesError(f"The cluster cannot be reached from here: {getattr(answer, 'error', answer)}")
        # A later agent has to listen on the ports that clients already use.
        self._forward = dataclasses.replace(request, ports=answer.ports)
        return answer.ports

    def adapt(self, request: Adapt) -> None:
        """Let the agent report the demand for workers to the operator with these parameters from now on."""
        self._adapt = request
        self._send(request)

    def release(self, outcome: Outcome) -> str | None:
        """Release the cluster.

        Do nothing in a forked process: its parent has the cluster.

        Returns:
            Why the cluster could not be released, so that it exists until its lease expires; None if it was released.
        """
        if os.getpid() != self._pid:
            return None
        with self._lock:
            self._is_over = True
        self._ending.set()
        try:
            self._send(protocol.Release(outcome.to_json()))
            answer = self._wait_for_answer()
        except KubernetesError as error:
            return str(error)
        finally:
            self._end()
        return answer.error

    def stop(self) -> None:
        """End the agent, and leave the Lease unchanged."""
        with self._lock:
            self._is_over = True
        self._ending.set()
        self._close_pipe()

    def _count(self, count: Callable[[], Counts | None]) -> None:
        """Send the counts to the agent regularly, also while they do not change: the agent must know their age."""
        pause = COUNT_SECONDS
        while not self._ending.wait(pause):
            started = time.monotonic()
            counts = count()
            # Counting takes longer with many unfinished task runs. Then this thread counts less often.
            pause = max(COUNT_SECONDS, (time.monotonic() - started) / _COUNT_SHARE)
            if counts is None:
                continue
            with contextlib.suppress(KubernetesError, ValueError):  # the agent ended: this object starts another one
                if self._has_room():
                    self._send(Counted(*counts))

    def _has_room(self) -> bool:
        """Return whether a message can be written without blocking. A stopped agent reads no messages."""
        assert self._process.stdin is not None
        return platforms.has_room(self._process.stdin.fileno())

    def _send(self, message: protocol.Message) -> None:
        try:
            with self._sending:
                assert self._process.stdin is not None
                self._process.stdin.write(protocol.write(message))
                self._process.stdin.flush()
        except OSError as error:
            raise KubernetesError("The agent that keeps the run's Lease has ended.") from error

    def _wait_for_answer(self) -> Forwarding | Released:
        try:
            return self._answers.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise KubernetesError("The agent that keeps the run's Lease does not answer.") from None

    def _start_agent(self) -> subprocess.Popen[str]:
        # With -P, a file in the working directory with the name of a module does not replace the module. Ctrl-C in a
        # terminal must not reach the agent.
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
                self._receive(protocol.read(line))
        process.wait()
        time.sleep(RESTART_SECONDS)
        with self._lock:
            if self._is_over:
                return
            logger.warning("The agent that keeps the run's Lease has ended (%s); starting another", process.returncode)
            self._process = self._start_agent()
        with contextlib.suppress(KubernetesError):  # the new agent has ended, too: its own thread starts another one
            self._repeat_requests()

    def _repeat_requests(self) -> None:
        """Send the earlier requests to an agent that replaces another one."""
        if self._forward is not None:
            self._send(self._forward)
            self._wait_for_answer()
        if self._adapt is not None:
            self._send(self._adapt)

    def _receive(self, message: protocol.Message) -> None:
        if isinstance(message, Lost):
            with self._lock:
                was_over, self._is_over = self._is_over, True
            if not was_over:
                self._on_lost(message)
        elif isinstance(message, Trouble):
            logger.warning(message.message)
        elif isinstance(message, Forwarding | Released):
            self._answers.put(message)

    def _close_pipe(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass  # the agent ended before it read all data

    def _end(self) -> None:
        self._close_pipe()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            pass  # the agent tries again to end the lease, and then exits
