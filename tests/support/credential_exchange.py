"""The keeper's part in the handover of credentials, on the fake API server: its mounts and its answers."""

from __future__ import annotations

import base64
from pathlib import Path

from flowcluster.agent.keeper.credentials import CredentialSealer
from flowcluster_api import handover
from flowcluster_api.handover import CredentialAnswer, CredentialRequest
from flowcluster_operator.desired.credentials import credentials_in
from flowcluster_operator.desired.metadata import controller
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import LEASE, SECRET, Object
from tests.support.shared import KEY, NAME, spec
from tests.support.shared_users import job
from tests.support.shared_world import World


class Keeper:
    """Answers requests as the keeper of the cluster does.

    Args:
        world: the world of the cluster.
        folder: an empty folder for what the keeper's pod mounts.
    """

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._folder = world, folder
        self._sealer = CredentialSealer(folder, KEY.uid)

    def mount(self) -> None:
        """Put the credentials into the folder as the kubelet does."""
        for name, content in credentials(self._world).items():
            (self._folder / name).write_bytes(base64.b64decode(content))

    def act(self) -> None:
        """Read the Lease, and write the answers."""
        found = lease(self._world)
        if found is None or not pods_of_keeper(self._world):
            return
        self.mount()
        text = self._sealer.answers(found)
        if text != handover.text_in(found, handover.ANNOTATION_ANSWERS):
            annotate(self._world, {handover.ANNOTATION_ANSWERS: text})

    async def serve(self, rounds: int = 6) -> None:
        """Let operator, controllers and keeper act until nothing changes."""
        for _ in range(rounds):
            await self._world.work()
            before = self._world.api.objects.version
            self.act()
            if self._world.api.objects.version == before:
                return


def granting(kind: str = "Dask", **more: object) -> Object:
    """Return the spec of a SharedCluster that the namespace `tenant` can use."""
    return spec(kind, allowedNamespaces=["tenant"], **more)


def guest(world: World, name: str = "report", **more: object) -> RunId:
    """Apply a FlowRun of the namespace `tenant`, with a flow."""
    return world.use(name, "tenant", ref={"namespace": KEY.namespace}, **more)


async def waiting(world: World) -> RunId:
    """Apply a run whose credentials are requested, on a cluster whose keeper does not answer."""
    world.create(granting())
    await world.work()
    key = guest(world)
    await world.work()
    return key


def pods_of_keeper(world: World) -> list[Object]:
    """Return the pods of the keeper."""
    return world.pods("keeper")


def lease(world: World) -> Object | None:
    """Return the root Lease of the cluster, or None."""
    found = [obj for obj in world.api.objects.all(LEASE) if obj["metadata"]["name"] == NAME]
    return found[0] if found else None


def annotate(world: World, annotations: dict[str, str | None]) -> None:
    """Write annotations of the root Lease."""
    world.api.objects.merge(LEASE, KEY.namespace, NAME, {"metadata": {"annotations": annotations}})


def answer(world: World, *answers: CredentialAnswer) -> None:
    """Write these answers instead of the keeper's."""
    annotate(world, {handover.ANNOTATION_ANSWERS: handover.text_of(answers)})


def requests(world: World) -> tuple[CredentialRequest, ...]:
    """Return the requests in the root Lease."""
    found = lease(world)
    return handover.requests_in(found) if found is not None else ()


def credentials(world: World) -> dict[str, str]:
    """Return the data of the Secret that the pods of the cluster mount."""
    (pod,) = pods_of_keeper(world)
    return _data(world, KEY.namespace, credentials_in(pod["spec"]))


def given(world: World, key: RunId) -> dict[str, str]:
    """Return the data of the Secret that the driver of a run mounts."""
    return _data(world, key.namespace, credentials_in(job(world, key)["spec"]["template"]["spec"]))


def secrets_of(world: World, key: RunId) -> list[Object]:
    """Return the Secrets that the Lease of a run controls."""
    leases = {obj["metadata"]["uid"]: obj for obj in world.api.objects.all(LEASE)}
    found = []
    for obj in world.api.objects.all(SECRET):
        owner = leases.get((controller(obj) or {}).get("uid", ""))
        if owner is not None and (controller(owner) or {}).get("uid") == key.uid:
            found.append(obj)
    return found


def _data(world: World, namespace: str, name: str | None) -> dict[str, str]:
    data: dict[str, str] = world.api.objects.get(SECRET, namespace, name or "")["data"]
    return data
