"""The base image of kind nodes, laid out as kind's own one: Debian with systemd, and a container runtime."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.docker_engine import Engine
from tests.support.kind_node import programs
from tools.cluster import cache, debian, gotools
from tools.cluster.progress import step
from tools.cluster.shell import run

#: kind first tries to pull it. No registry answers at this address.
REF = "localhost:1/kind-base:1"
#: The suite of kind's own base image. Its systemd still starts on control groups of version 1.
SUITE = "bookworm"
#: The packages of kind's own base image, without those for network storage and rootless engines. runc and the network
#: plugins, which kind compiles, are Debian's.
PACKAGES = (
    *("systemd", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "mount", "kmod", "libseccomp2", "pigz"),
    *("bash", "ca-certificates", "jq", "procps", "runc", "containernetworking-plugins"),
)
_UNNEEDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
#: What kind's Dockerfile does after it has installed packages. The hook of each container that it adds hides the
#: machine's identity.
#:
#: kind turns `restrict_oom_score_adj` on for rootless engines only. Here it is always on: without the right
#: CAP_SYS_RESOURCE, which machines of CI can lack, no process can lower the value.
_DOCKERFILE = """\
FROM scratch
ADD root.tar /
COPY files/ /
COPY bin/ /usr/local/bin/
RUN find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete \\
 && cd /lib/systemd/system \\
 && rm -f multi-user.target.wants/* local-fs.target.wants/* basic.target.wants/* /etc/systemd/system/*.wants/* \\
      sockets.target.wants/*udev* sockets.target.wants/*initctl* \\
 && echo ReadKMsg=no >> /etc/systemd/journald.conf \\
 && ln -s "$(command -v systemd)" /sbin/init \\
 && systemctl enable kubelet.service containerd.service undo-mount-hacks.service \\
 && systemctl mask systemd-binfmt.service \\
 && mkdir -p /etc/kubernetes/manifests /opt/cni \\
 && ln -s /usr/lib/cni /opt/cni/bin \\
 && sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml \\
 && ctr oci spec \\
      | jq '.hooks.createContainer += [{"path": "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' \\
      > /etc/containerd/cri-base.json
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
"""


def build(engine: Engine, folder: Path) -> None:
    """Build the base image `REF` in an engine, with a folder for its context, which is created."""
    folder.mkdir()
    shutil.copytree(_files(), folder / "files", copy_function=shutil.copyfile)
    for script in (*(folder / "files/usr/local/bin").iterdir(), *(folder / "files/kind/bin").iterdir()):
        script.chmod(0o755)
    (folder / "bin").mkdir()
    for module in (programs.CONTAINERD, programs.CRICTL):
        for program in module.programs:
            shutil.copy2(programs.program(module, program), folder / "bin")
    (folder / "root.tar").hardlink_to(_root())
    (folder / "Dockerfile").write_text(_DOCKERFILE)
    with step("building the base image of kind nodes"):
        engine.docker("build", "--tag", REF, folder)


def inputs() -> list[str]:
    """Return what identifies the content of the base image."""
    built = [gotools.build(module).name for module in (programs.CONTAINERD, programs.CRICTL, programs.KIND_FILES)]
    return [_DOCKERFILE, _root().parent.name, *built]


def debian_tree(*options: str) -> Path:
    """Return a tar file with Debian packages and their dependencies.

    Args:
        options: of mmdebstrap, with the packages.
    """
    debian.ensure({"mmdebstrap": "mmdebstrap"}, "a node image of kind")
    command = [
        *("mmdebstrap", "--quiet", *options),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _UNNEEDED),
        '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*',
        SUITE,
    ]

    def make(folder: Path) -> None:
        with step(f"installing Debian packages into an archive: {' '.join(options)}"):
            run([*command, folder / "root.tar"], hint="A Debian mirror must be reachable.")

    return (
        cache.entry("base", cache.digest(command)[:16], make, "installing Debian packages into an archive") / "root.tar"
    )


def _root() -> Path:
    return debian_tree("--variant=minbase", f"--include={','.join(PACKAGES)}")


def _files() -> Path:
    return gotools.build(programs.KIND_FILES) / "images/base/files"
