"""Images that nodes can pull: made of files, and pushed to a registry. Only the standard library, and no engine."""

from slipway_runtime.oci.image import Blob, Image, image_of
from slipway_runtime.oci.layer import File, Layer
from slipway_runtime.oci.problem import RegistryError
from slipway_runtime.oci.pushing import Pushed, check_access, push
from slipway_runtime.oci.reference import Reference
from slipway_runtime.oci.registry import Settings

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
