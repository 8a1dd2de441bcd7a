"""The node's namespaces: create them, start and list processes in them, and remove all of it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.cluster.errors import ToolError
from tools.cluster.onenode.layout import Layout
from tools.cluster.processes import Process, boot_id
from tools.cluster.shell import find, search_path, wait_until

INIT = Path(__file__).with_name("init.py")
NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc")


class Node:
    """One node's namespaces, created by this process or by an earlier one.

    The record ``node.json`` has the pid and the start time of the first process, and the boot of the machine. Only this
    process and its children get signals.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._orders = -1

    def init(self) -> Process | None:
        """Return the namespaces' first process, or None when it does not run."""
        try:
            record = json.loads(self._layout.record.read_text())
        except (OSError, ValueError):
            return None
        if record["boot"] != boot_id():
            return None
        process = Process(record["pid"], record["start"])
        return process if process.alive() else None

    def recorded(self, key: str) -> str:
        """Return the value that `record` stored under ``key``, or an empty text."""
        try:
            return str(json.loads(self._layout.record.read_text()).get(key, ""))
        except (OSError, ValueError):
            return ""

    def record(self, **facts: str | int) -> None:
        """Add facts to ``node.json``."""
        try:
            known = json.loads(self._layout.record.read_text())
        except (OSError, ValueError):
            known = {}
        self._layout.record.write_text(json.dumps(known | facts))

    def start(self) -> Process:
        """Create the namespaces and return their first process, which waits for `order`.

        Raises:
            ToolError: this process cannot create namespaces.
        """
        home = self._layout.home
        for folder in ("log", "run", "kubelet"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        Path("/var/lib/kubelet").mkdir(exist_ok=True)  # the mount point; empty outside of the node
        orders_read, self._orders = os.pipe()
        answer_read, answer_write = os.pipe()
        log = os.open(home / "log" / "init.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        outer = os.posix_spawn(
            find("unshare") or "unshare",
            ["unshare", *NAMESPACES, sys.executable, "-E", "-S", str(INIT), str(home)],
            {"PATH": search_path(), "LANG": "C.UTF-8"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, orders_read, 0),
                (os.POSIX_SPAWN_DUP2, answer_write, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsid=True,  # the user's Ctrl-C is for the tool, not for the node
        )
        for descriptor in (orders_read, answer_write, log):
            os.close(descriptor)
        with os.fdopen(answer_read, "rb") as answer:
            if answer.readline() != b"ready\n":
                _forget(outer)
                raise ToolError(f"cannot make namespaces for the node:\n{self.log_tail('init')}")
        first = _only_child(outer)
        self.record(boot=boot_id(), pid=first.pid, start=first.start)
        return first

    def order(self, name: str, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        """Start one process in the node.

        Args:
            name: names its log (``log/NAME.log``) and its line in `processes`.
            argv: the command line.
            env: added to the environment of the node's first process.
        """
        line = json.dumps({"name": name, "argv": [str(word) for word in argv], "env": dict(env or {})})
        try:
            os.write(self._orders, line.encode() + b"\n")
        except BrokenPipeError:
            raise ToolError(f"the node died while {name} was started:\n{self.log_tail('init')}") from None

    def seal(self) -> None:
        """End the orders. The node then no longer depends on this process."""
        if self._orders >= 0:
            os.close(self._orders)
            self._orders = -1

    def restart(self, name: str) -> None:
        """Kill one process that was ordered, and start it again with the same order.

        Raises:
            ToolError: no process of that name runs, or it did not end.
        """
        process = self.processes().get(name)
        if process is None:
            running = ", ".join(sorted(key for key, value in self.processes().items() if value))
            raise ToolError(f"no process {name!r} runs in the node. Processes that run: {running or 'none'}")
        argv, env = ((Path("/proc") / str(process.pid) / file).read_text() for file in ("cmdline", "environ"))
        self.stop(name)
        pairs = (item.partition("=") for item in env.split("\0") if item)
        self.order_later(name, argv.split("\0")[:-1], {key: value for key, _, value in pairs})

    def order_later(self, name: str, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        """Start one process in a node that is sealed. The arguments are those of `order`."""
        order = {"name": name, "argv": [str(word) for word in argv], "env": dict(env or {})}
        (self._layout.home / "run" / "orders").write_text(json.dumps(order) + "\n")

    def stop(self, name: str) -> None:
        """Kill one process and delete its record, if there is one of that name.

        Raises:
            ToolError: the process did not end.
        """
        process = self.processes().get(name)
        if process is not None:
            process.kill()
            wait_until(lambda: bool(self.ending(name)), seconds=20, what=f"the end of {name}")
        for suffix in ("pid", "exit"):
            (self._layout.home / "run" / f"{name}.{suffix}").unlink(missing_ok=True)

    def processes(self) -> dict[str, Process | None]:
        """Return every process that was ordered, by name, or None for one that ended."""
        init = self.init()
        living = {child.inner_pid(): child for child in init.children()} if init else {}
        files = sorted((self._layout.home / "run").glob("*.pid"))
        return {file.stem: living.get(int(file.read_text() or -1)) for file in files}

    def ending(self, name: str) -> str:
        """Return how a process ended, ``exit code 1`` or ``signal 9``, or an empty text while it runs."""
        try:
            return (self._layout.home / "run" / f"{name}.exit").read_text()
        except OSError:
            return ""

    def check(self, name: str) -> None:
        """Raise `ToolError` with its last log lines if a process ended."""
        if how := self.ending(name):
            raise ToolError(f"{name} ended ({how}):\n{self.log_tail(name)}")

    def log_tail(self, name: str, lines: int = 8) -> str:
        """Return the last lines that a process printed, and the path of its log."""
        path = self._layout.home / "log" / f"{name}.log"
        try:
            text = path.read_text(errors="replace")
        except OSError:
            return f"(no log at {path})"
        return "\n".join([*text.splitlines()[-lines:], f"(all of it: {path})"])

    def kill(self) -> int:
        """End every process of the node, and so its mounts and its network. Return the number of processes."""
        self.seal()
        init = self.init()
        if init is None:
            return 0
        victims = init.descendants()
        init.kill()
        wait_until(lambda: not init.alive(), seconds=20, what="the end of the node's processes")
        return 1 + len(victims)


def _only_child(outer: int) -> Process:
    """Return the only child of unshare(1), which is the namespaces' first process."""
    parent = Process.of(outer)
    children = parent.children() if parent else []
    if len(children) != 1:
        raise ToolError("the process that made the node's namespaces is gone. Run `up` again.")
    return children[0]


def _forget(pid: int) -> None:
    """End and reap a child of this process."""
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # it has ended already
