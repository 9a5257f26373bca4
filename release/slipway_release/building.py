"""`make images`: builds with the person's own buildah, podman or docker, into its own store, and pushes from there."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slipway_devcluster import containerfiles
from slipway_devcluster.errors import Refusal, StepFailed
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Step, Steps

from . import registry
from .bases import Base, base_of, unreachable
from .images import Image, stage
from .source import MOMENT, Release, Source

BUILDERS = ("buildah", "podman", "docker")
Answers = Callable[[str], bool]


def answers(program: str) -> bool:
    """Whether it is there and works: a docker without its daemon is there, too."""
    try:
        return subprocess.run([program, "version"], capture_output=True, check=False, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find_builder(wanted: str, answering: Answers = answers) -> str:
    if wanted and wanted not in BUILDERS:
        raise Refusal(f"{wanted!r} builds no images here; BUILDER is one of: {' '.join(BUILDERS)}")
    for program in [wanted] if wanted else BUILDERS:
        if answering(program):
            return program
    if wanted:
        raise Refusal(f"{wanted} doesn't answer here; install it (or start docker's daemon), or leave BUILDER out.")
    raise Refusal(
        f"none of {', '.join(BUILDERS)} answers, and one of them has to build the images; install one (on Debian or "
        "Ubuntu: `apt-get install buildah`), or start docker's daemon."
    )


@dataclass(frozen=True)
class Builder:
    program: str
    mounts: Sequence[str] = ()
    """How packages are reached from inside a build; docker has no such thing."""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_docker(self) -> bool:
        return self.program == "docker"

    def bring(self, base: Base, step: Step) -> None:
        """What is to be pulled docker pulls by itself."""
        if self.is_docker and base.archive:
            raise Refusal("BASE=debian needs buildah or podman; docker doesn't take its archive.")
        if not self.is_docker:
            try:
                step.run([self.program, "pull", base.reference], env=self.environment)
            except StepFailed as error:
                raise unreachable(base, error) from error

    def build(self, file: Path, name: str, base: Base, source: Source, step: Step) -> None:
        step.run(self.build_command(file, name, base, source), env=self.environment)

    def build_command(self, file: Path, name: str, base: Base, source: Source) -> list[str]:
        command = [self.program, "build", f"--file={file}", f"--tag={name}", f"--build-arg=BASE={base.name}"]
        command += [f"--label={key}={value}" for key, value in source.labels().items()]
        if self.is_docker:
            command.append(f"--build-arg={MOMENT}={source.epoch}")
        else:
            command += ["--layers", "--pull=never", f"--timestamp={source.epoch}"]
            command += [f"--volume={mount}" for mount in self.mounts]
        return [*command, str(file.parent)]

    def push(self, name: str, step: Step) -> None:
        step.run(self.push_command(name), env=self.environment)

    def push_command(self, name: str) -> list[str]:
        plain = ["--tls-verify=false"] if registry.is_here(name) and not self.is_docker else []
        return [self.program, "push", *plain, name]


def build(
    images: Iterable[Image],
    release: Release,
    *,
    base: str = "",
    builder: str = "",
    push: bool = False,
    cache: Cache,
    steps: Steps,
) -> list[str]:
    """The names of the images, as they were built, and pushed where that was asked for."""
    program = find_builder(builder)
    names = []
    for image in images:
        name = release.image_name(image.repository)
        its_base = base_of(image, base, cache, steps)
        with steps.step(f"image {name}") as step, tempfile.TemporaryDirectory(prefix="slipway-") as folder:
            worker = with_packages(program, Path(folder))
            context = Path(folder) / "context"
            context.mkdir()
            worker.bring(its_base, step)
            file = stage(image, context, epoch=release.source.epoch)
            worker.build(file, name, its_base, release.source, step)
            if push:
                worker.push(name, step)
        names.append(name)
    return names


def with_packages(program: str, folder: Path) -> Builder:
    """A builder whose builds reach packages as this machine does; what says how lies in `folder`."""
    # Needs no right that a container on a developer's machine, or in CI, may not have.
    environment = {"BUILDAH_ISOLATION": os.environ.get("BUILDAH_ISOLATION", "chroot")}
    try:
        mounts = containerfiles.package_mounts(folder)
    except Refusal:  # this machine keeps its authorities elsewhere; those of the base will do
        mounts = []
    return Builder(program, mounts, environment)
