# Generated from runtime-image/slipway_runtime/oci/__init__.py by `make generate`; do not edit.
"""Images that nodes can pull: made of files, and pushed to a registry. Only the standard library, and no engine."""

from slipway_fetcher.oci.image import Blob, Image, image_of
from slipway_fetcher.oci.layer import File, Layer
from slipway_fetcher.oci.problem import RegistryError
from slipway_fetcher.oci.pushing import Pushed, check_access, push
from slipway_fetcher.oci.reference import Reference
from slipway_fetcher.oci.registry import Settings

__all__ = [
    "Blob",
    "File",
    "Image",
    "Layer",
    "Pushed",
    "Reference",
    "RegistryError",
    "Settings",
    "check_access",
    "image_of",
    "push",
]
