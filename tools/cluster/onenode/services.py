"""The programs of the node: the command line of each, with the certificates and files that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tools.cluster import debian, gotools
from tools.cluster.onenode import files
from tools.cluster.onenode.layout import API_PORT, DOMAIN, SERVICES, SERVICES_FIRST, Layout
from tools.cluster.onenode.network import Link
from tools.cluster.onenode.pki import Authority, Pair
from tools.cluster.onenode.rest import Api

ETCD = "http://127.0.0.1:2379"
#: Started first: nothing else can work without them.
STORE = ("etcd", "containerd", "kube-apiserver")
REST = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns")


@dataclass(frozen=True)
class Services:
    """The command lines of one node's programs, by name."""

    commands: dict[str, list[str | Path]]
    api: Api


def prepare(layout: Layout, link: Link) -> Services:
    """Write certificates and configuration for a node at ``link``, and return the command lines."""
    home, server = layout.home, f"https://{link.node}:{API_PORT}"
    authority = Authority(home / "pki")
    admin = authority.issue("admin", "admin", "system:masters")

    def kubeconfig(name: str, client: Pair) -> Path:
        content = files.kubeconfig(server, layout.name, authority.pair, client)
        return files.write(home / "kubeconfigs" / name, content, 0o600)

    files.write(layout.kubeconfig, files.kubeconfig(server, layout.name, authority.pair, admin), 0o600)
    manager = kubeconfig("kube-controller-manager", authority.issue("manager", "system:kube-controller-manager"))
    scheduler = kubeconfig("kube-scheduler", authority.issue("scheduler", "system:kube-scheduler"))
    node = kubeconfig("kubelet", authority.issue("node", f"system:node:{layout.name}", "system:nodes"))
    proxy = kubeconfig("kube-proxy", authority.issue("proxy", "system:kube-proxy"))
    dns = kubeconfig("coredns", authority.issue("coredns", "system:coredns"))
    tokens = authority.signing_key("service-accounts")
    kubelet_server = authority.issue("kubelet", f"system:node:{layout.name}", "system:nodes", [link.node, layout.name])

    kubernetes = gotools.built("kubernetes")
    manager_command: list[str | Path] = [
        kubernetes / "kube-controller-manager",
        *(f"--{flag}={manager}" for flag in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")),
        f"--service-account-private-key-file={tokens.key}",
        f"--root-ca-file={authority.pair.certificate}",
        f"--cluster-signing-cert-file={authority.pair.certificate}",
        f"--cluster-signing-key-file={authority.pair.key}",
        f"--flex-volume-plugin-dir={home / 'volume-plugins'}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]
    scheduler_command: list[str | Path] = [
        kubernetes / "kube-scheduler",
        *(f"--{flag}={scheduler}" for flag in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")),
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]
    kubelet_files = files.kubelet(layout, link.node, authority.pair, kubelet_server)
    proxy_files = files.kube_proxy(proxy, link.node)
    files.write(home / "cni" / "10-pods.conflist", files.pod_network(layout))
    containerd_file = files.write(home / "containerd.toml", files.containerd(layout, debian.cni_folder()))
    commands: dict[str, list[str | Path]] = {
        "etcd": _etcd(home),
        "containerd": ["containerd", "--config", containerd_file],
        "kube-apiserver": _apiserver(layout, link, authority, tokens, kubernetes),
        "kube-controller-manager": manager_command,
        "kube-scheduler": scheduler_command,
        "kubelet": [
            kubernetes / "kubelet",
            f"--config={files.write(home / 'kubelet.json', kubelet_files)}",
            f"--kubeconfig={node}",
            f"--hostname-override={layout.name}",
            f"--node-ip={link.node}",
        ],
        "kube-proxy": [
            kubernetes / "kube-proxy",
            f"--config={files.write(home / 'kube-proxy.json', proxy_files)}",
            f"--hostname-override={layout.name}",
        ],
        "coredns": [
            gotools.program("coredns"),
            "-conf",
            files.write(home / "Corefile", files.corefile(link.node, dns)),
        ],
    }
    return Services(commands, Api(server, authority.pair, admin))


def _etcd(home: Path) -> list[str | Path]:
    return [
        gotools.program("etcd"),
        f"--data-dir={home / 'etcd'}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--log-level=warn",
        "--unsafe-no-fsync",  # `down` deletes the data, so that a crash of the machine loses nothing
    ]


def _apiserver(layout: Layout, link: Link, authority: Authority, tokens: Pair, kubernetes: Path) -> list[str | Path]:
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}"]
    hosts = [link.node, "127.0.0.1", SERVICES_FIRST, "localhost", *names]
    server = authority.issue("apiserver", "kube-apiserver", hosts=hosts)
    client = authority.issue("apiserver-kubelet", "kube-apiserver-kubelet-client", "system:masters")
    policy = files.write(layout.home / "audit-policy.json", files.audit_policy())
    return [
        kubernetes / "kube-apiserver",
        f"--etcd-servers={ETCD}",
        f"--advertise-address={link.node}",
        f"--secure-port={API_PORT}",
        f"--tls-cert-file={server.certificate}",
        f"--tls-private-key-file={server.key}",
        f"--client-ca-file={authority.pair.certificate}",
        f"--service-account-key-file={tokens.certificate}",
        f"--service-account-signing-key-file={tokens.key}",
        f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
        f"--service-cluster-ip-range={SERVICES}",
        f"--kubelet-certificate-authority={authority.pair.certificate}",
        f"--kubelet-client-certificate={client.certificate}",
        f"--kubelet-client-key={client.key}",
        "--kubelet-preferred-address-types=InternalIP",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={layout.audit_log}",
        "--audit-log-maxsize=2000",  # megabytes: one file for the life of a cluster
    ]


DNS_ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "system:coredns"},
    "rules": [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ],
}
DNS_BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "system:coredns"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
}


def grant(api: Api) -> None:
    """Grant rights to the programs for which Kubernetes has no built-in role."""
    base = "/apis/rbac.authorization.k8s.io/v1"
    api.create(f"{base}/clusterroles", DNS_ROLE)
    api.create(f"{base}/clusterrolebindings", DNS_BINDING)


def reopen(layout: Layout, link: Link) -> Api:
    """Return the API of a node that an earlier run started, with the certificates of that run."""
    pki = layout.home / "pki"
    return Api(
        f"https://{link.node}:{API_PORT}",
        Pair(pki / "ca.crt", pki / "ca.key"),
        Pair(pki / "admin.crt", pki / "admin.key"),
    )
