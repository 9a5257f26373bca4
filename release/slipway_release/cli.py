"""`slipway-release`: the command line behind `make images` and `make release`."""

from __future__ import annotations

from pathlib import Path

import click
from slipway_devcluster.cli import RefusingGroup
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps

from slipway_release import building, making, publishing, registry
from slipway_release.images import chosen, every
from slipway_release.source import Release, look

registry_option = click.option("--registry", "to", default="", help="Registry for images and charts, without https://.")
base_option = click.option(
    "--base", default="", help="Base image to use instead of the default; `debian` makes one from Debian's packages."
)
images_argument = click.argument("names", nargs=-1)
url_option = click.option(
    "--source", "url", default="", help="Public URL of the repository.  [default: that of git's `origin`]"
)
dist_option = click.option(
    "--dist",
    default="dist",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the release.",
)


@click.group(cls=RefusingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="slipway-release")
def main() -> None:
    """Make and publish releases of Slipway: images, charts, manifests."""


@main.command()
@registry_option
@base_option
@url_option
@click.option("--tag", default="", help="Tag of the images.  [default: the version]")
@click.option("--builder", default="", help="buildah, podman or docker.  [default: the first one that works]")
@click.option("--push", is_flag=True, help="Push the images to the registry, with the builder's own credentials.")
@images_argument
def images(to: str, base: str, url: str, tag: str, builder: str, *, push: bool, names: tuple[str, ...]) -> None:
    """Build images with buildah, podman or docker.

    Without NAMES, these are operator, fetcher, llamacpp and vllm-cpu.
    """
    cache = default_cache()
    built = building.build(
        chosen(names),
        Release(registry.checked(to), look(url=url), tag),
        base=base,
        builder=builder,
        push=push,
        cache=cache,
        steps=Steps(cache),
    )
    for name in built:
        click.echo(f"{name} is {'pushed' if push else 'built'}")
    others = sorted(every().keys() - {image.name for image in chosen(names)})
    if others:
        click.echo(f"not built: {', '.join(others)}; choose images with IMAGES=…")


@main.command()
@registry_option
@base_option
@url_option
@dist_option
@images_argument
def make(to: str, base: str, url: str, dist: Path, names: tuple[str, ...]) -> None:
    """Write everything that is published into a folder.

    Without NAMES, the images are operator, fetcher, llamacpp and vllm-cpu.
    """
    cache = default_cache()
    release = Release(registry.checked(to), look(url=url))
    steps = Steps(cache)
    if release.source.is_dirty:
        steps.say("the checkout has uncommitted changes, so the revision in the images' labels ends with -dirty")
    making.make(release, chosen(names), dist.absolute(), base=base, cache=cache, steps=steps)
    click.echo(f"Slipway {release.source.version} is in {dist}")
    click.echo((dist / "images.txt").read_text(), nl=False)


@main.command()
@registry_option
@dist_option
def publish(to: str, dist: Path) -> None:
    """Push the images and charts of a release to its registry."""
    cache = default_cache()
    publishing.publish(dist.absolute(), registry.checked(to), cache=cache, steps=Steps(cache))
    click.echo(f"helm install slipway-crds {registry.charts_of(to)}/slipway-crds")
    click.echo(f"helm install slipway {registry.charts_of(to)}/slipway --namespace slipway-system --create-namespace")
