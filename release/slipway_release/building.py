"""`make images`: builds with the user's own buildah, podman or docker, into its own store, and pushes from there."""

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

from slipway_release import registry
from slipway_release.bases import Base, base_of, unreachable
from slipway_release.images import ReleaseImage, stage
from slipway_release.source import MOMENT, Release, Source

BUILDERS = ("buildah", "podman", "docker")
Answers = Callable[[str], bool]


def answers(program: str) -> bool:
    """Whether a builder is installed and works; docker, for example, needs its daemon."""
    try:
        return subprocess.run([program, "version"], capture_output=True, check=False, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find_builder(wanted: str, answering: Answers = answers) -> str:
    if wanted and wanted not in BUILDERS:
        raise Refusal(f"{wanted!r} is not a supported builder; BUILDER can be one of: {' '.join(BUILDERS)}")
    for program in [wanted] if wanted else BUILDERS:
        if answering(program):
            return program
    if wanted:
        raise Refusal(f"{wanted} does not work here; install it (or start docker's daemon), or leave BUILDER out.")
    raise Refusal(
        f"none of {', '.join(BUILDERS)} works here, and images are built by one of them; install one (on Debian or "
        "Ubuntu: `apt-get install buildah`), or start docker's daemon."
    )


@dataclass(frozen=True)
class Builder:
    program: str
    mounts: Sequence[str] = ()
    """Mounts by which packages are reached from inside a build; docker does not support them."""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_docker(self) -> bool:
        return self.program == "docker"

    def pull(self, base: Base, step: Step) -> None:
        """Make the base available to a build. docker pulls a base on its own."""
        if self.is_docker and base.archive:
            raise Refusal("BASE=debian needs buildah or podman, because docker can't read its archive.")
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
    images: Iterable[ReleaseImage],
    release: Release,
    *,
    base: str = "",
    builder: str = "",
    push: bool = False,
    cache: Cache,
    steps: Steps,
) -> list[str]:
    """Build images, push them if `push` is set, and return their names."""
    program = find_builder(builder)
    names = []
    for image in images:
        name = release.image_name(image.repository)
        its_base = base_of(image, base, cache, steps)
        with steps.step(f"image {name}") as step, tempfile.TemporaryDirectory(prefix="slipway-") as folder:
            worker = with_packages(program, Path(folder))
            context = Path(folder) / "context"
            context.mkdir()
            worker.pull(its_base, step)
            file = stage(image, context, epoch=release.source.epoch)
            worker.build(file, name, its_base, release.source, step)
            if push:
                worker.push(name, step)
        names.append(name)
    return names


def with_packages(program: str, folder: Path) -> Builder:
    """A builder whose builds reach packages as this machine does; its configuration is written to `folder`."""
    # Needs no privileges that a container on a developer's machine, or in CI, may lack.
    environment = {"BUILDAH_ISOLATION": os.environ.get("BUILDAH_ISOLATION", "chroot")}
    try:
        mounts = containerfiles.package_mounts(folder)
    except Refusal:  # this machine's certificate authorities were not found; those in the base are used
        mounts = []
    return Builder(program, mounts, environment)
