"""A stand-in for the public Python image, from Debian packages, for machines that reach no image registry."""

from __future__ import annotations

from pathlib import Path

from tools.cluster import cache, debian
from tools.cluster.images.python import debian_suite
from tools.cluster.progress import step
from tools.cluster.shell import run

PACKAGES = ("python3", "python3-venv", "ca-certificates", "netbase", "tzdata")
UNNEEDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
CONTAINERFILE = """\
FROM scratch
ADD base.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
CMD ["python3"]
"""


def archive() -> Path:
    """Return a tar file of the file system. The Containerfile beside it makes it an image."""
    suite = debian_suite()
    debian.ensure({"mmdebstrap": "mmdebstrap"}, "a stand-in for the public Python image")
    command: list[str | Path] = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in UNNEEDED),
        '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*',
        suite,
    ]

    def make(folder: Path) -> None:
        with step(f"installing Debian {suite} with Python into an archive (only the first time; half a minute)"):
            run([*command, folder / "base.tar"], hint="A Debian mirror must be reachable.")
        (folder / "Containerfile").write_text(CONTAINERFILE)

    key = cache.digest([*map(str, command), CONTAINERFILE])[:16]
    return cache.entry("base", key, make, "making the base image") / "base.tar"
