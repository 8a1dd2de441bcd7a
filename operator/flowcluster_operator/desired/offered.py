"""What a Ray cluster's workers offer to tasks, for `ray start` and for whoever submits tasks to them."""

from __future__ import annotations

import json

from flowcluster_api import offers
from flowcluster_api.v1alpha1 import Workers


def offered(workers: Workers | None) -> str:
    """The value of the environment variable `offers.ENV`."""
    return json.dumps(offers.offers((workers or Workers()).model_dump(by_alias=True)))


def start_options(workers: Workers) -> dict[str, str]:
    """The same as options of ``ray start``; GPUs in limits KubeRay sees by itself."""
    amounts = {name: int(amount) for name, amount in workers.task_resources.items()}
    params = {"num-cpus": str(workers.threads)}
    if "GPU" in amounts:
        params["num-gpus"] = str(amounts.pop("GPU"))
    if amounts:
        # KubeRay hands it to a shell; the autoscaler takes the quotes off again, and ends at a number with a fraction.
        text = json.dumps(amounts).replace('"', '\\"')
        params["resources"] = f'"{text}"'
    return params
