"""The configuration files of the node's programs, as data. JSON is valid YAML, so all have one format."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from tools.cluster.onenode.layout import DOMAIN, PODS, Layout
from tools.cluster.onenode.pki import Pair

SANDBOX_IMAGE = "localhost/flowcluster/pause:1"
DNS_HEALTH_PORT = 8181
PROXY_HEALTH_PORT = 10256


def write(path: Path, content: dict[str, Any] | str, mode: int = 0o644) -> Path:
    """Write a configuration file, with its folders, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=mode)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2) + "\n")
    return path


def kubeconfig(server: str, cluster: str, authority: Pair, client: Pair) -> dict[str, Any]:
    """Return a kubeconfig that contains its certificates, so that the file can be copied."""

    def inline(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": cluster,
        "clusters": [
            {
                "name": cluster,
                "cluster": {"server": server, "certificate-authority-data": inline(authority.certificate)},
            }
        ],
        "users": [
            {
                "name": cluster,
                "user": {
                    "client-certificate-data": inline(client.certificate),
                    "client-key-data": inline(client.key),
                },
            }
        ],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
    }


def audit_policy() -> dict[str, Any]:
    """Return a policy that records user, URL and program of every request, except health checks, and no body."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*"]},
            {"level": "Metadata"},
        ],
    }


def kubelet(layout: Layout, address: str, authority: Pair, server: Pair) -> dict[str, Any]:
    """Return the configuration of a kubelet that evicts pods late, removes no image, and runs up to 250 pods."""
    home = layout.home
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [address],
        "clusterDomain": DOMAIN,
        "containerRuntimeEndpoint": f"unix://{layout.socket}",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "makeIPTablesUtilChains": False,
        "maxPods": 250,
        "registerNode": True,
        "resolvConf": str(write(home / "resolv.conf", f"nameserver {address}\n")),
        "serializeImagePulls": False,
        "tlsCertFile": str(server.certificate),
        "tlsPrivateKeyFile": str(server.key),
        "volumePluginDir": str(home / "volume-plugins"),
    }


def kube_proxy(kubeconfig_file: Path, address: str) -> dict[str, Any]:
    """Return a configuration with nftables that does not change the machine's limits of connection tracking."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": PODS,
        "clientConnection": {"kubeconfig": str(kubeconfig_file)},
        "healthzBindAddress": f"{address}:{PROXY_HEALTH_PORT}",
        "metricsBindAddress": "127.0.0.1:10249",
        "nftables": {"syncPeriod": "30s", "minSyncPeriod": "100ms"},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def containerd(layout: Layout, plugins: Path, *, kubernetes: bool = True) -> str:
    """Return the TOML of containerd.

    Args:
        layout: of the node.
        plugins: folder of the container network plugins.
        kubernetes: False leaves out the plugin for the kubelet, and so its records of containers.
    """
    lines = [
        "version = 2",
        f'root = "{layout.images}"',
        'state = "/run/containerd"',
        "[grpc]",
        f'address = "{layout.socket}"',
    ]
    if not kubernetes:
        return "\n".join(['disabled_plugins = ["io.containerd.grpc.v1.cri"]', *lines]) + "\n"
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    lines += [
        f"[{cri}]",
        f'sandbox_image = "{SANDBOX_IMAGE}"',
        # Root in a container or a small virtual machine can lack the right to lower a process's OOM score.
        "restrict_oom_score_adj = true",
        f"[{cri}.cni]",
        f'bin_dir = "{plugins}"',
        f'conf_dir = "{layout.home / "cni"}"',
        f"[{cri}.containerd.runtimes.runc]",
        'runtime_type = "io.containerd.runc.v2"',
        f"[{cri}.containerd.runtimes.runc.options]",
        "SystemdCgroup = false",
    ]
    return "\n".join(lines) + "\n"


def pod_network(layout: Layout) -> dict[str, Any]:
    """Return a network with a link for each pod. All traffic is routed, so Services work between all pods."""
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(layout.home / "addresses"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def corefile(address: str, kubeconfig_file: Path) -> str:
    """Return DNS for the cluster's names, uncached, as kubeadm configures it. Other names are refused immediately."""
    return f"""\
.:53 {{
  bind {address}
  ready {address}:{DNS_HEALTH_PORT}
  errors
  kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
    kubeconfig {kubeconfig_file}
    pods insecure
    ttl 5
  }}
}}
"""
