"""Failures of clusters from Python, in large numbers: ``python -m tests.bench.soak [--quick] [--only NAMES]``.

Each trial breaks something on purpose and counts the results: what the API server lists and what tasks return. The
full size takes about an hour. A Kubernetes is brought up and the chart installed. The soak has a namespace of its own.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable

from tests.bench import soak_ray as on_ray
from tests.bench import soak_trials as trials
from tests.bench.common import expect_other_patch_release
from tests.bench.soak_rig import Rig
from tests.support.world import World
from tools.install import SYSTEM, install

#: Each trial with its full size, and the size for ``--quick``.
TRIALS: dict[str, tuple[Callable[[Rig, int], Counter[str]], int, int]] = {
    "killed": (trials.killed, 50, 4),
    "stopped": (trials.stopped, 20, 4),
    "square_wave": (trials.square_wave, 30, 2),
    "workers_killed": (trials.workers_killed, 300, 30),
    "operators_away": (trials.operators_away, 3, 1),
    "too_many": (trials.too_many, 3, 1),
    "api_server_restarted": (trials.api_server_restarted, 5, 1),
    "ray_killed": (on_ray.killed, 50, 2),
    "ray_stopped": (on_ray.stopped, 20, 2),
    "ray_workers_killed": (on_ray.workers_killed, 180, 40),
    "ray_operators_away": (on_ray.operators_away, 3, 1),
}


def main() -> int:
    """Run the trials and print their counts. Return 1 if something was lost or left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few minutes: shows that the script works")
    parser.add_argument("--only", default=",".join(TRIALS), help=f"some of {','.join(TRIALS)}")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    chosen = parser.parse_args()
    expect_other_patch_release()
    installed = install()
    world = World(installed.kubeconfig, f"soak-{secrets.token_hex(3)}")
    rig = Rig(installed, world, World(installed.kubeconfig, SYSTEM), random.Random(chosen.seed))
    world.create_namespace()
    failed = 0
    try:
        print(f"seed {chosen.seed}", flush=True)
        for name in chosen.only.split(","):
            trial, full, quick = TRIALS[name]
            began = time.monotonic()
            try:
                counts = trial(rig, quick if chosen.quick else full)
            except AssertionError as error:
                counts = Counter({f"FAILED: {error}": 1})
            failed += any(key.startswith(("LOST", "FAILED")) for key in counts)
            shown = ", ".join(f"{key} {count}" for key, count in counts.items())
            print(f"{name:20} {time.monotonic() - began:5.0f} s  {shown}", flush=True)
    finally:
        world.delete_namespace()
        world.close()
        rig.system.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
