"""The link between the machine and the node, and the node's own routes and translation.

From the machine, only the node's address can be reached. Pods and Services are reached through the API server, as in
any other cluster. Pods reach each other, Services and the machine, but no other host.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass

from tools.cluster import cache
from tools.cluster.errors import ToolError
from tools.cluster.onenode.layout import DEFAULT_NAME, PODS, SERVICES, Layout
from tools.cluster.processes import Process
from tools.cluster.shell import run, succeeds, wait_until

#: Every node takes a /30 of it for the two ends of its link.
LINKS = ipaddress.ip_network("10.97.0.0/16")
NODE_INTERFACE = "node0"
MASQUERADE = f"""
table ip flowcluster {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {PODS} ip daddr != {PODS} masquerade
  }}
}}
"""


@dataclass(frozen=True)
class Link:
    """The addresses of both ends."""

    machine: str
    node: str

    @classmethod
    def number(cls, index: int) -> Link:
        """Return the ``index``-th /30 of `LINKS`."""
        first = int(LINKS.network_address) + 4 * index
        return cls(str(ipaddress.ip_address(first + 1)), str(ipaddress.ip_address(first + 2)))


def connect(layout: Layout, init: Process) -> Link:
    """Join the machine and the node's network namespace, and prepare the latter for pods.

    Args:
        layout: of the node.
        init: the first process of the node's namespaces.
    """
    inside = ["nsenter", "--target", str(init.pid), "--net"]
    with cache.locked(cache.root() / "clusters" / "links.lock", "choosing an address for its node"):
        link = _free_link(layout)
        ends = ["type", "veth", "peer", "name", NODE_INTERFACE, "netns", str(init.pid)]
        run(["ip", "link", "add", layout.interface, *ends])
        run(["ip", "address", "add", f"{link.machine}/30", "dev", layout.interface])
    run(["ip", "link", "set", layout.interface, "up"])
    batch = [
        "link set lo up",
        f"address add {link.node}/30 dev {NODE_INTERFACE}",
        f"link set {NODE_INTERFACE} up",
        # A connection needs a route before its address can be translated. This one leads nowhere else, so
        # that a Service without endpoints is unreachable immediately, and no other host answers.
        f"route add {SERVICES} dev {NODE_INTERFACE}",
    ]
    run([*inside, "ip", "-batch", "-"], stdin="\n".join(batch))
    run([*inside, "sysctl", "-qw", "net.ipv4.ip_forward=1"])
    run([*inside, "nft", "-f", "-"], stdin=MASQUERADE)
    return link


def present(layout: Layout) -> bool:
    """Return whether the machine has the node's interface."""
    return succeeds(["ip", "link", "show", layout.interface])


def disconnect(layout: Layout) -> bool:
    """Remove the machine's end of the link, and return whether there was one."""
    if not present(layout):
        return False
    # The kernel also removes it, with the node's network, a moment after the end of the last process there.
    succeeds(["ip", "link", "delete", layout.interface])
    wait_until(lambda: not present(layout), seconds=10, what=f"the end of interface {layout.interface}")
    return True


def _free_link(layout: Layout) -> Link:
    """Return the first link that overlaps no route of this machine. Ignore routes wider than a /24, such as a VPN's."""
    routes = [
        network
        for route in json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"]))
        if (network := _network(route.get("dst", ""))) is not None and network.prefixlen >= 24
    ]
    count = LINKS.num_addresses // 4
    start = 0 if layout.name == DEFAULT_NAME else int(cache.digest([layout.name]), 16) % count
    for offset in range(count):
        link = Link.number((start + offset) % count)
        wanted = ipaddress.ip_network(f"{link.machine}/30", strict=False)
        if not any(network.overlaps(wanted) for network in routes):
            return link
    raise ToolError(f"every /30 of {LINKS} is in use on this machine: see `ip route show table all`.")


def _network(text: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return None  # "default" and the like
