"""Build the images of an installation and push them to its registry: ``python -m tools.images --registry HOST/PATH``.

It prints the images' names, a line each, and writes two files: ``images.txt`` with these names, and ``images.yaml``
with the values of the chart that name the images.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tools import versions
from tools.cluster import api
from tools.cluster.errors import ToolError
from tools.cluster.images.push import name_in, push, save
from tools.cluster.progress import say, step

#: Place of each image in the chart's values: its keys, and the key of the image's name.
_VALUES = {
    "operator": (("image",), "repository"),
    "runtime": (("runtimeImage",), "repository"),
    "dask-operator": (("dask-kubernetes-operator", "image"), "name"),
    "kuberay": (("kuberay-operator", "image"), "repository"),
}


def values(references: Mapping[str, str], pull_secret: str = "") -> dict[str, Any]:
    """Return the chart's values that name images.

    Args:
        references: Full references of the images by name: ``operator``, ``runtime``, ``dask-operator``, ``kuberay``.
        pull_secret: Name of the Secret with which pods pull them; it must exist in the operator's namespace and in
            those of runs. Default: none.
    """
    found: dict[str, Any] = {}
    for name, reference in references.items():
        keys, repository = _VALUES[name]
        place = found
        for key in keys:
            place = place.setdefault(key, {})
        place[repository], _, place["tag"] = reference.rpartition(":")
    if pull_secret:
        found["runs"] = {"imagePullSecrets": [pull_secret]}
        for place in (found, found["dask-kubernetes-operator"], found["kuberay-operator"]):
            place["imagePullSecrets"] = [{"name": pull_secret}]
    return found


def values_text(references: Mapping[str, str], pull_secret: str = "") -> str:
    """Return the text of the file with the chart's values. The arguments are those of `values`."""
    return yaml.dump(values(references, pull_secret), Dumper=_Dumper, sort_keys=False)


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes texts with a digit: helm would read a tag such as 12e456789012 as a number."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if any(map(str.isdigit, text)) else None
    ),
)


def publish(folder: Path, registry: str = "", archive: Path | None = None, pull_secret: str = "") -> list[str]:
    """Build the images, push them or write them to an archive, and write the two files.

    Args:
        folder: Folder for the files, created when it is missing.
        registry: ``HOST/PATH``, whose images the names are. Default: the names of a local build.
        archive: File that gets the images in place of the registry.
        pull_secret: As for `values`.

    Returns:
        The images' names.

    Raises:
        ToolError: A build or the registry fails. The message has what to do.
    """
    if registry:
        name_in(registry, "")  # before the builds, which take minutes
    images = api.build_images()
    references = {name: name_in(registry, image.ref) if registry else image.ref for name, image in images.items()}
    if archive is not None:
        with step(f"writing {archive}"):
            save(images.values(), [*references.values()], archive)
    elif registry:
        for name, image in images.items():
            with step(f"pushing {references[name]}"):
                push(image, references[name])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images.txt").write_text("".join(f"{reference}\n" for reference in references.values()))
    (folder / "images.yaml").write_text(f"# Made by `make images`.\n{values_text(references, pull_secret)}")
    return [*references.values()]


def main() -> None:
    """Build and push the images with the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.images", description="Build the images of an installation.")
    parser.add_argument("--registry", default="", metavar="HOST/PATH", help="push them there")
    parser.add_argument("--archive", type=Path, metavar="FILE", help="write them to a file, and push nothing")
    parser.add_argument("--pull-secret", default="", metavar="NAME", help="Secret with which the cluster pulls them")
    parser.add_argument("--directory", type=Path, default=Path("dist"), help="for the two files (default: %(default)s)")
    chosen = parser.parse_args()
    try:
        names = publish(chosen.directory, chosen.registry, chosen.archive, chosen.pull_secret)
    except ToolError as error:
        sys.exit(f"error: {error}")
    print("\n".join(names))
    chart = chosen.directory / f"flowcluster-{versions.release()}.tgz"
    say(f"wrote {chosen.directory / 'images.txt'} and {chosen.directory / 'images.yaml'}. Then `make chart`, and")
    say(
        f"helm upgrade --install flowcluster {chart} --namespace flowcluster-system --create-namespace "
        f"--values {chosen.directory / 'images.yaml'}"
    )


if __name__ == "__main__":
    main()
