"""The API of the tool for test fixtures, benchmarks and scripts.

>>> cluster = ensure_up()
>>> images = ensure_images(cluster)
>>> subprocess.run([tool("kubectl"), "--kubeconfig", cluster.kubeconfig, "get", "nodes"])

Of these functions, only `take_down` stops a cluster.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.cluster import binaries
from tools.cluster.errors import ToolError
from tools.cluster.images import build, layout
from tools.cluster.images.spec import INSTALLED
from tools.cluster.onenode.cluster import OneNode
from tools.cluster.onenode.layout import DEFAULT_NAME
from tools.cluster.progress import step
from tools.cluster.providers.base import Image, Provider
from tools.cluster.providers.choose import choose

__all__ = [
    "Cluster",
    "ToolError",
    "build_images",
    "enforce_policies",
    "ensure_images",
    "ensure_up",
    "load",
    "take_down",
    "tool",
]


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs.

    Attributes:
        kubeconfig: its current context is the cluster, as an administrator.
        audit_log: the API server's audit log (one JSON object a line, level Metadata), if it can be read.
    """

    provider: Provider
    kubeconfig: Path
    audit_log: Path | None


def ensure_up(
    name: str = DEFAULT_NAME, *, provider: str = "", kubeconfig: Path | None = None, context: str = ""
) -> Cluster:
    """Return the cluster, started if it does not run. For parameters see `tools.cluster.providers.choose.choose`.

    Raises:
        ToolError: no provider fits this machine, or the cluster does not start.
    """
    chosen = choose(name, provider=provider, kubeconfig=kubeconfig, context=context)
    chosen.up()
    return Cluster(chosen, chosen.kubeconfig(), chosen.status().audit_log)


def take_down(cluster: Cluster, *, purge: bool = False) -> None:
    """Remove what `ensure_up` started. A cluster given by a kubeconfig is not changed."""
    cluster.provider.down(purge=purge)


def enforce_policies(provider: Provider, enforced: bool) -> None:
    """Start or stop the enforcement of NetworkPolicies in a one-node cluster.

    In another cluster, the network plugin determines whether they are enforced, and this function does nothing.

    Raises:
        ToolError: the cluster does not run, or the enforcer does not start.
    """
    if isinstance(provider, OneNode):
        provider.enforce_policies(enforced)


def build_images(names: Iterable[str] = INSTALLED) -> dict[str, Image]:
    """Build images from the files as they are now, and return them by name (``operator``, ``runtime``, ...)."""
    return build.build(names)


def ensure_images(cluster: Cluster, names: Iterable[str] = INSTALLED) -> dict[str, str]:
    """Build images and load them into the cluster. Return their full references by name."""
    images = build_images(names)
    return dict(zip(images, load(cluster.provider, images.values()), strict=True))


def load(provider: Provider, images: Iterable[Image]) -> list[str]:
    """Load images into a provider's cluster unless they are there. Return the names by which its pods can use them."""
    present = provider.images() or set()
    references = []
    for image in images:
        if image.ref in present:
            references.append(image.ref)
        else:
            with step(f"loading {image.ref}"):
                references.append(provider.load(image))
    return references


def find_image(text: str) -> list[Image]:
    """Return the images of a command-line argument: those of an archive, or one that was built here, by its reference.

    Raises:
        ToolError: the argument is neither.
    """
    path = Path(text)
    if path.is_file():
        return [Image(ref, path) for ref in layout.references(path)] or [Image(str(path), path)]
    image = build.find(text)
    if image is None:
        raise ToolError(f"{text} is neither an archive file nor an image that was built here.")
    return [image]


def tool(name: str) -> Path:
    """Return the path of ``kubectl`` or ``helm``: the one on PATH if it fits, else the project's build."""
    return binaries.path_of(name)
