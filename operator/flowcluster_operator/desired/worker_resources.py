"""The resources that workers offer to tasks (`taskResources`): their names, and as options of `ray start`."""

from __future__ import annotations

import json

from flowcluster_api.v1alpha1 import Workers
from flowcluster_operator.errors import SpecError


def check_names(workers: Workers, forbidden: str) -> None:
    """Check the names of task resources.

    Args:
        workers: whose resources are checked.
        forbidden: the characters that no name can have.

    Raises:
        SpecError: a name has one of these characters.
    """
    for name in workers.task_resources:
        if found := [character for character in name if character in forbidden]:
            raise SpecError(f"spec.cluster.workers.taskResources: the name {name!r} must not have {found[0]!r} in it")


def start_options(workers: Workers) -> dict[str, str]:
    """Return the resources as options of ``ray start``. KubeRay adds the GPUs in limits by itself.

    Raises:
        SpecError: the shell that KubeRay starts would change a name.
    """
    check_names(workers, '$`"\\\n')
    amounts = {name: int(amount) for name, amount in workers.task_resources.items()}
    params = {"num-cpus": str(workers.threads)}
    if "GPU" in amounts:
        params["num-gpus"] = str(amounts.pop("GPU"))
    if amounts:
        # KubeRay passes the value to a shell, so it is quoted. The autoscaler removes the quotes again, and fails on a
        # number with a fraction.
        text = json.dumps(amounts).replace('"', '\\"')
        params["resources"] = f'"{text}"'
    return params
