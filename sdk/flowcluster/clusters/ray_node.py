"""A node of a Ray cluster, in a process of its own: ``python -m flowcluster.clusters.ray_node ADDRESS OPTION...``.

It is ``ray start``, which asks every two seconds whether the head is there, with a closer look before.
"""

from __future__ import annotations

import sys
import time

from ray.scripts import scripts

#: Seconds between two looks, for one of them, and for all.
_LOOK_SECONDS, _ANSWER_SECONDS, _SECONDS = 0.1, 1.0, 30.0


def main(address: str, options: list[str]) -> None:
    """Join the cluster whose head's GCS is at `address`, and stay; `options` are those of ``ray start``."""
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and not _has_head(address):
        time.sleep(_LOOK_SECONDS)
    scripts.cli(["start", f"--address={address}", *options])


def _has_head(address: str) -> bool:
    """Whether a node can join; also where that cannot be found out, which is for ``ray start`` to explain then."""
    try:
        from ray._raylet import GcsClient  # type: ignore[attr-defined]

        return bool(GcsClient(address=address).get_all_node_info(timeout=_ANSWER_SECONDS))
    except Exception:
        return True


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
