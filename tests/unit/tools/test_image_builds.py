"""How images are built, with programs in place of Docker and Go that record how they are called."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.fake_programs import FakeDocker, install_go, install_kind, install_program, on_path
from tools.cluster import binaries, cache, gotools
from tools.cluster.errors import ToolError
from tools.cluster.images import pip_settings
from tools.cluster.images.build import build
from tools.cluster.images.spec import ROOT, SPECS
from tools.cluster.providers import choose
from tools.cluster.providers.kind import Kind

#: They start programs that stand for Docker, pip and Go.
pytestmark = pytest.mark.processes

#: What `docker version` prints where the user has no rights on the socket of the engine.
REFUSAL = "permission denied while trying to connect to the Docker daemon socket"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDocker]:
    """A Docker engine; pip has no settings, this machine trusts no certificates, and the cache is empty."""
    folder = tmp_path / "programs"
    folder.mkdir()
    install_go(folder, "linux/amd64")
    for name in [*os.environ]:
        if (
            name.startswith(("PIP_", "DOCKER_"))
            or name.lower().endswith("_proxy")
            or name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        ):
            monkeypatch.delenv(name)
    monkeypatch.setattr(pip_settings, "_listed", lambda: "")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
    monkeypatch.setenv(cache.ENV_CACHE, str(tmp_path / "cache"))
    with on_path(folder, monkeypatch):
        yield FakeDocker(folder)


def certificate(name: str) -> str:
    """Return a text in the form of a certificate."""
    return f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("variable", ["PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_build_trusts_the_authorities_that_pip_trusts(
    docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    (tmp_path / "private.pem").write_text(certificate("private"))
    monkeypatch.setenv(variable, str(tmp_path / "private.pem"))

    build(["operator"])

    assert docker.secret("cert") == certificate("private")
    assert f"cert = {pip_settings.CERTIFICATES}" in (docker.secret("pip") or "").splitlines()


def test_build_gets_no_setting_for_certificates_when_this_machine_trusts_none(docker: FakeDocker) -> None:
    build(["operator"])

    assert docker.secret("cert") is None
    assert "cert" not in (docker.secret("pip") or "")


def test_build_gets_each_certificate_of_a_folder_once(
    docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    for file, names in {"all.pem": ["one", "two"], "one.0": ["one"]}.items():
        (folder / file).write_text("# comment\n" + "".join(map(certificate, names)))
    monkeypatch.setenv("PIP_CERT", str(folder))

    build(["operator"])

    assert docker.secret("cert") == certificate("one") + certificate("two")


def test_build_names_the_setting_when_its_certificates_do_not_exist(
    docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "missing.pem"))

    with pytest.raises(ToolError, match=r"missing\.pem.*`cert`"):
        build(["operator"])


def test_build_names_the_limit_when_the_certificates_exceed_a_secret(
    docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large.pem").write_text(certificate("x" * pip_settings.LARGEST_SECRET))
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "large.pem"))

    with pytest.raises(ToolError, match=f"at most {pip_settings.LARGEST_SECRET}.*PIP_CERT"):
        build(["operator"])


def test_certificates_of_this_machine_fit_into_a_secret() -> None:
    """BuildKit refuses a larger one."""
    with pip_settings.secrets() as arguments:
        sizes = [Path(argument.partition("src=")[2]).stat().st_size for argument in arguments[1::2]]

    assert max(sizes) <= pip_settings.LARGEST_SECRET


def dockerfiles() -> set[str]:
    return {spec.dockerfile for spec in SPECS.values()}


@pytest.mark.parametrize("file", sorted(dockerfiles()))
def test_each_step_with_the_settings_of_pip_has_the_certificates(file: str) -> None:
    text = (ROOT / file).read_text().replace("\\\n", " ")
    steps = [line for line in text.splitlines() if line.startswith("RUN") and "type=secret,id=pip" in line]

    assert [step for step in steps if "--mount=type=secret,id=cert" not in step] == []
    assert len(steps) == len(re.findall("--require-hashes", text))


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "http_proxy", "no_proxy", "ALL_PROXY"])
def test_build_gets_the_name_of_a_proxy_variable_and_not_its_value(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Docker reads the value itself: other users of the machine see the arguments of a process."""
    monkeypatch.setenv(name, "http://user:password@proxy.example.com:3128")

    build(["operator"])

    assert f"--build-arg {name} " in docker.build
    assert "password" not in docker.build


@pytest.mark.parametrize("version", ["23.0.1", "28.2.2"])
def test_build_names_buildx_when_the_command_line_needs_it_and_has_none(docker: FakeDocker, version: str) -> None:
    docker.set_client(version, has_buildx=False)

    with pytest.raises(ToolError, match=f"Docker {version} has no buildx. Install buildx"):
        build(["operator"])

    assert [call for call in docker.calls if call.startswith("build ")] == []


@pytest.mark.parametrize(("version", "has_buildx"), [("20.10.24+dfsg1", False), ("20.10.24", True), ("28.2.2", True)])
def test_build_runs_when_the_command_line_has_buildkit(docker: FakeDocker, version: str, has_buildx: bool) -> None:
    docker.set_client(version, has_buildx=has_buildx)

    assert list(build(["operator"])) == ["operator"]
    assert docker.build


def test_build_makes_one_image_without_attestations(docker: FakeDocker) -> None:
    """By default, an engine with containerd's image store makes an index of the image and its attestations."""
    build(["operator"])

    assert docker.environment["BUILDX_NO_DEFAULT_ATTESTATIONS"] == "1"


PLATFORMS = ("linux/amd64", "linux/arm64", "darwin/arm64")


@pytest.mark.parametrize(("machine", "platform"), [*itertools.product(PLATFORMS, PLATFORMS[:2])])
def test_kuberay_is_built_for_the_platform_of_its_image(
    docker: FakeDocker, tmp_path: Path, machine: str, platform: str
) -> None:
    (tmp_path / "programs" / "machine").write_text(machine)
    docker.set_platform(platform)

    build(["kuberay"])

    assert (docker.context / "bin" / "ray-operator").read_text() == platform
    assert f"--platform {platform} " in docker.build


@pytest.mark.parametrize("wanted", PLATFORMS[:2])
def test_images_are_of_the_platform_that_docker_is_set_to(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", wanted)

    build(["kuberay"])

    assert (docker.context / "bin" / "ray-operator").read_text() == wanted


def test_base_image_of_the_platform_that_docker_is_set_to_is_not_pulled_again(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64/v8")
    docker.set_platform("linux/arm64")

    build(["operator"])

    assert [call for call in docker.calls if call.startswith("pull")] == []


def test_images_of_two_platforms_have_tags_of_their_own(docker: FakeDocker) -> None:
    tags = set()
    for platform in PLATFORMS[:2]:
        docker.set_platform(platform)
        tags.add(build(["kuberay"])["kuberay"].ref)

    assert len(tags) == 2


@pytest.mark.usefixtures("docker")
def test_programs_for_this_machine_are_built_for_it_when_another_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOS", "windows")
    monkeypatch.setenv("GOARCH", "arm64")

    assert gotools.program("kind").read_text() == "linux/amd64"
    assert gotools.program("kind") == gotools.program("kind", "linux/amd64")


def test_kind_has_the_words_of_docker_when_no_engine_answers(docker: FakeDocker) -> None:
    docker.refuse(REFUSAL)

    with pytest.raises(ToolError, match=f"(?s)kind needs a Docker engine.*{REFUSAL}.*add your user to the group"):
        Kind("flowcluster").up()


@pytest.mark.parametrize(("helm", "built"), [("v3.19.0+g3d8990f", []), ("v4.0.0", ["helm"]), ("", ["helm"])])
def test_programs_that_path_has_are_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helm: str, built: list[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    install_program(tmp_path, "kubectl", 'echo \'{"clientVersion": {"minor": "34+"}}\'')
    if helm:
        install_program(tmp_path, "helm", f"echo {helm}")

    assert binaries.to_build() == built


#: How Docker words faults that a user can mend, and a part of the advice.
FAULTS = {
    "failed to copy files: write /layer.tar: no space left on device": "docker system prune",
    "Bind for 127.0.0.1:40001 failed: port is already allocated": "Run the command again",
    "listen tcp4 127.0.0.1:40001: bind: address already in use": "Run the command again",
    "all predefined address pools have been fully subnetted": "docker network prune",
}


@pytest.mark.parametrize(("words", "advice"), FAULTS.items())
def test_kind_that_fails_says_what_to_do(docker: FakeDocker, tmp_path: Path, words: str, advice: str) -> None:
    install_kind(tmp_path / "programs", failure=words)

    with pytest.raises(ToolError, match=f"(?s){re.escape(words)}.*{advice}"):
        Kind("flowcluster").up()


def test_build_that_fills_the_disk_says_what_to_do(docker: FakeDocker) -> None:
    (words, advice), *_ = FAULTS.items()
    docker.fail_builds(words)

    with pytest.raises(ToolError, match=f"(?s){re.escape(words)}.*{advice}"):
        build(["operator"])


def test_kind_names_the_memory_that_the_engine_lacks(docker: FakeDocker, tmp_path: Path) -> None:
    install_kind(tmp_path / "programs")
    docker.set_room(2 * 2**30, tmp_path)

    with pytest.raises(ToolError, match=r"has 2\.0 GiB of memory, and a node needs 3 GiB"):
        Kind("flowcluster").up()


def test_kind_names_the_disk_that_the_engine_lacks(
    docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_kind(tmp_path / "programs")
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=2**30))

    with pytest.raises(ToolError, match=r"(?s)has 1\.0 GiB of free disk in .* needs 10 GiB.*docker system prune"):
        Kind("flowcluster").up()


def test_kind_starts_where_this_machine_cannot_see_the_disk_of_the_engine(docker: FakeDocker, tmp_path: Path) -> None:
    install_kind(tmp_path / "programs")
    docker.set_room(8 * 2**30, tmp_path / "in-a-virtual-machine")

    Kind("flowcluster").up()


@pytest.mark.parametrize("is_purged", [False, True])
def test_engine_keeps_the_built_images_until_kind_is_purged(
    docker: FakeDocker, tmp_path: Path, is_purged: bool
) -> None:
    install_kind(tmp_path / "programs", "users-own")
    ours = [f"flowcluster/{name}:0123456789ab" for name in ("operator", "runtime")]
    docker.set_images(*ours, "flowcluster/operator:latest")

    Kind("flowcluster").down(purge=is_purged)

    removed = [call for call in docker.calls if call.startswith("image rm")]
    assert removed == ([f"image rm {' '.join(ours)}"] if is_purged else [])


@pytest.mark.parametrize("refusal", ["Cannot connect to the Docker daemon. Is the docker daemon running?", REFUSAL])
def test_choice_of_a_cluster_has_the_words_of_docker_when_there_is_none(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    docker.refuse(refusal)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for variable in (choose.ENV_KUBECONFIG, choose.ENV_CONTEXT):
        monkeypatch.delenv(variable, raising=False)

    with pytest.raises(ToolError, match=re.escape(refusal)):
        choose.choose()
