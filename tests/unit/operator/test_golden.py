"""Every object that the operator creates, whole: a change of a builder is a change of a file here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcluster_api import names
from flowcluster_operator.resources import Object
from tests.support.built import BUILT
from tests.support.golden import Golden, text_of
from tests.support.makers import KEY, LEASE_UID

OBJECT: Object = {"kind": "Thing", "metadata": {"name": "a"}}


@pytest.mark.parametrize("name", BUILT)
def test_builder_makes_the_golden_object(name: str, golden: Golden) -> None:
    golden.check(name, BUILT[name]())


def test_golden_files_all_belong_to_a_builder(golden: Golden) -> None:
    assert golden.names() - set(BUILT) == set()


def containers(value: Any) -> Iterator[Object]:
    """All containers in an object, and all that an upstream operator makes a container of."""
    for name, item in value.items() if isinstance(value, dict) else ():
        if name in ("containers", "initContainers"):
            yield from item
        elif name == "autoscalerOptions":
            yield item
        yield from containers(item)
    for item in value if isinstance(value, list) else ():
        yield from containers(item)


@pytest.mark.parametrize("name", [name for name in BUILT if name.startswith(("dask", "ray", "driver-job"))])
def test_containers_pass_the_restricted_profile(name: str) -> None:
    """For a container that a template adds, the user is responsible."""
    found = [container for container in containers(BUILT[name]()) if container.get("name") != "sidecar"]

    assert found
    for container in found:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }


@pytest.mark.parametrize("name", BUILT)
def test_objects_are_deleted_with_their_run(name: str) -> None:
    """By the garbage collector, also while no operator is there."""
    for built in BUILT[name]():
        (owner,) = built["metadata"]["ownerReferences"]

        assert owner["uid"] == (KEY.uid if built["kind"] == "Lease" else LEASE_UID)
        assert owner["blockOwnerDeletion"] is True
        assert owner["controller"] is True


@pytest.mark.parametrize("name", BUILT)
def test_objects_carry_the_labels_of_their_run(name: str) -> None:
    """The operator watches by them."""
    for built in BUILT[name]():
        labels = built["metadata"]["labels"]

        assert (labels[names.LABEL_RUN], labels[names.LABEL_RUN_UID]) == (KEY.name, KEY.uid)


class TestGolden:
    def test_check_fails_with_the_command_when_the_file_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError, match=r"a\.yaml is missing; when that is meant: COMMAND"):
            Golden(tmp_path, False, "COMMAND").check("a", [OBJECT])

    def test_check_fails_with_a_diff_when_the_file_differs(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text(text_of([{**OBJECT, "kind": "Other"}]))

        with pytest.raises(AssertionError) as caught:
            Golden(tmp_path, False, "COMMAND").check("a", [OBJECT])
        assert {"-kind: Other", "+kind: Thing", " metadata:"} <= set(str(caught.value).splitlines())

    def test_check_writes_the_file_when_it_updates(self, tmp_path: Path) -> None:
        Golden(tmp_path, True, "COMMAND").check("a", [OBJECT])

        Golden(tmp_path, False, "COMMAND").check("a", [OBJECT])
        assert (tmp_path / "a.yaml").read_text() == "kind: Thing\nmetadata:\n  name: a\n"

    def test_check_fails_when_an_object_is_missing(self, tmp_path: Path) -> None:
        Golden(tmp_path, True, "COMMAND").check("a", [OBJECT, OBJECT])

        with pytest.raises(AssertionError, match="differs"):
            Golden(tmp_path, False, "COMMAND").check("a", [OBJECT])
