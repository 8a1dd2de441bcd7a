"""The operator's Kubernetes client against an API server: what it sends, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flowcluster_operator.errors import Conflict, NotFound, Refused
from flowcluster_operator.kube import FIELD_MANAGER, USER_AGENT, Kube
from flowcluster_operator.resources import DASK_CLUSTER, EVENT, FLOW_RUN, JOB, POD, RAY_CLUSTER, Object
from tests.support.fake_api import Answer, FakeApi
from tests.support.makers import KEY, run

Login = Callable[[str | None], None]


def thing(name: str = "a", namespace: str = "team", **metadata: Any) -> Object:
    """A small object of any kind."""
    return {"metadata": {"name": name, "namespace": namespace, **metadata}, "spec": {"size": 1, "names": ["x"]}}


class TestReading:
    async def test_get_returns_the_object(self, api: FakeApi, kube: Kube) -> None:
        made = api.objects.create(JOB, "team", thing())

        assert await kube.get(JOB, "team", "a") == made

    async def test_get_raises_not_found_when_there_is_no_such_object(self, kube: Kube) -> None:
        with pytest.raises(NotFound, match='jobs "a" not found'):
            await kube.get(JOB, "team", "a")

    async def test_get_raises_not_found_when_the_kind_is_not_installed(self, api: FakeApi, kube: Kube) -> None:
        api.installed.discard(RAY_CLUSTER)

        with pytest.raises(NotFound, match="could not find the requested resource"):
            await kube.get(RAY_CLUSTER, "team", "a")

    async def test_list_returns_the_objects_of_one_namespace(self, api: FakeApi, kube: Kube) -> None:
        api.objects.create(JOB, "team", thing("a"))
        api.objects.create(JOB, "other", thing("b", "other"))

        assert [item["metadata"]["name"] for item in (await kube.list(JOB, "team"))["items"]] == ["a"]

    async def test_list_returns_the_objects_of_all_namespaces_when_none_is_given(
        self, api: FakeApi, kube: Kube
    ) -> None:
        api.objects.create(JOB, "team", thing("a"))
        api.objects.create(JOB, "other", thing("b", "other"))

        assert [item["metadata"]["name"] for item in (await kube.list(JOB))["items"]] == ["a", "b"]

    async def test_list_gives_each_item_its_kind(self, api: FakeApi, kube: Kube) -> None:
        """The API server leaves the kind out of the items of built-in kinds."""
        api.objects.create(POD, "team", thing())

        assert [item["kind"] for item in (await kube.list(POD))["items"]] == ["Pod"]

    async def test_list_has_the_resource_version_of_the_listing(self, api: FakeApi, kube: Kube) -> None:
        api.objects.create(POD, "team", thing())

        assert (await kube.list(POD))["metadata"]["resourceVersion"] == str(api.objects.version)

    async def test_list_selects_by_labels(self, api: FakeApi, kube: Kube) -> None:
        api.objects.create(POD, "team", thing("a", labels={"run": "1"}))
        api.objects.create(POD, "team", thing("b", labels={"run": "2"}))

        assert [item["metadata"]["name"] for item in (await kube.list(POD, labels="run=2"))["items"]] == ["b"]

    async def test_list_selects_by_fields(self, api: FakeApi, kube: Kube) -> None:
        api.objects.create(EVENT, "team", thing("a") | {"type": "Warning"})
        api.objects.create(EVENT, "team", thing("b") | {"type": "Normal"})

        assert [item["metadata"]["name"] for item in (await kube.list(EVENT, fields="type=Warning"))["items"]] == ["a"]

    async def test_list_returns_no_more_than_the_limit(self, api: FakeApi, kube: Kube) -> None:
        for name in "abc":
            api.objects.create(POD, "team", thing(name))

        assert len((await kube.list(POD, limit=2))["items"]) == 2


class TestCreating:
    async def test_create_stores_the_object_and_returns_it(self, api: FakeApi, kube: Kube) -> None:
        made = await kube.create(JOB, "team", thing())

        assert made["metadata"]["uid"]
        assert api.objects.all(JOB) == [made]

    async def test_create_raises_conflict_when_the_name_is_taken(self, api: FakeApi, kube: Kube) -> None:
        api.objects.create(JOB, "team", thing())

        with pytest.raises(Conflict, match="already exists"):
            await kube.create(JOB, "team", thing())

    async def test_writes_carry_the_field_manager(self, api: FakeApi, kube: Kube) -> None:
        """The field managedFields names the client of each field. A field that is not known is an error."""
        made = await kube.create(FLOW_RUN, "team", run())
        await kube.replace_status(FLOW_RUN, {**made, "status": {"phase": "Starting"}})
        await kube.patch(FLOW_RUN, "team", KEY.name, KEY.uid, {"spec": {"cancel": True}})
        await kube.patch(FLOW_RUN, "team", KEY.name, KEY.uid, [{"op": "remove", "path": "/spec/cancel"}])

        manager = {"fieldManager": FIELD_MANAGER}
        queries = [request.query for request in api.requests]
        assert queries == [manager | {"fieldValidation": "Strict"}, manager, manager, manager]

    async def test_requests_carry_the_user_agent(self, api: FakeApi, kube: Kube) -> None:
        await kube.list(JOB)

        assert api.requests[0].headers["User-Agent"] == USER_AGENT


class TestStatus:
    async def test_replace_status_changes_the_status_only(self, api: FakeApi, kube: Kube) -> None:
        made = api.objects.create(FLOW_RUN, "team", run())
        written = await kube.replace_status(FLOW_RUN, {**made, "spec": {}, "status": {"phase": "Starting"}})

        assert written["status"] == {"phase": "Starting"}
        assert written["spec"] == made["spec"]

    async def test_replace_status_raises_conflict_when_the_object_changed(self, api: FakeApi, kube: Kube) -> None:
        made = api.objects.create(FLOW_RUN, "team", run())
        api.objects.merge(FLOW_RUN, "team", KEY.name, {"spec": {"cancel": True}})

        with pytest.raises(Conflict, match="has been modified"):
            await kube.replace_status(FLOW_RUN, {**made, "status": {"phase": "Starting"}})
        assert "status" not in api.objects.get(FLOW_RUN, "team", KEY.name)

    async def test_replace_status_raises_conflict_when_a_namesake_took_the_place(
        self, api: FakeApi, kube: Kube
    ) -> None:
        made = api.objects.create(FLOW_RUN, "team", run())
        api.objects.delete(FLOW_RUN, "team", KEY.name)
        api.objects.create(FLOW_RUN, "team", run(uid="another"))

        with pytest.raises(Conflict):
            await kube.replace_status(FLOW_RUN, {**made, "status": {"phase": "Starting"}})

    async def test_replace_status_raises_not_found_when_the_object_is_gone(self, kube: Kube) -> None:
        with pytest.raises(NotFound):
            await kube.replace_status(FLOW_RUN, run())


class TestPatching:
    async def test_merge_patch_changes_the_named_fields(self, api: FakeApi, kube: Kube) -> None:
        made = api.objects.create(JOB, "team", thing())
        patched = await kube.patch(JOB, "team", "a", made["metadata"]["uid"], {"spec": {"size": 2}})

        assert patched["spec"] == {"size": 2, "names": ["x"]}

    async def test_merge_patch_keeps_the_metadata_that_it_names(self, api: FakeApi, kube: Kube) -> None:
        """The UID that guards the object joins the metadata of the patch."""
        made = api.objects.create(JOB, "team", thing(finalizers=["x/y"]))
        patched = await kube.patch(JOB, "team", "a", made["metadata"]["uid"], {"metadata": {"finalizers": None}})

        assert "finalizers" not in patched["metadata"]

    async def test_json_patch_applies_its_steps(self, api: FakeApi, kube: Kube) -> None:
        made = api.objects.create(JOB, "team", thing())
        steps: list[Object] = [
            {"op": "test", "path": "/spec/names/0", "value": "x"},
            {"op": "replace", "path": "/spec/size", "value": 3},
        ]
        patched = await kube.patch(JOB, "team", "a", made["metadata"]["uid"], steps)

        assert patched["spec"]["size"] == 3

    async def test_json_patch_raises_conflict_when_a_step_finds_another_value(self, api: FakeApi, kube: Kube) -> None:
        made = api.objects.create(JOB, "team", thing())
        steps: list[Object] = [
            {"op": "test", "path": "/spec/names/0", "value": "y"},
            {"op": "replace", "path": "/spec/size", "value": 3},
        ]

        with pytest.raises(Conflict):
            await kube.patch(JOB, "team", "a", made["metadata"]["uid"], steps)
        assert api.objects.get(JOB, "team", "a") == made

    @pytest.mark.parametrize(
        "patch",
        [{"spec": {"size": 2}}, [{"op": "replace", "path": "/spec/size", "value": 2}]],
        ids=["merge patch", "JSON patch"],
    )
    async def test_patch_raises_conflict_when_the_object_has_another_uid(
        self, api: FakeApi, kube: Kube, patch: Any
    ) -> None:
        made = api.objects.create(JOB, "team", thing())

        with pytest.raises(Conflict):
            await kube.patch(JOB, "team", "a", "another", patch)
        assert api.objects.get(JOB, "team", "a") == made

    @pytest.mark.parametrize("patch", [{"spec": {"size": 2}}, []], ids=["merge patch", "JSON patch"])
    async def test_patch_raises_refused_when_it_is_forbidden(self, api: FakeApi, kube: Kube, patch: Any) -> None:
        """A missing right is not a changed object: a new pass does not cure it."""
        api.inject(Answer(403, "forbidden by policy"), "PATCH")

        with pytest.raises(Refused, match="forbidden by policy"):
            await kube.patch(DASK_CLUSTER, "team", "a", "uid", patch)


class TestDeleting:
    async def test_delete_removes_the_object_and_its_dependents(self, api: FakeApi, kube: Kube) -> None:
        made = api.objects.create(JOB, "team", thing())
        owner = {"uid": made["metadata"]["uid"], "blockOwnerDeletion": True}
        api.objects.create(POD, "team", thing("pod", ownerReferences=[owner]))

        await kube.delete(JOB, "team", "a", made["metadata"]["uid"])

        assert api.objects.all() == []

    async def test_delete_keeps_the_object_until_its_dependents_are_gone(self, api: FakeApi, kube: Kube) -> None:
        made = api.objects.create(JOB, "team", thing())
        owner = {"uid": made["metadata"]["uid"], "blockOwnerDeletion": True}
        api.objects.create(POD, "team", thing("pod", ownerReferences=[owner], finalizers=["x/y"]))

        answer = await kube.delete(JOB, "team", "a", made["metadata"]["uid"])

        assert answer["metadata"]["deletionTimestamp"]
        assert [item["kind"] for item in api.objects.all()] == ["Job", "Pod"]

    async def test_delete_removes_the_object_before_its_dependents_when_in_the_background(
        self, api: FakeApi, kube: Kube
    ) -> None:
        made = api.objects.create(JOB, "team", thing())
        api.objects.create(POD, "team", thing("pod", ownerReferences=[{"uid": made["metadata"]["uid"]}]))
        api.objects.collects_garbage = False

        await kube.delete(JOB, "team", "a", made["metadata"]["uid"], background=True)

        assert [item["kind"] for item in api.objects.all()] == ["Pod"]

    async def test_delete_raises_conflict_when_the_object_has_another_uid(self, api: FakeApi, kube: Kube) -> None:
        made = api.objects.create(JOB, "team", thing())

        with pytest.raises(Conflict):
            await kube.delete(JOB, "team", "a", "another")
        assert api.objects.all(JOB) == [made]

    async def test_delete_raises_not_found_when_the_object_is_gone(self, kube: Kube) -> None:
        with pytest.raises(NotFound):
            await kube.delete(JOB, "team", "a", "uid")
