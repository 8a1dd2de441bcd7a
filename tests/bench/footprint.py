"""The operator's cost, memory when idle and image size above the base: ``python -m tests.bench.footprint``."""

from __future__ import annotations

from kubernetes.stream import stream

from tests.support.world import World
from tools.install import SYSTEM, install


def main() -> None:
    """Measure and print."""
    world = World(install().kubeconfig, SYSTEM)
    (pod,) = [item for item in world.pods() if (item.metadata.labels or {}).get(_NAME) == "flowcluster-operator"]

    def inside(*command: str) -> str:
        return str(
            stream(
                world.core.connect_get_namespaced_pod_exec,
                pod.metadata.name,
                SYSTEM,
                command=list(command),
                stdout=True,
                stderr=True,
            )
        )

    resident = next(
        line.split()[1] for line in inside("cat", "/proc/1/status").splitlines() if line.startswith("VmRSS")
    )
    size = inside("du", "-sk", "/opt/venv").split()[0]
    print(f"operator, idle                                  {int(resident) / 1024:7.1f} MiB resident  (bound 120 MB)")
    print(f"operator image above its base                   {int(size) / 1024:7.1f} MiB           (bound 250 MB)")
    world.close()


_NAME = "app.kubernetes.io/name"

if __name__ == "__main__":
    main()
