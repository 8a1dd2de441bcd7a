"""The first process of a node's namespaces: it starts the processes that it is ordered to start, and reaps them.

`tools.cluster.onenode.node` runs it as a plain file, so it uses only the standard library. Each
line of its standard input, and of the pipe ``run/orders`` later, is a JSON object ``{"name", "argv", "env"}``; the
process's output goes to ``log/NAME.log`` below the home folder, and its pid to ``run/NAME.pid``. When it ends, its
status goes to ``run/NAME.exit``. Nothing is started again automatically: ``up`` replaces a control plane that lost a
part.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


def prepare_mounts(home: Path) -> None:
    """Give the node its own /run, /var/log and /var/lib/kubelet. The mount namespace hides them from the machine."""

    def mount(*arguments: str | Path) -> None:
        subprocess.run(["mount", *map(str, arguments)], check=True)

    # Pods can request mounts that propagate. The mount namespace itself is already separate from the machine's.
    mount("--make-rshared", "/")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    mount("--bind", home / "kubelet", "/var/lib/kubelet")
    mount("--bind", home / "log", "/var/log")


def spawn(home: Path, order: dict[str, Any]) -> int:
    """Start the process of an order and return its pid."""
    name, argv, env = order["name"], order["argv"], order["env"]
    log = os.open(home / "log" / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        pid = os.posix_spawnp(
            argv[0],
            argv,
            {**os.environ, **env},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsigmask=[],
        )
    finally:
        os.close(log)
        os.close(null)
    (home / "run" / f"{name}.pid").write_text(str(pid))
    (home / "run" / f"{name}.exit").unlink(missing_ok=True)
    return pid


def reap(home: Path, names: dict[int, str]) -> None:
    """Collect every child that ended, and record the end of those that were ordered."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        name = names.pop(pid, None)
        if name is not None:
            code = os.waitstatus_to_exitcode(status)
            how = f"exit code {code}" if code >= 0 else f"signal {-code}"
            (home / "run" / f"{name}.exit").write_text(how)


def main() -> None:
    """Execute orders until this process is killed: nothing else ends a namespace's first process."""
    home = Path(sys.argv[1])
    prepare_mounts(home)
    ended, wake = os.pipe()
    os.set_blocking(ended, False)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    os.mkfifo(home / "run" / "orders")
    later = os.open(home / "run" / "orders", os.O_RDWR)  # opened for writing too, so that reading never ends
    os.write(1, b"ready\n")

    names: dict[int, str] = {}
    orders = {0: b"", later: b""}
    sources = [0, later, ended]
    while True:
        readable, _, _ = select.select(sources, [], [])
        for source in orders.keys() & set(readable):
            received = os.read(source, 65536)
            if not received:
                if not names:
                    return  # the process that created this namespace ended before its first order
                sources = [later, ended]
            *lines, orders[source] = (orders[source] + received).split(b"\n")
            for line in lines:
                order = json.loads(line)
                names[spawn(home, order)] = order["name"]
        if ended in readable:
            os.read(ended, 65536)
        reap(home, names)


if __name__ == "__main__":
    main()
