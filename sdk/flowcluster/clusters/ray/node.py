"""A node of a Ray cluster, in a process of its own: ``python -m flowcluster.clusters.ray.node ADDRESS OPTION...``.

The process runs ``ray start``, which polls the head every two seconds. Before that, it polls the head ten times a
second.
"""

from __future__ import annotations

import sys
import time

from ray.scripts import scripts

#: Seconds between two polls, for one poll, and for all of them.
_LOOK_SECONDS, _ANSWER_SECONDS, _SECONDS = 0.1, 1.0, 30.0


def main(address: str, options: list[str]) -> None:
    """Join a cluster, and run until the node ends.

    Args:
        address: of the head's GCS.
        options: options of ``ray start``.
    """
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and not _has_head(address):
        time.sleep(_LOOK_SECONDS)
    scripts.cli(["start", f"--address={address}", *options])


def _has_head(address: str) -> bool:
    """Return whether a node can join. Return True if that is unknown: ``ray start`` then explains the error."""
    try:
        from ray._raylet import GcsClient  # type: ignore[attr-defined]

        return bool(GcsClient(address=address).get_all_node_info(timeout=_ANSWER_SECONDS))
    except Exception:
        return True


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
