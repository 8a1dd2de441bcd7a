"""A driver in a pod whose connection to its new cluster is accepted by another process at first."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from flowcluster.cli.in_cluster_runners import InClusterDaskTaskRunner
from tests.support.dask_processes import DaskProcesses
from tests.support.tls import incomplete_pair
from tests.support.waiting import wait_until


@contextmanager
def foreign_process(address: str, folder: Path) -> Iterator[list[str]]:
    """Accept TLS connections at an address with a certificate of another authority; yield a list of the refusals."""
    _authority, certificate, key = incomplete_pair(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    host, port = address.removeprefix("tls://").split(":")
    refusals: list[str] = []
    with socket.create_server((host, int(port))) as listener:

        def serve() -> None:
            with suppress(OSError):  # the listener is closed
                while True:
                    connection, _ = listener.accept()
                    try:
                        context.wrap_socket(connection, server_side=True).recv(1)
                    except OSError as error:
                        refusals.append(str(error))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield refusals
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.timeout(60)
def test_driver_connects_again_after_the_answer_of_a_foreign_process(tmp_path: Path) -> None:
    """A proxy that inspects TLS accepts connections to a Service whose rules a node does not have yet."""
    for name in ("dask", "foreign"):
        (tmp_path / name).mkdir()
    with DaskProcesses.start(tmp_path / "dask") as processes, ThreadPoolExecutor() as pool:
        processes.kill_scheduler()
        runner = InClusterDaskTaskRunner(processes.address, None)
        with foreign_process(processes.address, tmp_path / "foreign") as refusals:
            opening = pool.submit(runner.open)
            wait_until(lambda: sum("alert" in refusal for refusal in refusals) >= 2, "the driver connects again", 30)
        processes.start_scheduler()
        opening.result(30)
        try:
            assert runner.client.scheduler_info()["address"] == processes.address
        finally:
            runner.close()
