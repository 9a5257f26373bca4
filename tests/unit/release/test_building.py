"""`make images` works with any of the builders. The builders are fakes: the tests check how they are called."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps
from slipway_release import bases, building
from slipway_release.bases import Base
from slipway_release.building import Builder, find_builder
from slipway_release.images import chosen, every
from slipway_release.source import Release, Source

SOURCE = Source("0.2.0", "abc", 1795953600)
PYTHON = Base("docker.io/library/python:3.11-slim-bookworm")
FILE = Path("/context/Containerfile")
NAME = "registry.example.com/llm/slipway-operator:0.2.0"
MOUNTS = ("/ca.crt:/etc/ssl/certs/ca-certificates.crt:ro",)

# Logs its command, and fails if FAILS names it.
PROGRAM = """#!/bin/sh
echo "$(basename "$0") $*" >> "$NOTES"
[ "$1" != "$FAILS" ] || { echo "no such host" >&2; exit 125; }
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which all builders work; they log their calls to the returned file."""
    for name in building.BUILDERS:
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(PROGRAM)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    return tmp_path / "notes"


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    return Steps(Cache(tmp_path / "cache"), stream=io.StringIO())


def commands_in(notes: Path) -> list[str]:
    return [" ".join(line.split()[:2]) for line in notes.read_text().splitlines()]


# --- the builder -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "found"), [(["docker"], "docker"), (["podman", "docker"], "podman"), (["docker", "buildah"], "buildah")]
)
def test_the_first_builder_that_works_is_used(there: Sequence[str], found: str) -> None:
    assert find_builder("", there.__contains__) == found


def test_the_named_builder_is_used() -> None:
    assert find_builder("docker", lambda _: True) == "docker"


def test_without_any_builder_the_error_says_what_to_install() -> None:
    with pytest.raises(Refusal, match=r"none of buildah, podman, docker works here.*apt-get install buildah"):
        find_builder("", lambda _: False)


def test_a_named_builder_that_does_not_work_is_not_replaced() -> None:
    with pytest.raises(Refusal, match=r"^docker does not work here; install it"):
        find_builder("docker", {"buildah"}.__contains__)


def test_an_unknown_builder_is_refused() -> None:
    with pytest.raises(
        Refusal, match="'kaniko' is not a supported builder; BUILDER can be one of: buildah podman docker"
    ):
        find_builder("kaniko", lambda _: True)


# --- the commands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", building.BUILDERS)
def test_a_build_is_named_labelled_dated_and_has_its_base(program: str) -> None:
    command = Builder(program, MOUNTS).build_command(FILE, NAME, PYTHON, SOURCE)
    assert command[:2] == [program, "build"]
    assert command[-1] == "/context"
    assert {f"--tag={NAME}", f"--file={FILE}", f"--build-arg=BASE={PYTHON.name}"} <= set(command)
    assert "--label=org.opencontainers.image.revision=abc" in command
    assert {"--timestamp=1795953600", "--build-arg=SOURCE_DATE_EPOCH=1795953600"} & set(command)


def test_docker_gets_no_flag_that_it_does_not_know() -> None:
    command = Builder("docker", MOUNTS).build_command(FILE, NAME, PYTHON, SOURCE)
    assert not [each for each in command if each.startswith(("--volume", "--timestamp", "--layers", "--pull="))]


@pytest.mark.parametrize("program", building.BUILDERS)
def test_only_a_registry_on_this_machine_is_used_without_tls(program: str) -> None:
    assert Builder(program).push_command(NAME) == [program, "push", NAME]
    here = Builder(program).push_command("localhost:5000/slipway-operator:0.2.0")
    assert ("--tls-verify=false" in here) is (program != "docker")  # docker detects this on its own


@pytest.mark.parametrize(("push", "commands"), [(False, ["pull", "build"]), (True, ["pull", "build", "push"])])
def test_each_image_is_built_and_pushed_only_if_requested(
    notes: Path, steps: Steps, tmp_path: Path, push: bool, commands: list[str]
) -> None:
    release = Release("registry.example.com", SOURCE)

    names = building.build(chosen(("operator", "llamacpp")), release, push=push, cache=Cache(tmp_path), steps=steps)

    assert names == [f"registry.example.com/slipway-{name}:0.2.0" for name in ("operator", "llamacpp")]
    assert commands_in(notes) == ["buildah version", *(f"buildah {each}" for each in commands * 2)]


def test_a_base_that_cannot_be_pulled_is_reported_with_the_remedy(
    notes: Path, steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAILS", "pull")
    release = Release("registry.example.com", SOURCE)

    with pytest.raises(Refusal, match=r"python:3\.11-slim-bookworm can't be pulled; .*BASE=debian"):
        building.build(chosen(("operator",)), release, cache=Cache(tmp_path), steps=steps)

    assert commands_in(notes) == ["buildah version", "buildah pull"]


# --- bases -----------------------------------------------------------------------------------------------------------


def test_the_base_is_the_default_or_the_named_one(steps: Steps, tmp_path: Path) -> None:
    image = every()["operator"]
    assert bases.base_of(image, "", Cache(tmp_path), steps) == PYTHON
    assert bases.base_of(image, "other:1", Cache(tmp_path), steps).reference == "docker://other:1"


def test_an_image_with_a_build_image_of_its_own_is_not_built_on_debian(steps: Steps, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="vllm-rocm can't be built on Debian's packages alone"):
        bases.base_of(every()["vllm-rocm"], "debian", Cache(tmp_path), steps)


def test_docker_does_not_get_an_archive_as_a_base(steps: Steps) -> None:
    with steps.step("x") as step, pytest.raises(Refusal, match="BASE=debian needs buildah or podman"):
        Builder("docker").pull(Base("localhost/base:1", Path("/base.tar")), step)
