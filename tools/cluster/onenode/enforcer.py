"""NetworkPolicies on the node: packet rules put connections into a queue, and kube-network-policies decides.

The kernel keeps the first packet of each connection in a queue until the program accepts or drops it. Without the
program, the kernel drops the packet: an enforcer that has ended allows no connection.

The program makes such rules by itself with nftables' statement ``queue``, which some kernels lack
(``CONFIG_NFT_QUEUE``). The rules here have the same effect by iptables' target ``NFQUEUE``, which exists on every
kernel. If both exist, the program decides twice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tools.cluster.processes import PROC, Process
from tools.cluster.shell import run

#: The process, and its module in ``tools/cluster/go``.
NAME = "network-policies"
QUEUE = 100
_CHAIN = "flowcluster-policies"
#: Root on the node, such as the kubelet with its probes and the API server, reaches every pod. The address of a pod
#: is compared after the translation of a Service's address, and before that of the pod's own.
_RULES = f"""\
*mangle
:{_CHAIN} - [0:0]
-A {_CHAIN} -m owner --uid-owner 0 -j RETURN
-A {_CHAIN} -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN
-A {_CHAIN} -j NFQUEUE --queue-num {QUEUE}
-A POSTROUTING -j {_CHAIN}
COMMIT
"""
_NO_RULES = f"""\
*mangle
-D POSTROUTING -j {_CHAIN}
-F {_CHAIN}
-X {_CHAIN}
COMMIT
"""
#: Removes the program's own table, also if it never created one.
_NO_TABLE = "table inet kube-network-policies {}\ndelete table inet kube-network-policies\n"


def command(program: Path, kubeconfig: Path, node: str) -> list[str | Path]:
    """Return the command line of the program.

    Args:
        program: the program.
        kubeconfig: of its connection to the API server.
        node: name of the node.
    """
    return [program, f"--kubeconfig={kubeconfig}", f"--hostname-override={node}", f"--nfqueue-id={QUEUE}"]


def listens(init: Process) -> bool:
    """Return whether a process in the node's network takes packets from the queue.

    Args:
        init: the first process of the node's namespaces.
    """
    queues = (PROC / str(init.pid) / "net/netfilter/nfnetlink_queue").read_text().splitlines()
    return any(line.split()[:1] == [str(QUEUE)] for line in queues)


def is_on(init: Process) -> bool:
    """Return whether the packet rules exist."""
    return f"-A POSTROUTING -j {_CHAIN}" in run([*_inside(init), "iptables-save", "-t", "mangle"]).splitlines()


def add_rules(init: Process) -> None:
    """Put the first packet of each connection into the queue."""
    run([*_inside(init), "iptables-restore", "--noflush"], stdin=_RULES)


def remove_rules(init: Process, stop: Callable[[], None]) -> None:
    """Allow every packet again.

    Args:
        init: the first process of the node's namespaces.
        stop: ends the program, which would otherwise create its own table again.
    """
    if is_on(init):
        run([*_inside(init), "iptables-restore", "--noflush"], stdin=_NO_RULES)
    stop()
    run([*_inside(init), "nft", "-f", "-"], stdin=_NO_TABLE)


def _inside(init: Process) -> list[str]:
    return ["nsenter", "--target", str(init.pid), "--net"]
