"""What the operator's Kubernetes client makes of errors and lost connections, and how it logs in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import pytest

from flowcluster_operator import kube as kube_module
from flowcluster_operator.errors import ApiError, ApiUnavailable, Conflict, NotFound, Refused
from flowcluster_operator.kube import Kube
from flowcluster_operator.kube_config import credentials
from flowcluster_operator.resources import JOB, POD, Object
from tests.support.fake_api import Answer, Drop, FakeApi, Hold

Login = Callable[[str | None], None]


def thing(name: str = "a", namespace: str = "team", **metadata: Any) -> Object:
    """A small object of any kind."""
    return {"metadata": {"name": name, "namespace": namespace, **metadata}, "spec": {"size": 1, "names": ["x"]}}


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [(400, Refused), (403, Refused), (404, NotFound), (405, ApiError), (409, Conflict), (422, Refused)],
    )
    async def test_request_raises_the_error_of_the_status(
        self, api: FakeApi, kube: Kube, status: int, kind: type[ApiError]
    ) -> None:
        api.inject(Answer(status, "for a reason"))

        with pytest.raises(ApiError, match="for a reason") as caught:
            await kube.create(JOB, "team", thing())
        assert (type(caught.value), caught.value.status) == (kind, status)

    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
    async def test_request_raises_unavailable_when_it_is_worth_another_try(
        self, api: FakeApi, kube: Kube, status: int
    ) -> None:
        api.inject(Answer(status))

        with pytest.raises(ApiUnavailable, match=str(status)):
            await kube.create(JOB, "team", thing())

    @pytest.mark.parametrize(
        ("header", "seconds"), [("7", 7.0), (None, None), ("Fri, 31 Dec 1999 23:59:59 GMT", None), ("-1", None)]
    )
    async def test_unavailable_names_the_seconds_to_wait(
        self, api: FakeApi, kube: Kube, header: str | None, seconds: float | None
    ) -> None:
        api.inject(Answer(429, retry_after=header))

        with pytest.raises(ApiUnavailable) as caught:
            await kube.list(JOB)
        assert caught.value.retry_after == seconds

    @pytest.mark.parametrize("body", ["<html>no</html>", '"no"', "[]", "null", ""])
    async def test_request_raises_the_error_of_the_status_when_the_body_explains_nothing(
        self, api: FakeApi, kube: Kube, body: str
    ) -> None:
        """A proxy in front of the API server answers in its own format."""
        api.inject(Answer(403, body=body))

        with pytest.raises(Refused):
            await kube.list(JOB)

    @pytest.mark.parametrize("body", ["<html>Welcome</html>", "[]", ""])
    async def test_request_raises_unavailable_when_a_success_has_no_object(
        self, api: FakeApi, kube: Kube, body: str
    ) -> None:
        """A proxy in front of the API server answers in its place."""
        api.inject(Answer(200, body=body))

        with pytest.raises(ApiUnavailable):
            await kube.get(JOB, "team", "a")

    async def test_create_raises_unavailable_when_the_request_is_lost(self, api: FakeApi, kube: Kube) -> None:
        api.inject(Drop())

        with pytest.raises(ApiUnavailable, match="POST /apis/batch/v1/namespaces/team/jobs"):
            await kube.create(JOB, "team", thing())
        assert api.objects.all(JOB) == []

    async def test_create_raises_unavailable_when_the_answer_is_lost(self, api: FakeApi, kube: Kube) -> None:
        """What the write did is unknown then: here, it took effect."""
        api.inject(Drop(after_write=True))

        with pytest.raises(ApiUnavailable):
            await kube.create(JOB, "team", thing())
        assert len(api.objects.all(JOB)) == 1

    async def test_request_raises_unavailable_when_the_server_is_away(self, api: FakeApi, kube: Kube) -> None:
        await kube.list(JOB)
        await api.stop()

        with pytest.raises(ApiUnavailable):
            await kube.list(JOB)
        await api.start()  # for its end

    async def test_request_raises_unavailable_when_the_answer_takes_too_long(
        self, api: FakeApi, login: Login, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kube_module, "_TIMEOUT", aiohttp.ClientTimeout(total=0.05))
        api.inject(Hold())

        async with Kube() as kube:
            with pytest.raises(ApiUnavailable, match="TimeoutError"):
                await kube.list(JOB)

    async def test_requests_do_not_wait_for_each_other(self, api: FakeApi, kube: Kube) -> None:
        held = Hold()
        api.inject(held, "GET", JOB)
        first = asyncio.create_task(kube.list(JOB))
        await held.arrived.wait()
        await kube.list(POD)
        held.released.set()

        assert (await first)["items"] == []


class TestCredentials:
    async def test_requests_carry_the_token(self, api: FakeApi, login: Login) -> None:
        api.token = "first"
        login("first")

        async with Kube() as kube:
            assert (await kube.list(JOB))["items"] == []

    async def test_credentials_are_read_again_when_they_are_not_accepted(self, api: FakeApi, login: Login) -> None:
        """Kubernetes replaces a pod's token while the operator runs."""
        login("first")
        async with Kube() as kube:
            api.token = "second"
            login("second")
            with pytest.raises(ApiUnavailable, match="credentials"):
                await kube.list(JOB)

            assert (await kube.list(JOB))["items"] == []

    def test_credentials_are_those_of_the_service_account_when_there_is_one(
        self, login: Login, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account = kopf.ConnectionInfo(server="https://kubernetes")
        monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: account)

        assert credentials().server == account.server

    def test_credentials_raises_login_error_when_there_are_none(
        self, login: Login, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("KUBECONFIG")
        monkeypatch.setenv("HOME", str(tmp_path / "empty"))

        with pytest.raises(kopf.LoginError, match="KUBECONFIG"):
            credentials()
