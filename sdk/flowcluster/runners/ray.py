"""Tasks on Ray: an instance that lives as long as the flow run, one that exists, or the process's own.

Everything that only a Ray run needs is imported when one begins: ``import flowcluster`` brings this
module along for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ClusterLost
from ..states import State
from .base import TaskCall, TaskRunner
from .ray_options import current

if TYPE_CHECKING:
    from .ray_connection import Connection
    from .ray_result import RayResult
    from .ray_session import RaySession


class RayTaskRunner(TaskRunner):
    """Executes submitted tasks on Ray.

    A Ray that the process is connected to already is used, and left alone. Otherwise ``ray.init`` is
    called when the flow run begins and ``ray.shutdown`` when it ends.

    Args:
        address: of a Ray cluster that exists, such as ``ray://head:10001``, or ``head:6379`` on one of its
            machines, or ``auto``; by default what ``RAY_ADDRESS`` says, else a new instance on this machine.
            The run waits for it as many seconds as ``FLOWCLUSTER_CLUSTER_TIMEOUT`` says (60 by default).
        init_kwargs: further arguments for ``ray.init``.

    Arrays in results of other tasks are read-only, as all processes of a machine share them.

    Raises ValueError for what cannot be an address, and for one among `init_kwargs`.
    """

    concurrency: ClassVar[str] = "in parallel"

    #: Ray takes about 8 kB of the driver's memory for each call that has not ended; more at a time are not faster.
    max_in_flight: ClassVar[int | None] = 5_000

    _connection: Connection | None = None
    _session: RaySession | None = None

    def __init__(self, address: str | None = None, init_kwargs: Mapping[str, Any] | None = None) -> None:
        if init_kwargs and "address" in init_kwargs:
            raise ValueError("Give the address as an argument of its own, not among init_kwargs.")
        if address is not None and address != "local":
            from ..clusters.address import split_ray

            split_ray(address)  # refuses what cannot be an address
        self.address = address
        self.init_kwargs = dict(init_kwargs or {})

    def open(self) -> None:
        """Find or start Ray and connect to it.

        Raises `ClusterUnreachable`, or what ``ray.init`` raised.
        """
        super().open()
        # Here, as it takes as long as Ray takes to be imported.
        from ..clusters.address import timeout_seconds
        from .ray_connection import connect
        from .ray_session import RaySession

        self._connection = connect(self.address, self.init_kwargs, timeout_seconds())
        self._session = RaySession(self._connection, on_worker)

    def submit(self, call: TaskCall, done: Callable[[State], None]) -> RayResult | None:
        """Send `call` to Ray. Options set with `remote_options` hold for it."""
        if self._session is None:
            raise RuntimeError(f"The task runner {self.name} has not been started.")
        return self._session.submit(call, done)

    def chains(self, handle: Any) -> bool:
        """Whether `handle` is a run of this very flow run, whose result Ray can pass on."""
        return self._session is not None and getattr(handle, "session", None) is self._session

    def cancel(self, handle: RayResult) -> None:
        """Interrupt the run; after some seconds its worker is stopped."""
        if self._session is not None:
            self._session.cancel(handle)

    def retries(self) -> int:
        """``max_retries`` of `remote_options`."""
        return max(0, int(current().get("max_retries") or 0))

    def trouble(self) -> ClusterLost | None:
        """That the head went away, if it did."""
        return self._session.lost() if self._session else None

    def close(self, cancel: bool = False) -> None:
        """Let go of Ray, and shut it down if it is the run's own."""
        session, self._session = self._session, None
        connection, self._connection = self._connection, None
        try:
            if session is not None:
                session.close(cancel)
        finally:
            if connection is not None:
                connection.release()
            super().close(cancel)

    def __repr__(self) -> str:
        return f"{self.name}(address={self.address!r})" if self.address else f"{self.name}()"


def on_worker() -> RayTaskRunner:
    """An open runner for what a task on a Ray worker submits: it uses the worker's own connection."""
    runner = RayTaskRunner()
    runner.open()
    return runner
