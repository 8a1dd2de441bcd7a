"""The keeper answers requests for credentials, on the Lease of an API server."""

from __future__ import annotations

import asyncio
import base64
import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowcluster.agent.keeper import heartbeat as heartbeat_module
from flowcluster.agent.keeper.credentials import CredentialSealer
from flowcluster.agent.keeper.heartbeat import Heartbeat
from flowcluster.agent.pending_report import PendingReport
from flowcluster.kube.lease_client import OneLease
from flowcluster_api import handover, keeper
from flowcluster_api.handover import CredentialAnswer, CredentialRequest
from flowcluster_api.keeper import Instructions, LiveRun
from flowcluster_api.sealing import new_key, open_sealed, public_text
from flowcluster_operator.resources import LEASE, Object
from tests.support.fake_api import FakeApi
from tests.support.fake_api.faults import Answer

KEY = new_key()
REQUEST = CredentialRequest("uid-run", public_text(KEY))
CLUSTER = "uid-cluster"
CONTENT = {name: f"content of {name}".encode() for name in handover.FILES}
DATA = {name: base64.b64encode(content).decode() for name, content in CONTENT.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder that the keeper's pod mounts."""
    path = tmp_path / "keys"
    path.mkdir()
    for name, content in CONTENT.items():
        (path / name).write_bytes(content)
    return path


@pytest.fixture
def sealer(folder: Path) -> CredentialSealer:
    return CredentialSealer(folder, CLUSTER)


def lease(*requests: CredentialRequest, runs: tuple[str, ...] | None = None) -> Object:
    """Return a Lease with these requests, and with instructions that list their runs or the given runs."""
    listed = [request.run for request in requests] if runs is None else runs
    instructions = Instructions((), tuple(LiveRun.of(uid) for uid in listed))
    annotations = dict(keeper.patch(instructions)["metadata"]["annotations"])
    return {"metadata": {"annotations": annotations | {handover.ANNOTATION_REQUESTS: handover.text_of(requests)}}}


def answers(text: str | None) -> tuple[CredentialAnswer, ...]:
    return handover.answers_in({"metadata": {"annotations": {handover.ANNOTATION_ANSWERS: text}}})


def test_answer_is_decrypted_by_the_key_of_the_request(sealer: CredentialSealer) -> None:
    (answer,) = answers(sealer.answers(lease(REQUEST)))

    assert (answer.run, answer.key, answer.problem) == (*REQUEST, "")
    assert open_sealed(answer.sealed, KEY, REQUEST.run, CLUSTER) == DATA


def test_answer_stays_the_same_while_the_request_does(sealer: CredentialSealer) -> None:
    """Each write of an answer triggers the operator."""
    other = CredentialRequest("other", public_text(new_key()))
    first, both = sealer.answers(lease(REQUEST)), sealer.answers(lease(REQUEST, other))

    assert first == sealer.answers(lease(REQUEST))
    assert answers(first)[0] in answers(both)


def test_another_key_of_the_same_run_has_another_answer(sealer: CredentialSealer) -> None:
    sealer.answers(lease(REQUEST))
    again = new_key()
    (answer,) = answers(sealer.answers(lease(CredentialRequest(REQUEST.run, public_text(again)))))

    assert open_sealed(answer.sealed, again, REQUEST.run, CLUSTER) == DATA


def test_answers_are_removed_with_their_requests(sealer: CredentialSealer) -> None:
    sealer.answers(lease(REQUEST))

    assert sealer.answers(lease()) is None
    assert sealer._sealed == {}


def test_run_that_the_instructions_do_not_list_has_no_answer(sealer: CredentialSealer) -> None:
    assert sealer.answers(lease(REQUEST, runs=("another",))) is None
    assert sealer.answers({"metadata": {}}) is None


def test_other_requests_are_answered_when_one_is_broken(sealer: CredentialSealer) -> None:
    found = answers(sealer.answers(lease(CredentialRequest("broken", "x"), REQUEST)))
    problems = {answer.run: answer.problem for answer in found}

    assert problems[REQUEST.run] == ""
    assert "base64" in problems["broken"]


def test_image_without_the_package_is_named(sealer: CredentialSealer, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "flowcluster_api.sealing":
            raise ModuleNotFoundError("No module named 'cryptography'", name="cryptography")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    (answer,) = answers(sealer.answers(lease(REQUEST)))

    assert answer.sealed == ""
    assert "cryptography" in answer.problem


@pytest.mark.parametrize("change", [lambda folder: (folder / "tls.key").unlink(), None], ids=["file", "folder"])
def test_missing_credentials_are_reported_and_encrypted_later(
    folder: Path, change: Callable[[Path], None] | None
) -> None:
    sealer = CredentialSealer(folder if change else None, CLUSTER)
    if change is not None:
        change(folder)
    (answer,) = answers(sealer.answers(lease(REQUEST)))
    assert (answer.sealed, bool(answer.problem)) == ("", True)

    if change is not None:
        (folder / "tls.key").write_bytes(CONTENT["tls.key"])
        (later,) = answers(sealer.answers(lease(REQUEST)))
        assert open_sealed(later.sealed, KEY, REQUEST.run, CLUSTER) == DATA


class Beating:
    """A heartbeat on a Lease of the fake API server, in the server's thread."""

    def __init__(self, folder: Path) -> None:
        self.api = FakeApi()
        self.folder = folder
        self.sealer = CredentialSealer(folder, CLUSTER)

    def request(self, *requests: CredentialRequest) -> None:
        """Write requests as the operator does."""
        self.api.objects.merge(LEASE, "team", "mine", {"metadata": lease(*requests)["metadata"]})

    def answers(self) -> tuple[CredentialAnswer, ...]:
        """Return the answers in the Lease."""
        return handover.answers_in(self.api.objects.get(LEASE, "team", "mine"))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        for _ in range(6000):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the condition does not hold after a minute")

    def run(self, play: Callable[[Beating], Any]) -> None:
        """Run these steps while the heartbeat runs."""

        async def whole() -> None:
            self.api.objects.create(LEASE, "team", {"metadata": {"name": "mine"}})
            await self.api.start()
            client = OneLease(self.api.url, "team", "mine")
            beating = Heartbeat(client, "me", PendingReport(), lambda: None, self.sealer.answers)
            task = asyncio.create_task(beating.run())
            try:
                await play(self)
            finally:
                task.cancel()
                await asyncio.wait({task})
                await self.api.stop()

        asyncio.run(whole())


@pytest.fixture
def beating(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Beating:
    monkeypatch.setattr(heartbeat_module, "READ_SECONDS", 0.01)
    monkeypatch.setattr(heartbeat_module, "RETRY_SECONDS", 0.01)
    return Beating(folder)


def test_answer_is_in_the_lease_soon_after_the_request_and_is_removed_with_it(beating: Beating) -> None:
    async def play(beating: Beating) -> None:
        beating.request(REQUEST)
        await beating.until(lambda: len(beating.answers()) == 1)
        (answer,) = beating.answers()
        assert open_sealed(answer.sealed, KEY, REQUEST.run, CLUSTER) == DATA
        assert beating.api.objects.get(LEASE, "team", "mine")["spec"]["holderIdentity"] == "me"

        beating.request()
        await beating.until(lambda: beating.answers() == ())

    beating.run(play)


def test_answer_is_written_again_when_another_client_changes_it(beating: Beating) -> None:
    async def play(beating: Beating) -> None:
        beating.request(REQUEST)
        await beating.until(lambda: len(beating.answers()) == 1)
        before = beating.answers()
        tampered = {handover.ANNOTATION_ANSWERS: handover.text_of([CredentialAnswer(*REQUEST, "tampered")])}
        beating.api.objects.merge(LEASE, "team", "mine", {"metadata": {"annotations": tampered}})
        await beating.until(lambda: beating.answers() == before)

    beating.run(play)


def test_answer_is_written_after_requests_that_failed(beating: Beating) -> None:
    async def play(beating: Beating) -> None:
        beating.api.inject(Answer(500), "PATCH", LEASE, times=3)
        beating.request(REQUEST)
        await beating.until(lambda: len(beating.answers()) == 1)

    beating.run(play)


def test_lease_that_loses_its_answers_immediately_is_patched_with_pauses(
    beating: Beating, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An admission policy can remove annotations."""
    monkeypatch.setattr(heartbeat_module, "READ_SECONDS", 0.5)
    keep = beating.api.objects.merge

    def merge(*args: Any, **kwargs: Any) -> Any:
        keep(*args, **kwargs)
        return keep(LEASE, "team", "mine", {"metadata": {"annotations": {handover.ANNOTATION_ANSWERS: None}}})

    async def play(beating: Beating) -> None:
        beating.request(REQUEST)
        monkeypatch.setattr(beating.api.objects, "merge", merge)
        await beating.until(lambda: len(beating.api.seen("PATCH", LEASE)) >= 3)
        await beating.until(lambda: len(beating.api.seen("GET", LEASE)) >= 2)
        assert len(beating.api.seen("PATCH", LEASE)) <= 2 + 2 * len(beating.api.seen("GET", LEASE))

    beating.run(play)
