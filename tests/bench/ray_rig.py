"""Clusters with which runs on Ray are compared: the same pods created by hand, and KubeRay's own sample."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes import client

from tests.support.waiting import wait_until
from tests.support.world import Body, FlowRun, World

#: What drivers print as soon as they are connected, followed by the seconds if they measure any.
CONNECTED = "connected"
#: Seconds for which drivers do nothing once they are connected, so that the cluster has settled, before they request
#: the first worker.
SETTLE_SECONDS = 15

FLOWS = Path(__file__).with_name("flows") / "on_ray.py"
#: Parameters of its flows.
PARAMETERS = {"connects": {"message": CONNECTED}, "first": {"settle_seconds": SETTLE_SECONDS}}
#: The same with only Ray: attempts until the head accepts the connection.
STOCK_DRIVER = f"""
import sys, time
import ray
while True:
    try:
        ray.init("ray://" + sys.argv[1] + ":10001")
        break
    except Exception as error:
        print(error, flush=True)
        time.sleep(0.5)
if sys.argv[2] == "first":
    time.sleep({SETTLE_SECONDS})
    submitted = time.time()
    print("{CONNECTED}", ray.get(ray.remote(lambda: time.time()).remote()) - submitted, flush=True)
else:
    print("{CONNECTED}", flush=True)
time.sleep(600)
"""
_RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_POD_SECURITY = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_COMPONENTS = ("head", "worker", "driver")


def run(name: str, entrypoint: str, source: Body, minimum: int, maximum: int) -> Body:
    """Return the FlowRun of one of `FLOWS`."""
    flow = {"entrypoint": f"{FLOWS.name}:{entrypoint}", "source": source, "parameters": PARAMETERS[entrypoint]}
    workers = {"minimum": minimum, "maximum": maximum}
    return FlowRun(name, flow, None, {"cluster": {"kind": "Ray", "workers": workers}}).body()


def until_usable(world: World, worker: Callable[[], list[Any]], driver: Callable[[], list[Any]]) -> float:
    """Wait until a worker is Ready and the driver is connected, and return the time."""
    wait_until(lambda: any(map(is_ready, worker())) and printed(world, driver()), "it can be used", 180, every=0.05)
    return time.time()


def is_ready(pod: Any) -> bool:
    """Return whether a pod is Ready."""
    return any(item.type == "Ready" and item.status == "True" for item in pod.status.conditions or [])


def printed(world: World, drivers: list[Any]) -> str:
    """Return what the driver printed when it was connected, or an empty text. Fail with its log if it ended."""
    for pod in drivers:
        if pod.status.phase != "Pending":
            log = str(world.core.read_namespaced_pod_log(pod.metadata.name, world.namespace))
            assert pod.status.phase == "Running", f"the driver ended:\n{log}"
            return next((line for line in log.splitlines() if line.startswith(CONNECTED)), "")
    return ""


class ByHand:
    """The pods, the Service and the Secret of a live run, to be created again without any operator."""

    def __init__(self, world: World) -> None:
        self._world = world
        (cluster,) = world.ray_clusters()
        self._service = f"{cluster['metadata']['name']}-head-svc"
        keys = world.core.read_namespaced_secret(cluster["spec"]["authOptions"]["secretName"], world.namespace)
        self._secret = client.V1Secret(
            metadata=client.V1ObjectMeta(name=keys.metadata.name), data=keys.data, type=keys.type
        )
        self._pods = [self._plain(component) for component in _COMPONENTS]

    def _plain(self, component: str) -> client.V1Pod:
        (pod,) = self._world.pods(component)
        spec = pod.spec
        spec.node_name = spec.service_account_name = spec.service_account = None
        spec.init_containers = None  # of KubeRay: the containers retry by themselves until the head runs
        spec.automount_service_account_token = False
        tokens = {volume.name for volume in spec.volumes if volume.projected}
        spec.volumes = [volume for volume in spec.volumes if volume.name not in tokens]
        for container in spec.containers:
            container.volume_mounts = [mount for mount in container.volume_mounts or [] if mount.name not in tokens]
        return client.V1Pod(
            metadata=client.V1ObjectMeta(name=f"bare-{component}", labels={"bare": component}), spec=spec
        )

    def seconds(self) -> float:
        """Return the seconds from the creation until it can be used, and delete it."""
        world, namespace = self._world, self._world.namespace
        began = time.time()
        world.core.create_namespaced_secret(namespace, self._secret)
        service = client.V1ServiceSpec(
            cluster_ip="None",
            publish_not_ready_addresses=True,
            selector={"bare": "head"},
            ports=[client.V1ServicePort(name="gcs", port=6379)],
        )
        world.core.create_namespaced_service(
            namespace, client.V1Service(metadata=client.V1ObjectMeta(name=self._service), spec=service)
        )
        for pod in self._pods:
            world.core.create_namespaced_pod(namespace, pod)
        took = until_usable(world, lambda: self._there("worker"), lambda: self._there("driver")) - began
        world.core.delete_namespaced_service(self._service, namespace)
        world.core.delete_namespaced_secret(self._secret.metadata.name, namespace)
        end_pods(world)
        return took

    def _there(self, component: str) -> list[Any]:
        return list(
            self._world.core.list_namespaced_pod(self._world.namespace, label_selector=f"bare={component}").items
        )


class Stock:
    """KubeRay's sample RayCluster with our image, and a driver in a pod that connects through ``ray://``."""

    def __init__(self, world: World, image: str) -> None:
        self._world, self._image = world, image
        self._custom = client.CustomObjectsApi(world.api)

    def ready(self) -> float:
        """Return the seconds until a driver is connected and one worker is Ready."""
        began = time.time()
        self._create("connects", {}, 1)
        took = until_usable(self._world, self._workers, self._driver) - began
        self._end()
        return took

    def first_task(self) -> float:
        """Return the seconds that the first task waits when the autoscaler keeps no worker."""
        self._create("first", {"enableInTreeAutoscaling": True}, 0)
        line = wait_until(lambda: printed(self._world, self._driver()), "the first task has run", 180)
        self._end()
        return float(line.split()[1])

    def _create(self, what: str, more: Body, workers: int) -> None:
        self._custom.create_namespaced_custom_object(
            "ray.io", "v1", self._world.namespace, "rayclusters", self._cluster(more, workers)
        )
        program = ["python3", "-c", STOCK_DRIVER, "stock-head-svc", what]
        container = {"name": "driver", "image": self._image, "command": program, "securityContext": _RESTRICTED}
        spec = {"containers": [container], "securityContext": _POD_SECURITY, "restartPolicy": "Never"}
        body = {"metadata": {"name": "driver", "labels": {"stock": "driver"}}, "spec": spec}
        self._world.core.create_namespaced_pod(self._world.namespace, body)

    def _cluster(self, more: Body, workers: int) -> Body:
        def part(name: str, memory: str) -> Body:
            amounts = {"cpu": "1", "memory": memory}
            resources = {"requests": {**amounts, "cpu": "100m"}, "limits": amounts}
            container = {"name": name, "image": self._image, "resources": resources, "securityContext": _RESTRICTED}
            return {"spec": {"containers": [container], "securityContext": _POD_SECURITY}}

        options = {"autoscalerOptions": {"securityContext": _RESTRICTED}} if more else {}
        head = {"rayStartParams": {"num-cpus": "0"}, "template": part("ray-head", "2Gi")}
        # As KubeRay injects it, unless its administrator turned that off.
        waits = {
            "name": "wait-gcs-ready",
            "image": self._image,
            "command": ["/bin/bash", "-c", "until ray health-check --address $FQ_RAY_IP:6379; do sleep 5; done"],
            "resources": {"limits": {"cpu": "200m", "memory": "256Mi"}},
            "securityContext": _RESTRICTED,
        }
        worker = part("ray-worker", "1Gi")
        worker["spec"]["initContainers"] = [waits]
        group = {
            "groupName": "workers", "replicas": workers, "minReplicas": workers, "maxReplicas": 2,
            "rayStartParams": {}, "template": worker,
        }  # fmt: skip
        return {
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "metadata": {"name": "stock"},
            "spec": {"rayVersion": "2.54.0", **more, **options, "headGroupSpec": head, "workerGroupSpecs": [group]},
        }

    def _workers(self) -> list[Any]:
        return self._labelled("ray.io/node-type=worker")

    def _driver(self) -> list[Any]:
        return self._labelled("stock=driver")

    def _labelled(self, selector: str) -> list[Any]:
        return list(self._world.core.list_namespaced_pod(self._world.namespace, label_selector=selector).items)

    def _end(self) -> None:
        self._custom.delete_namespaced_custom_object(
            "ray.io", "v1", self._world.namespace, "rayclusters", "stock", grace_period_seconds=0
        )
        end_pods(self._world)


def end_pods(world: World) -> None:
    """Delete all pods without a grace period, and wait until nothing is left."""

    def none_left() -> bool:
        for pod in world.pods():
            try:
                world.core.delete_namespaced_pod(pod.metadata.name, world.namespace, grace_period_seconds=0)
            except client.ApiException as error:
                if error.status != 404:
                    raise
        return not world.everything()

    wait_until(none_left, "all of it is gone", 120)
