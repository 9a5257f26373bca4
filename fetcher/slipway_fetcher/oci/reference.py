# Generated from runtime-image/slipway_runtime/oci/reference.py by `make generate`; do not edit.
"""Names of images: REGISTRY/REPOSITORY:TAG. The registry is always written out, because nodes and pods need not agree
on a default."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slipway_fetcher.oci.problem import RegistryError

LONGEST = 255
PORT = r":[0-9]{1,5}"
HOST = rf"(?:localhost|(?=[^/]*[.:])[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(?:{PORT})?"
"""A registry's host has a dot or a port, or it is localhost: otherwise it could be the first part of a repository."""
PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
NAME = re.compile(
    rf"(?P<registry>{HOST})/(?P<repository>{PART}(?:/{PART})*)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?"
)


@dataclass(frozen=True)
class Reference:
    """Where an image is pushed to."""

    registry: str  # with its port, if it has one
    repository: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        found = NAME.fullmatch(text) if len(text) <= LONGEST else None
        if found is None or not found["tag"]:
            raise RegistryError(
                f"{text[:LONGEST]!r} is not the name of an image that can be pushed.",
                "Write REGISTRY/REPOSITORY:TAG in lower case, such as registry.example.com/team/caches:llama.",
            )
        return cls(found["registry"], found["repository"], found["tag"])

    def with_digest(self, digest: str) -> str:
        """The name by which a pod mounts exactly this image."""
        return f"{self.registry}/{self.repository}@{digest}"

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}:{self.tag}"
