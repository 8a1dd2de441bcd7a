"""The node's control group, in every hierarchy that this machine has."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tools.cluster.onenode.layout import Layout
from tools.cluster.shell import wait_until

UNIFIED = Path("/sys/fs/cgroup/cgroup.controllers")


def create(layout: Layout) -> None:
    """Create the parent of the kubelet's control groups, which the kubelet itself does not create."""
    for hierarchy in _hierarchies():
        group = hierarchy / layout.cgroup
        if UNIFIED.exists():
            for controller in UNIFIED.read_text().split():
                try:
                    (hierarchy / "cgroup.subtree_control").write_text(f"+{controller}")
                except OSError:
                    pass  # a controller that cannot be delegated; the kubelet names it if it needs it
        group.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            # In the old hierarchy, a new group can use no processor and no memory until these are set.
            if (group / name).exists() and not (group / name).read_text().strip():
                inherited = hierarchy / name
                if inherited.exists():
                    (group / name).write_text(inherited.read_text())


def remove(layout: Layout) -> int:
    """Remove the group and all groups below it in every hierarchy, and return their number.

    Raises:
        ToolError: one of them still has a process.
    """
    groups = [hierarchy / layout.cgroup for hierarchy in _hierarchies()]
    present = [group for group in groups if group.is_dir()]
    for group in present:
        wait_until(partial(try_remove, group), seconds=10, what=f"the end of control group {group}")
    return len(present)


def try_remove(group: Path) -> bool:
    """Try to remove a group and those below it, and return whether it is gone.

    The kernel lets a group be removed only some time after the end of its processes.
    """
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
    """Return the roots of all mounted hierarchies."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return list(dict.fromkeys(Path(mount[1]) for mount in mounts if mount[2] in ("cgroup", "cgroup2")))
