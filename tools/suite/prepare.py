"""Prepare tests on a Kubernetes: ``python -m tools.suite.prepare``.

It builds programs and images before the tests: a build takes minutes on a new machine, and a test has a time limit.
"""

from __future__ import annotations

import sys

from tools.cluster import api, gotools
from tools.cluster.errors import ToolError
from tools.cluster.images.spec import SPECS
from tools.cluster.onenode.cluster import BUILT
from tools.install import install

#: Modules of the programs that tests start themselves: those of the rig, and of a one-node cluster that enforces
#: NetworkPolicies. Tests also start them on machines where the other tests use another Kubernetes.
_STARTED = (*BUILT, "kuberay", "kwok", "network-policies")


def prepare() -> None:
    """Install the chart on a Kubernetes, and build what only some tests need.

    Raises:
        ToolError: a step failed. The message has what to do.
    """
    install()
    cluster = api.ensure_up()
    if sys.platform == "linux":
        gotools.announce(_STARTED)
        for name in _STARTED:
            gotools.built(name)
    api.ensure_images(cluster, SPECS)


if __name__ == "__main__":
    try:
        prepare()
    except ToolError as error:
        sys.exit(f"error: {error}")
