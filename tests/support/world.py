"""The tests' own view of the cluster: the objects on the API server, read with the official client."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from kubernetes import client, config

from flowcluster_api import names
from tests.support.waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "manifests" / "samples"
#: Files with the flows of the end-to-end tests.
FLOWS = ROOT / "tests" / "e2e" / "flows"
#: Seconds from the end of a run until nothing of it must be left.
LEFT_SECONDS = 30
#: ConfigMaps that Kubernetes itself puts into every namespace.
_FOREIGN = {"kube-root-ca.crt"}
Body = dict[str, Any]


class World:
    """One namespace of a cluster."""

    def __init__(self, kubeconfig: pathlib.Path, namespace: str) -> None:
        self.namespace = namespace
        self.api = config.new_client_from_config(str(kubeconfig))
        self.core = client.CoreV1Api(self.api)
        self.apps = client.AppsV1Api(self.api)
        self.batch = client.BatchV1Api(self.api)
        self.rbac = client.RbacAuthorizationV1Api(self.api)
        self.networking = client.NetworkingV1Api(self.api)
        self._authorization = client.AuthorizationV1Api(self.api)
        self._leases = client.CoordinationV1Api(self.api)
        self._custom = client.CustomObjectsApi(self.api)

    def create_namespace(self) -> None:
        """Create the namespace, in which only pods of the `restricted` profile can run."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        metadata = client.V1ObjectMeta(name=self.namespace, labels=labels)
        self.core.create_namespace(client.V1Namespace(metadata=metadata))
        wait_until(
            lambda: self.core.list_namespaced_service_account(self.namespace).items, "the default ServiceAccount exists"
        )

    def delete_namespace(self) -> None:
        """Request the namespace's deletion."""
        self.core.delete_namespace(self.namespace)

    def close(self) -> None:
        """Close the connections."""
        self.api.close()

    def apply_sample(self, name: str, **spec: Any) -> str:
        """Create the objects of a sample file, with fields of the spec replaced. Return the FlowRun's name."""
        documents = list(yaml.safe_load_all((SAMPLES / f"{name}.yaml").read_text()))
        for document in documents:
            if document["kind"] == "ConfigMap":
                self.core.create_namespaced_config_map(self.namespace, document)
            else:
                document["spec"] |= spec
                self.create(document)
        return str(documents[-1]["metadata"]["name"])

    def flow(self, entrypoint: str, **fields: Any) -> Body:
        """Return the `spec.flow` of a FlowRun for a flow of the end-to-end tests.

        Args:
            entrypoint: file in `FLOWS` and flow, such as ``outcomes.py:good``.
            fields: other fields of `spec.flow`, such as `parameters`.
        """
        file, _, _ = entrypoint.partition(":")
        return {"entrypoint": entrypoint, "source": self.code(FLOWS / file), **fields}

    def code(self, file: pathlib.Path, *beside: pathlib.Path) -> Body:
        """Put files into a ConfigMap, unless it exists, and return the `source` that mounts it."""
        name = file.stem.replace("_", "-")
        data = {one.name: one.read_text() for one in (file, *beside)}
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data=data)
        try:
            self.core.create_namespaced_config_map(self.namespace, body)
        except client.ApiException as error:
            if error.status != 409:
                raise
        return {"configMap": {"name": name}}

    def create(self, body: Body, *, dry_run: bool = False) -> Body:
        """Create a FlowRun. Raises ApiException when the API server refuses it."""
        options = {"dry_run": "All"} if dry_run else {}
        found: Body = self._custom.create_namespaced_custom_object(
            names.GROUP, names.VERSION, self.namespace, names.PLURAL, body, **options
        )
        return found

    def apply(self, document: Body) -> None:
        """Create an object of a manifest. If it is a ServiceAccount that exists, replace its image pull secrets."""
        if document["kind"] == names.KIND:
            self.create(document)
        elif document["kind"] == "ServiceAccount":
            secrets = {"imagePullSecrets": document["imagePullSecrets"]}
            self.core.patch_namespaced_service_account(document["metadata"]["name"], self.namespace, secrets)
        elif document["kind"] == "Secret":
            self.core.create_namespaced_secret(self.namespace, document)
        else:
            self.core.create_namespaced_resource_quota(self.namespace, document)

    def run(self, name: str) -> Body | None:
        """Return a FlowRun, or None."""
        return next((item for item in self.runs() if item["metadata"]["name"] == name), None)

    def runs(self) -> list[Body]:
        """Return all FlowRuns of the namespace."""
        return self._list(names.GROUP, names.VERSION, names.PLURAL)

    def patch(self, name: str, spec: Body) -> None:
        """Merge-patch a FlowRun's spec."""
        self._merge(name, {"spec": spec})

    def annotate(self, name: str, word: str) -> None:
        """Put an annotation of that name on a FlowRun."""
        self._merge(name, {"metadata": {"annotations": {word: "true"}}})

    def _merge(self, name: str, patch: Body) -> None:
        self._custom.patch_namespaced_custom_object(
            names.GROUP, names.VERSION, self.namespace, names.PLURAL, name, patch
        )

    def delete(self, name: str) -> None:
        """Delete a FlowRun, as `kubectl delete` does."""
        self._custom.delete_namespaced_custom_object(names.GROUP, names.VERSION, self.namespace, names.PLURAL, name)

    def end(self, name: str, how: str) -> None:
        """End a run by `spec.cancel`, and check that only its record is left, or delete it."""
        if how == "delete":
            self.delete(name)
        else:
            self.patch(name, {"cancel": True})
            self.wait_phase(name, "Cancelled")
            assert self.everything() == []

    def patch_lease(self, name: str, patch: Body) -> None:
        """Merge-patch the Lease of a run."""
        run = self.run(name)
        assert run is not None
        lease = names.child_name(name, run["metadata"]["uid"])
        self._leases.patch_namespaced_lease(lease, self.namespace, patch)

    def holder(self, name: str) -> str | None:
        """Return the holder of a run's Lease, or None without a holder or a Lease."""
        run = self.run(name)
        lease = names.child_name(name, run["metadata"]["uid"]) if run else ""
        found = next(
            (item for item in self._leases.list_namespaced_lease(self.namespace).items if item.metadata.name == lease),
            None,
        )
        return found.spec.holder_identity if found else None

    def may(self, account: str, verb: str, resource: str, name: str = "") -> bool:
        """Return whether a ServiceAccount has this right here. `resource` is as in ``leases.coordination.k8s.io``.

        An account of another namespace is written ``NAMESPACE:NAME``.
        """
        plural, _, group = resource.partition(".")
        attributes = client.V1ResourceAttributes(
            namespace=self.namespace, verb=verb, group=group, resource=plural, name=name
        )
        user = f"system:serviceaccount:{account if ':' in account else f'{self.namespace}:{account}'}"
        spec = client.V1SubjectAccessReviewSpec(user=user, resource_attributes=attributes)
        review = client.V1SubjectAccessReview(spec=spec)
        return bool(self._authorization.create_subject_access_review(review).status.allowed)

    def leases(self) -> list[str]:
        """Return the names of the namespace's Leases."""
        return _names(self._leases.list_namespaced_lease(self.namespace))

    def status(self, name: str) -> Body:
        """Return a FlowRun's status, which is empty before the operator has seen it."""
        return dict((self.run(name) or {}).get("status") or {})

    def wait_phase(self, name: str, *phases: str, seconds: float = 90) -> Body:
        """Wait until the run is in one of `phases`, and return its status."""
        return (
            wait_until(
                lambda: (status := self.status(name)).get("phase") in phases and status,
                f"{name} is {' or '.join(phases)}: {self.status(name).get('phase')} {self.status(name).get('message')}",
                seconds,
            )
            or {}
        )

    def dask_clusters(self) -> list[Body]:
        """Return all DaskClusters of the namespace."""
        return self._list("kubernetes.dask.org", "v1", "daskclusters")

    def ray_clusters(self) -> list[Body]:
        """Return all RayClusters of the namespace."""
        return self._list("ray.io", "v1", "rayclusters")

    def dask_worker_groups(self) -> list[Body]:
        """Return all DaskWorkerGroups of the namespace."""
        return self._list("kubernetes.dask.org", "v1", "daskworkergroups")

    def create_cluster(self, body: Body) -> None:
        """Create a DaskCluster or RayCluster."""
        group, _, version = body["apiVersion"].partition("/")
        plural = f"{body['kind'].lower()}s"
        self._custom.create_namespaced_custom_object(group, version, self.namespace, plural, body)

    def delete_cluster(self, body: Body) -> None:
        """Delete a DaskCluster or RayCluster, and its pods."""
        group, _, version = body["apiVersion"].partition("/")
        plural, name = f"{body['kind'].lower()}s", body["metadata"]["name"]
        self._custom.delete_namespaced_custom_object(group, version, self.namespace, plural, name)

    def create_dask_worker_group(self, body: Body) -> None:
        """Create a DaskWorkerGroup."""
        group = ("kubernetes.dask.org", "v1", self.namespace, "daskworkergroups")
        self._custom.create_namespaced_custom_object(*group, body)

    def delete_dask_worker_group(self, name: str) -> None:
        """Delete a DaskWorkerGroup, and its workers."""
        group = ("kubernetes.dask.org", "v1", self.namespace, "daskworkergroups")
        self._custom.delete_namespaced_custom_object(*group, name)

    def pods(self, component: str = "") -> list[Any]:
        """Return the pods of the namespace, of one component if given."""
        selector = f"{names.LABEL_COMPONENT}={component}" if component else ""
        return list(self.core.list_namespaced_pod(self.namespace, label_selector=selector).items)

    def live_workers(self) -> int:
        """Return the number of the namespace's worker pods that are not being deleted."""
        return sum(pod.metadata.deletion_timestamp is None for pod in self.pods("worker"))

    def everything(self) -> list[str]:
        """Return kind and name of everything in the namespace that a run or a SharedCluster can have left behind."""
        return list(self._left())

    def wait_empty(self, seconds: float) -> None:
        """Wait until runs have left nothing behind. Fail with what is left at the deadline."""
        try:
            # The first object that is found ends a check: a whole check is 15 requests.
            wait_until(lambda: next(self._left(), None) is None, "nothing is left", seconds)
        except AssertionError as error:
            raise AssertionError(f"after {seconds:g} s there is still {self.everything()}") from error

    def _left(self) -> Iterator[str]:
        """Yield kind and name of each object, kind by kind, with those first that usually stay longest."""
        ns = self.namespace
        ours = {"label_selector": f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"}
        listings: dict[str, Callable[[], list[str]]] = {
            "Pod": lambda: _names(self.core.list_namespaced_pod(ns)),
            "DaskCluster": lambda: self._names_of(self.dask_clusters()),
            "RayCluster": lambda: self._names_of(self.ray_clusters()),
            "Job": lambda: _names(self.batch.list_namespaced_job(ns)),
            "Lease": self.leases,
            "DaskWorkerGroup": lambda: self._names_of(self.dask_worker_groups()),
            "DaskAutoscaler": lambda: self._names_of(self._list("kubernetes.dask.org", "v1", "daskautoscalers")),
            "Deployment": lambda: _names(self.apps.list_namespaced_deployment(ns)),
            "ReplicaSet": lambda: _names(self.apps.list_namespaced_replica_set(ns)),
            "Service": lambda: _names(self.core.list_namespaced_service(ns)),
            "Secret": lambda: _names(self.core.list_namespaced_secret(ns)),
            "Role": lambda: _names(self.rbac.list_namespaced_role(ns, **ours)),
            "RoleBinding": lambda: _names(self.rbac.list_namespaced_role_binding(ns, **ours)),
            "NetworkPolicy": lambda: _names(self.networking.list_namespaced_network_policy(ns, **ours)),
            "ServiceAccount": lambda: _names(self.core.list_namespaced_service_account(ns, **ours)),
            "ConfigMap": lambda: [
                item.metadata.name
                for item in self.core.list_namespaced_config_map(ns).items
                if item.metadata.name not in _FOREIGN and item.metadata.owner_references
            ],
        }
        for kind, listing in listings.items():
            yield from (f"{kind} {name}" for name in listing())

    def _list(self, group: str, version: str, plural: str) -> list[Body]:
        return list(self._custom.list_namespaced_custom_object(group, version, self.namespace, plural)["items"])

    @staticmethod
    def _names_of(items: list[Body]) -> list[str]:
        return [item["metadata"]["name"] for item in items]


@contextmanager
def own_world(kubeconfig: pathlib.Path, user: str) -> Iterator[World]:
    """Create a namespace whose name begins with `user`, for the block. At its end it must contain only records."""
    name = re.sub(r"[^a-z0-9]+", "-", user.lower())[:40].strip("-")
    here = World(kubeconfig, f"{name}-{secrets.token_hex(3)}")
    here.create_namespace()
    try:
        yield here
        here.wait_empty(LEFT_SECONDS)
    finally:
        here.delete_namespace()
        here.close()


def _names(listed: Any) -> list[str]:
    return [item.metadata.name for item in listed.items]


def scale(system: World, deployment: str, replicas: int) -> None:
    """Scale a Deployment and wait until its pods agree."""
    system.apps.patch_namespaced_deployment_scale(deployment, system.namespace, {"spec": {"replicas": replicas}})
    selector = system.apps.read_namespaced_deployment(deployment, system.namespace).spec.selector.match_labels
    labels = ",".join(f"{name}={value}" for name, value in selector.items())

    def agreed() -> bool:
        ready = system.apps.read_namespaced_deployment(deployment, system.namespace).status.ready_replicas or 0
        pods = system.core.list_namespaced_pod(system.namespace, label_selector=labels).items
        return ready == replicas == len(pods)

    wait_until(agreed, f"{deployment} has {replicas} pods", 60)


@dataclasses.dataclass(frozen=True)
class FlowRun:
    """A FlowRun manifest, with the usual case as its default."""

    name: str = "run"
    flow: Body | None = None
    workers: int | None = 1
    more: Body = dataclasses.field(default_factory=dict)

    def body(self) -> Body:
        """Return the manifest."""
        spec: Body = dict(self.more)
        if self.flow is not None:
            spec["flow"] = self.flow
        if self.workers is not None:
            spec.setdefault("cluster", {"kind": "Dask", "workers": {"minimum": self.workers, "maximum": self.workers}})
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": self.name},
            "spec": spec,
        }
