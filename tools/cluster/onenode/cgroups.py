"""The node's control group, in every hierarchy that this machine has."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tools.cluster.onenode.layout import Layout
from tools.cluster.shell import wait_until

UNIFIED = Path("/sys/fs/cgroup/cgroup.controllers")


def create(layout: Layout) -> None:
    """Make the group below which the kubelet puts its pods; it refuses to make that one itself."""
    for hierarchy in _hierarchies():
        group = hierarchy / layout.cgroup
        if UNIFIED.exists():
            for controller in UNIFIED.read_text().split():
                try:
                    (hierarchy / "cgroup.subtree_control").write_text(f"+{controller}")
                except OSError:
                    pass  # one that cannot be delegated; the kubelet names it if it needs it
        group.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            # In the old hierarchy a new group may use no processor and no memory until told so.
            if (group / name).exists() and not (group / name).read_text().strip():
                inherited = hierarchy / name
                if inherited.exists():
                    (group / name).write_text(inherited.read_text())


def remove(layout: Layout) -> int:
    """Remove the group and all below it, in every hierarchy; how many there were.

    :raises ToolError: a process is still in one of them.
    """
    groups = [hierarchy / layout.cgroup for hierarchy in _hierarchies()]
    present = [group for group in groups if group.is_dir()]
    for group in present:
        wait_until(partial(_removed, group), seconds=10, what=f"the end of control group {group}")
    return len(present)


def _removed(group: Path) -> bool:
    """Try to remove a group, deepest first; whether it is gone. The kernel lags behind the processes' end."""
    for folder in sorted([path for path in group.rglob("*") if path.is_dir()], reverse=True):
        try:
            folder.rmdir()
        except OSError:
            return False
    try:
        group.rmdir()
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True


def _hierarchies() -> list[Path]:
    """The roots of all mounted hierarchies."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return list(dict.fromkeys(Path(mount[1]) for mount in mounts if mount[2] in ("cgroup", "cgroup2")))
