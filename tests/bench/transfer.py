"""The cost of TLS between the parts of a run: ``python -m tests.bench.transfer``.

Two workers on this machine run with TLS keys as the operator creates them, and without TLS, in turns. The script
measures how long one takes to get an array from the other, and how long a chain of small tasks takes that alternate
between them.
"""

from __future__ import annotations

import base64
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from distributed import Client, LocalCluster
from distributed.security import Security

from flowcluster_operator.new_credentials import new_credentials
from tests.bench.common import Table, medians, options

MIB = 256


def _bytes(number: int) -> bytes:
    return os.urandom(number)


def _next(earlier: int) -> int:
    return earlier + 1


# Sent with their code: workers do not have this module.
_bytes.__module__ = _next.__module__ = "__main__"


def keys(folder: Path) -> Security:
    """Return the TLS keys of one run, for all its parts."""
    for name, content in new_credentials("bench").items():
        (folder / name).write_bytes(base64.b64decode(content))
    certificate, key = str(folder / "tls.crt"), str(folder / "tls.key")
    roles = {f"tls_{role}_{what}": path for role in ("scheduler", "worker", "client")
             for what, path in (("cert", certificate), ("key", key))}  # fmt: skip
    return Security(tls_ca_file=str(folder / "ca.crt"), require_encryption=True, **roles)


def moved(client: Client) -> float:
    """Return the seconds until one worker has what the other holds."""
    one, other = client.scheduler_info()["workers"]
    held = client.submit(_bytes, MIB * 2**20, workers=one, pure=False)
    client.submit(type, held, workers=one, pure=False).result()
    started = time.perf_counter()
    client.submit(len, held, workers=other, pure=False).result()
    return time.perf_counter() - started


def chained(client: Client, steps: int) -> float:
    """Return the seconds of a chain of tasks, each on the other worker."""
    workers = list(client.scheduler_info()["workers"])
    started = time.perf_counter()
    last = client.submit(int, 0, pure=False)
    for step in range(steps):
        last = client.submit(_next, last, workers=workers[step % 2], pure=False)
    assert last.result() == steps
    return time.perf_counter() - started


def report(plain: Client, secured: Client, steps: int, repeats: int) -> None:
    """Print the table."""
    measures: dict[str, Callable[[], float]] = {
        "move": lambda: moved(plain),
        "move, TLS": lambda: moved(secured),
        "chain": lambda: chained(plain, steps),
        "chain, TLS": lambda: chained(secured, steps),
    }
    found = medians(measures, repeats)
    table = Table(f"{MIB} MiB from worker to worker, and {steps} tasks there and back")
    table.row("an array moves, plain", found["move"], "s")
    table.row("an array moves, with TLS", found["move, TLS"], "s")
    table.row("   with TLS / plain", found["move, TLS"] / found["move"], "x")
    table.row("a step of a chain, with TLS", 1000 * found["chain, TLS"] / steps, "ms")
    table.row("   with TLS / plain", found["chain, TLS"] / found["chain"], "x", 1.5)
    table.finish()


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__, tasks=200, repeats=7)
    workers = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": 0}
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(**workers) as plain,
        LocalCluster(security=keys(Path(folder)), protocol="tls://", **workers) as secured,
        Client(plain) as one,
        Client(secured) as other,
    ):
        report(one, other, chosen.tasks, chosen.repeats)


if __name__ == "__main__":
    main()
