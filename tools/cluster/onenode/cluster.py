"""Start the node, return its status, and stop it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tools.cluster import cache, debian, docker, gotools
from tools.cluster.errors import ToolError
from tools.cluster.onenode import cgroups, containers, enforcer, files, network, services
from tools.cluster.onenode.layout import Layout
from tools.cluster.onenode.network import Link
from tools.cluster.onenode.node import Node
from tools.cluster.onenode.rest import Api, answers
from tools.cluster.progress import say, step
from tools.cluster.providers.base import Image, Process, Status
from tools.cluster.shell import wait_until

PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "cni": "containernetworking-plugins",
    "iptables": "iptables",  # only for host ports
    "nft": "nftables",
    "ip": "iproute2",
    "sysctl": "procps",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
}
#: Modules of programs of the node.
BUILT = ("kubernetes", "etcd", "coredns", "pause")
#: Time in which a part of the cluster must start (s).
START_SECONDS = 90.0


class OneNode:
    """A one-node Kubernetes on this machine: the real programs, from the project's own builds."""

    kind = "one-node"

    def __init__(self, name: str) -> None:
        self._layout = Layout(name)
        self._node = Node(self._layout)

    def up(self) -> None:
        """Start the node, or do nothing if it runs and is healthy.

        What an earlier run left incomplete is removed first.

        Raises:
            ToolError: this is not Linux, not root, or a part did not start. The message has the end of its log.
        """
        if sys.platform != "linux" or os.geteuid() != 0:
            raise ToolError("the one-node cluster needs Linux and root. Elsewhere: run Docker, or give --kubeconfig.")
        with cache.locked(self._layout.lock, f"starting or stopping {self._layout.name}"):
            if self._node.init() and self.status().ready:
                return say(f"{self._layout.name} is up")
            debian.ensure(PROGRAMS, "the one-node cluster")
            for name in BUILT:
                gotools.built(name)
            if self._layout.home.exists():
                say("removing what an earlier run left")
                self._clear()
            try:
                self._start()
            except BaseException:
                self._node.kill()  # the rest stays, for the logs, until the next up or down
                raise
        return None

    def down(self, *, purge: bool = False) -> None:
        """Remove the node and all that belongs to it, with its images only if ``purge``."""
        with cache.locked(self._layout.lock, f"starting or stopping {self._layout.name}"):
            if self._layout.home.exists() or containers.leftovers(self._layout):
                with step(f"stopping {self._layout.name}"):
                    removed = self._clear()
                say("removed " + (", ".join(removed) or "nothing: no part of it was left"))
            else:
                say(f"{self._layout.name} is not running")
            if purge:
                shutil.rmtree(self._layout.folder, ignore_errors=True)
                say("removed the images that were kept for the next start")

    def restart(self, name: str) -> None:
        """Kill one of the node's processes, such as ``kube-apiserver``, and start it again."""
        with cache.locked(self._layout.lock, f"starting or stopping {self._layout.name}"):
            self._node.restart(name)

    def enforce_policies(self, enforced: bool) -> None:
        """Start or stop the enforcement of NetworkPolicies, unless that is done already.

        Existing connections continue, also against the policies.

        Raises:
            ToolError: the node does not run, or the program does not start.
        """
        program = gotools.program(enforcer.NAME) if enforced else None
        with cache.locked(self._layout.lock, f"starting or stopping {self._layout.name}"):
            kubeconfig, init = self.kubeconfig(), self._node.init()
            assert init is not None
            if program and enforcer.is_on(init) and enforcer.listens(init):
                return
            enforcer.remove_rules(init, lambda: self._node.stop(enforcer.NAME))
            if program:
                self._node.order_later(enforcer.NAME, enforcer.command(program, kubeconfig, self._layout.name))
                self._await("the enforcer of NetworkPolicies", lambda: enforcer.listens(init))
                enforcer.add_rules(init)

    def status(self) -> Status:
        """Query the health of every part."""
        layout = self._layout
        if self._node.init() is None:
            return Status(self.kind, layout.name, False, "not running: `up` starts it")
        found = self._node.processes()
        processes = [
            Process(name, process.pid if process else None, self._node.ending(name)) for name, process in found.items()
        ]
        problem = self._problem([name for name, process in found.items() if process])
        version = gotools.module_version("kubernetes", "k8s.io/kubernetes")
        detail = problem or f"Kubernetes {version} at {self._node.recorded('address')}, node {layout.name} ready"
        return Status(self.kind, layout.name, not problem, detail, layout.kubeconfig, layout.audit_log, processes)

    def kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig, which every start writes again."""
        if self._node.init() is None:
            raise ToolError(f"{self._layout.name} is not running: `python -m tools.cluster up` starts it.")
        return self._layout.kubeconfig

    def images(self) -> set[str]:
        """Return the names of containerd's images."""
        self.kubeconfig()
        return containers.images(self._layout)

    def load(self, image: Image) -> str:
        """Import an image's archive, and return the image's name."""
        self.kubeconfig()
        if image.archive is None:
            with tempfile.TemporaryDirectory() as folder:
                containers.import_archive(self._layout, docker.save(image.ref, Path(folder) / "image.tar"))
        elif image.archive.is_dir():
            containers.import_layout(self._layout, image.archive, image.ref)
        else:
            containers.import_archive(self._layout, image.archive)
        return image.ref

    def _start(self) -> None:
        layout, node = self._layout, self._node
        with step(f"starting {layout.name}"):
            cgroups.create(layout)
            init = node.start()
            containers.mark_used(layout)
            link = network.connect(layout, init)
            node.record(address=link.node)
            prepared = services.prepare(layout, link)
            api = prepared.api
            for name in services.STORE:
                node.order(name, prepared.commands[name])
            self._await("containerd", lambda: containers.listening(layout))
            containers.ensure_sandbox_image(layout)
            self._await("the API server", api.ready)
            services.grant(api)
            for name in services.REST:
                node.order(name, prepared.commands[name])
            node.seal()
            self._await("the node", lambda: _node_ready(api, layout.name))
            self._await("Services", lambda: answers(link.node, files.PROXY_HEALTH_PORT, "/healthz"))
            self._await("cluster DNS", lambda: answers(link.node, files.DNS_HEALTH_PORT, "/ready"))
            self._await("the default ServiceAccount", lambda: api.get(DEFAULT_ACCOUNT) is not None)
        say(f"{layout.name} is up: node {layout.name} is ready, DNS answers. kubeconfig: {layout.kubeconfig}")

    def _await(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait for one part, and fail immediately when any process has ended."""

        def reached() -> bool:
            for name in self._node.processes():
                self._node.check(name)
            return condition()

        wait_until(reached, seconds=START_SECONDS, what=what, explain=lambda: f"Logs: {self._layout.home / 'log'}")

    def _problem(self, living: list[str]) -> str:
        """Return what is wrong with a node whose first process runs, or an empty text."""
        if missing := [name for name in (*services.STORE, *services.REST) if name not in living]:
            return f"not running: {', '.join(missing)}. `up` starts it again"
        address = self._node.recorded("address")
        api = services.reopen(self._layout, Link("", address))
        checks: dict[str, Callable[[], bool]] = {
            "the API server": api.ready,
            "the node": lambda: _node_ready(api, self._layout.name),
            "Services": lambda: answers(address, files.PROXY_HEALTH_PORT, "/healthz"),
            "cluster DNS": lambda: answers(address, files.DNS_HEALTH_PORT, "/ready"),
        }
        failing = [what for what, check in checks.items() if not check()]
        return f"not ready: {', '.join(failing)}. Logs: {self._layout.home / 'log'}" if failing else ""

    def _clear(self) -> list[str]:
        """Remove everything but the images, and return what that was, as texts for the user."""
        layout = self._layout
        counted = {
            "processes": self._node.kill(),
            f"interface {layout.interface} and the network behind it": int(network.disconnect(layout)),
            "control groups": cgroups.remove(layout),
            "containers": containers.sweep(layout),
        }
        shutil.rmtree(layout.home, ignore_errors=True)
        return [f"{count} {what}" if count > 1 else what for what, count in counted.items() if count]


DEFAULT_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"


def _node_ready(api: Api, name: str) -> bool:
    node = api.get(f"/api/v1/nodes/{name}")
    conditions = node["status"].get("conditions", []) if node else []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
