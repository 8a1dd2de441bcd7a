"""What a Ray cluster's workers offer to tasks, for `ray start` and for whoever submits tasks to them."""

from __future__ import annotations

import json

from flowcluster_api import offers
from flowcluster_api.v1alpha1 import Workers
from flowcluster_operator.errors import SpecError


def offered(workers: Workers | None) -> str:
    """The value of the environment variable `offers.ENV`."""
    return json.dumps(offers.offers((workers or Workers()).model_dump(by_alias=True)))


def check_names(workers: Workers, forbidden: str) -> None:
    """Raise SpecError when a resource of tasks has one of these characters in its name."""
    for name in workers.task_resources:
        if found := [character for character in name if character in forbidden]:
            raise SpecError(f"spec.cluster.workers.taskResources: the name {name!r} must not have {found[0]!r} in it")


def start_options(workers: Workers) -> dict[str, str]:
    """The same as options of ``ray start``; GPUs in limits KubeRay sees by itself.

    Raises SpecError for a name that a shell, which KubeRay starts, would change.
    """
    check_names(workers, '$`"\\\n')
    amounts = {name: int(amount) for name, amount in workers.task_resources.items()}
    params = {"num-cpus": str(workers.threads)}
    if "GPU" in amounts:
        params["num-gpus"] = str(amounts.pop("GPU"))
    if amounts:
        # KubeRay hands it to a shell; the autoscaler takes the quotes off again, and ends at a number with a fraction.
        text = json.dumps(amounts).replace('"', '\\"')
        params["resources"] = f'"{text}"'
    return params
