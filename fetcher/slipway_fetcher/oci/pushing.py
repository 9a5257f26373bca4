# Generated from runtime-image/slipway_runtime/oci/pushing.py by `make generate`; do not edit.
"""Pushes an image: what the registry has already isn't sent again, and the tag is set last."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from slipway_fetcher.oci.image import MANIFEST, Blob, Image
from slipway_fetcher.oci.problem import RegistryError
from slipway_fetcher.oci.reference import Reference
from slipway_fetcher.oci.registry import Registry, Settings
from slipway_fetcher.oci.transport import Body
from slipway_fetcher.oci.uploading import upload


@dataclass(frozen=True)
class Pushed:
    """`name`: with the digest, so that it always means this content."""

    name: str
    size: int  # bytes
    sent: int  # bytes of it that the registry didn't have


def check_access(reference: Reference, settings: Settings) -> None:
    """Raises what a push would fail with, before hours of work: starts an upload, and cancels it."""
    registry = Registry(reference, settings)
    response = registry.send("POST", "blobs/uploads/")
    if response.status != 202:
        raise registry.refusal(response, "an upload")
    if location := response.headers.get("Location"):
        registry.send("DELETE", registry.location(registry.root, location))  # else the registry does it, some day


def push(
    image: Image,
    reference: Reference,
    settings: Settings,
    *,
    say: Callable[[str], None] = lambda _: None,
    present: Callable[[Blob], None] = lambda _: None,
) -> Pushed:
    """`present` is called with each blob that the registry has already."""
    registry, sent = Registry(reference, settings), 0
    for blob in image.blobs:
        if upload(registry, blob):
            sent += blob.size
        else:
            present(blob)
    sent += _put_manifest(registry, image, reference.tag)
    say(f"Pushed {reference} as {image.digest}: {sent:,} of {image.size:,} bytes were sent")
    return Pushed(reference.with_digest(image.digest), image.size, sent)


def _put_manifest(registry: Registry, image: Image, tag: str) -> int:
    """Sets the tag; returns the bytes that were sent. A tag that has this manifest isn't set again: it may be fixed."""
    if _digest_of(registry, tag) == image.digest:
        return 0
    manifest = image.manifest
    response = registry.send(
        "PUT",
        f"manifests/{tag}",
        headers={"Content-Type": MANIFEST},
        body=Body.of(manifest.content),
    )
    if not response.is_success:
        raise registry.refusal(response, "setting a tag")
    if _digest_of(registry, image.digest) != image.digest:
        raise RegistryError(
            f"The registry has accepted the image, but doesn't have it as {image.digest}.", "Read its log."
        )
    return manifest.size


def _digest_of(registry: Registry, reference: str) -> str:
    """The digest of what the registry has under a tag or a digest; empty: nothing."""
    response = registry.send("GET", f"manifests/{reference}", headers={"Accept": MANIFEST})
    if response.status == 404:
        return ""
    if not response.is_success:
        raise registry.refusal(response, "reading a tag")
    return f"sha256:{hashlib.sha256(response.content).hexdigest()}"
